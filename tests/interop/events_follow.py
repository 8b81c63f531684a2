"""Follows a cluster with Celery's own receiver and state: a line of JSON per event, and the state after each."""

import json
import os
import sys

from celery import Celery

app = Celery("follow", broker=os.environ["TEST_BROKER"])
state = app.events.State()


def snapshot():
    return {
        "tasks": {
            uuid: {
                "name": task.name,
                "state": task.state,
                "result": task.result,
                "exception": task.exception,
                "runtime": task.runtime,
                "worker": task.worker.hostname if task.worker else None,
                "client": task.client,
                "parent": task.parent_id,
            }
            for uuid, task in state.tasks.items()
        },
        "workers": {
            name: {"alive": worker.alive, "freq": worker.freq, "ident": worker.sw_ident, "processed": worker.processed}
            for name, worker in state.workers.items()
        },
    }


def on_event(event):
    # Celery's own state breaks on the field "id" of elections: its workers have a property of that name.
    if not event["type"].startswith("worker-elect"):
        state.event(dict(event))
    print(json.dumps({"event": event, "state": snapshot()}), flush=True)


with app.connection_for_read() as connection:
    receiver = app.events.Receiver(connection, handlers={"*": on_event})
    print(json.dumps({"ready": True}), flush=True)
    try:
        receiver.capture(limit=None, timeout=None, wakeup=True)
    except (KeyboardInterrupt, SystemExit):
        sys.exit(0)
