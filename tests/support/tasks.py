"""Tasks that the interop tests run, in Python; tasks.ts has the same in TypeScript."""
import json
import os
import time

from celery import Celery
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Ignore, Reject

app = Celery("interop", broker=os.environ["TEST_BROKER"], backend=os.environ.get("TEST_BACKEND") or None)
app.conf.update(json.loads(os.environ.get("TEST_CONF") or "{}"))
if app.conf.security_key:
    app.setup_security()


class ShopError(Exception):
    pass


ShopError.__module__ = "shop.errors"


@app.task(name="t.add")
def add(x, y):
    return x + y


@app.task(name="t.echo")
def echo(value):
    return value


@app.task(name="t.who")
def who(*_):
    return "python"


@app.task(name="t.kw")
def kw(a, b=10, c="c"):
    return [a, b, c]


@app.task(name="t.size")
def size(text):
    return len(text)


@app.task(name="t.sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="t.at")
def at():
    return time.time()


@app.task(name="t.quiet", ignore_result=True)
def quiet():
    return "unseen"


@app.task(name="t.fail")
def fail(kind, *args):
    raise {"ValueError": ValueError, "KeyError": KeyError, "TypeError": TypeError, "ShopError": ShopError}.get(kind, Exception)(*args)


@app.task(name="t.retry", bind=True)
def retry(self, times, countdown):
    if self.request.retries < times:
        raise self.retry(countdown=countdown, max_retries=times)
    return self.request.retries


@app.task(name="t.exhaust", bind=True)
def exhaust(self):
    raise self.retry(exc=ValueError("gave up"), countdown=0, max_retries=1)


@app.task(name="t.progress", bind=True)
def progress(self, seconds):
    self.update_state(state="PROGRESS", meta={"done": 50, "note": "půlka"})
    time.sleep(seconds)
    return "done"


@app.task(name="t.abortable", base=AbortableTask, bind=True)
def abortable(self):
    while not self.is_aborted():
        time.sleep(0.05)
    return "aborted"


@app.task(name="t.ignored")
def ignored():
    raise Ignore()


@app.task(name="t.rejected", acks_late=True)
def rejected():
    raise Reject("not wanted", requeue=False)


@app.task(name="t.record", bind=True)
def record(self, path, seconds=0):
    time.sleep(seconds)
    with open(path, "a") as file:
        file.write(self.request.id + "\n")


@app.task(name="t.trace", bind=True)
def trace(self):
    return {name: getattr(self.request, name, None) for name in ("traceparent", "tracestate", "baggage")}


@app.task(name="t.relay", bind=True)
def relay(self, queue):
    """Sends a task as opentelemetry-instrumentation-celery does, with the context among the headers."""
    headers = {"traceparent": self.request.traceparent}
    return app.send_task("t.trace", queue=queue, headers=headers).id
