#!/bin/sh
# A smoke test for continuous integration: do this project's tasks run, from call to result?
#
#   sh examples/ci-smoke.sh                    with lovage on the PATH
#   LOVAGE=dist/lovage sh examples/ci-smoke.sh
#
# No server is needed: without a broker URL, everything uses the embedded broker, here in its own folder.
# The script ends at the first step that fails.
set -eu
program=$(command -v "${LOVAGE:-lovage}") || { echo "There is no ${LOVAGE:-lovage}" >&2; exit 1; }
program=$(realpath "$program")
lovage() { "$program" "$@"; }

work=$(mktemp -d)
export LOVAGE_HOME="$work/state"
worker=
finish() {
  [ -z "$worker" ] || kill "$worker" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap finish EXIT

cat > "$work/tasks.ts" <<'TS'
import { App } from "lovage";
export const app = new App("smoke");
app.task("smoke.add", (x: number, y: number) => x + y);
TS
cd "$work"

echo "1. What waits is worked off, and the worker ends by itself: 0, or 1 where a task failed"
for n in 1 2 3; do lovage -A tasks.ts call smoke.add -a "[$n, $n]" > "id-$n"; done
lovage -A tasks.ts worker --burst -P solo -l WARNING -q
[ "$(lovage -A tasks.ts result "$(cat id-3)")" = 6 ]

echo "2. A worker in the background; go on when it is there"
# Not through the function, so that $! is the worker itself.
"$program" -A tasks.ts worker -P solo -l WARNING -q &
worker=$!
lovage -A tasks.ts status --min 1 --wait 30

echo "3. Every worker answers"
lovage -A tasks.ts inspect ping

echo "4. A call and its result"
[ "$(lovage -A tasks.ts call smoke.add -a '[2, 3]' --wait --timeout 30)" = 5 ]

echo "5. The worker ends when told to, and says how"
kill "$worker"
wait "$worker"
worker=
echo "passed"
