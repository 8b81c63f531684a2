#!/bin/sh
# A task of a Python worker, called from TypeScript. With lovage on the PATH, or named in LOVAGE: sh run.sh
set -eu
here=$(dirname "$0")
lovage=${LOVAGE:-lovage}
CELERY_BROKER_URL=${BROKER:-redis://localhost:6379/0}
CELERY_RESULT_BACKEND=$CELERY_BROKER_URL
export CELERY_BROKER_URL CELERY_RESULT_BACKEND
"$lovage" -A "$here/tasks.ts" worker -l WARNING -q -c 1 &
ours=$!
(cd "$here" && exec "${PYTHON:-python3}" -B -m celery -q -A stats worker -l WARNING -P solo -Q python) &
trap 'kill $! $ours; wait' EXIT

"$lovage" run "$here/main.ts"
