#!/bin/sh
# A fleet of named workers on one machine: start, inspect, change, repair and stop it.
#
#   sh examples/fleet.sh                    with lovage on the PATH
#   LOVAGE=dist/lovage BROKER=redis://localhost:6379/0 sh examples/fleet.sh
#
# Without BROKER the workers share the embedded broker, here in its own folder.
set -eu
program=$(command -v "${LOVAGE:-lovage}") || { echo "There is no ${LOVAGE:-lovage}" >&2; exit 1; }
program=$(realpath "$program")
lovage() { "$program" "$@"; }

work=$(mktemp -d)
export LOVAGE_HOME="$work/state"
[ -z "${BROKER:-}" ] || export CELERY_BROKER_URL="$BROKER" CELERY_RESULT_BACKEND="$BROKER"
cat > "$work/tasks.ts" <<'TS'
import { App } from "lovage";
export const app = new App("shop");
app.task("shop.resize", (width: number) => `${width} pixels`);
TS
cd "$work"
finish() {
  lovage multi kill images mail --quiet --nosplash > /dev/null || true
  rm -rf "$work"
}
trap finish EXIT

echo "1. What would be started"
# Run in the nodes' folder: a percent sign in its path would have to be written twice.
files="--pidfile=%n.pid --logfile=%n.log"
fleet="images mail -A tasks.ts -P solo -l INFO -Q:images images,celery -Q:mail mail"
lovage multi show $fleet $files

echo "2. Started: back only when both are ready, and not with 0 where one is not"
lovage multi start $fleet $files
lovage -A tasks.ts status --min 2 --wait 10
lovage -A tasks.ts call shop.resize -a '[640]' --queue images --wait --timeout 30

echo "3. One dies; restart starts it as it was, and needs no options for that"
kill -9 "$(cat images.pid)"
lovage multi restart images
lovage -A tasks.ts inspect active_queues

echo "4. An option given now wins, and is kept"
lovage multi restart mail -l DEBUG
grep -q DEBUG mail.log

echo "5. A node that cannot start says why"
if lovage multi start broken -A missing.ts $files; then exit 1; fi

echo "6. Stopped, one after the other as their tasks end"
lovage multi stopwait images mail
[ ! -e images.pid ] && [ ! -e mail.pid ]
echo "passed"
