#!/bin/sh
# Python calls a task in TypeScript. With lovage on the PATH, or named in LOVAGE: sh run.sh
set -eu
here=$(dirname "$0")
lovage=${LOVAGE:-lovage}
CELERY_BROKER_URL=${BROKER:-redis://localhost:6379/0}
CELERY_RESULT_BACKEND=$CELERY_BROKER_URL
export CELERY_BROKER_URL CELERY_RESULT_BACKEND
"$lovage" -A "$here/tasks.ts" worker -l WARNING -q -c 1 &
trap 'kill $!; wait' EXIT

"${PYTHON:-python3}" "$here/call.py"
