#!/bin/sh
# A page that shows the progress of a task. With lovage on the PATH, or named in LOVAGE: sh run.sh
set -eu
here=$(dirname "$0")
lovage=${LOVAGE:-lovage}
LOVAGE_HOME=$(mktemp -d) # a broker of its own, which is gone at the end
export LOVAGE_HOME
"$lovage" -A "$here/tasks.ts" worker -l WARNING -q -c 1 &
worker=$!
"$lovage" run "$here/web.ts" &
web=$!
trap 'kill $web $worker 2>/dev/null; wait; rm -rf "$LOVAGE_HOME"' EXIT
trap 'exit 0' INT TERM

wait $web
