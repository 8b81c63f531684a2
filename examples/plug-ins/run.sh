#!/bin/sh
# Plug-ins without permissions. With lovage on the PATH, or named in LOVAGE: sh run.sh
set -eu
here=$(dirname "$0")
lovage=${LOVAGE:-lovage}
LOVAGE_HOME=$(mktemp -d) # a broker of its own, which is gone at the end
export LOVAGE_HOME
"$lovage" -A "$here/tasks.ts" worker -l CRITICAL -q -c 1 &
trap 'kill $!; wait; rm -rf "$LOVAGE_HOME"' EXIT

"$lovage" run "$here/main.ts"
