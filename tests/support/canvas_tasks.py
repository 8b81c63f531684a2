"""Tasks of the canvas tests in Python; canvas_tasks.ts has the same in TypeScript.

A step's last argument is its label `case/leaf`; its result is a text that shows its arguments. Each run appends a line
to the file TEST_LOG: `["<task>", "<label>", <what a callback got>]`.
"""
import json
import os

from celery import Celery, chain, chord, group

app = Celery("canvas", broker=os.environ["TEST_BROKER"], backend=os.environ.get("TEST_BACKEND") or None)
app.conf.update(json.loads(os.environ.get("TEST_CONF") or "{}"))
app.set_default()

# Seconds until the next attempt. Celery sends it, then reads what is stored, then writes RETRY: an attempt that ends
# between the two would be overwritten.
AFTER_ITS_STATE = 0.5


def log(*line):
    file = os.open(os.environ["TEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (json.dumps(line) + "\n").encode())
    os.close(file)


def show(value):
    return "[" + ",".join(show(one) for one in value) + "]" if isinstance(value, (list, tuple)) else str(value)


def text(args):
    return f"{args[-1].split('/')[1]}({','.join(show(one) for one in args[:-1])})"


@app.task(name="c.step")
def step(*args):
    log("step", args[-1])
    return text(args)


@app.task(name="c.boom")
def boom(*args):
    log("boom", args[-1])
    raise ValueError("boom", args[-1].split("/")[1])


@app.task(name="c.odd")
def odd(*args):
    log("odd", args[-1])
    return {1, 2}.__iter__()


@app.task(name="c.flaky", bind=True)
def flaky(self, *args):
    log("flaky", args[-1])
    if self.request.retries < 2:
        raise self.retry(countdown=AFTER_ITS_STATE, max_retries=2)
    return text(args)


@app.task(name="c.giveup", bind=True)
def giveup(self, *args):
    log("giveup", args[-1])
    raise self.retry(exc=KeyError("gave up"), countdown=AFTER_ITS_STATE, max_retries=1)


@app.task(name="c.quiet", ignore_result=True)
def quiet(*args):
    log("quiet", args[-1])
    return text(args)


@app.task(name="c.swap", bind=True)
def swap(self, kind, *args):
    """Is replaced by a canvas. In a chain the result of the task before it is its first argument."""
    log("swap", args[-1])
    if kind not in ("task", "chain", "group", "chord", "boom", "swap", "chainboom", "chaingroup", "chordgroup"):
        kind, args = args[0], (kind, *args[1:])
    label = args[-1]
    queue = self.request.delivery_info["routing_key"]
    new = lambda n, *a, task=step: task.s(*a, f"{label}{n}").set(queue=queue)  # noqa: E731
    raise self.replace({
        "task": lambda: new(1, *args[:-1]),
        "boom": lambda: new(1, *args[:-1], task=boom),
        "swap": lambda: swap.s("task", *args[:-1], f"{label}1").set(queue=queue),
        "chain": lambda: chain(new(1, *args[:-1]), new(2)),
        "chainboom": lambda: chain(new(1, *args[:-1], task=boom), new(2)),
        "chaingroup": lambda: chain(new(1, *args[:-1]), group(new(2), new(3))),
        "chordgroup": lambda: chord([new(1, *args[:-1]), new(2, *args[:-1])], group(new(3), new(4))),
        "group": lambda: group(new(1, *args[:-1]), new(2, *args[:-1])),
        "chord": lambda: chord([new(1, *args[:-1]), new(2, *args[:-1])], new(3)),
    }[kind]())


@app.task(name="c.grow", bind=True)
def grow(self, *args):
    log("grow", args[-1])
    self.add_to_chord(step.s(f"{args[-1]}1").set(queue=self.request.delivery_info["routing_key"]))
    return text(args)


@app.task(name="c.mark")
def mark(*args):
    log("mark", args[-1], args[:-1])
    return "marked"


@app.task(name="c.err")
def err(uuid, **more):
    log("err", more["label"], "id" if isinstance(uuid, str) else repr(uuid))
    return "erred"


@app.task(name="c.err3")
def err3(request, exc, traceback, **more):
    log("err3", more["label"], [type(exc).__name__])
