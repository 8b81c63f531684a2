"""Python Celery as a client: reads one JSON request a line, answers each with one JSON line.

{"do": "send", "task", "args", "kwargs", "options"} -> {"id"}; {"do": "many", "task", "args", "count"} -> {"ids"};
{"do": "get", "id", "timeout"} -> {"state", "value"} or {"state", "error", "module", "args", "bases", "traceback"};
{"do": "meta", "id"} -> the stored record; {"do": "eval", "code"} -> {"value"} of an expression over app, celery.
"""
import json
import os
import sys
import traceback

import celery
from celery import Celery, chain, chord, group, signature  # noqa: F401 - for eval

app = Celery("client", broker=os.environ["TEST_BROKER"], backend=os.environ.get("TEST_BACKEND") or None)
app.conf.update(json.loads(os.environ.get("TEST_CONF") or "{}"))
app.set_default()
if app.conf.security_key:
    app.setup_security()
names = {"app": app, "celery": celery, "chain": chain, "chord": chord, "group": group, "s": lambda name, *a, **k: app.signature(name, args=a, kwargs=k)}


def answer(request):
    do = request["do"]
    if do == "send":
        return {"id": app.send_task(request["task"], request.get("args"), request.get("kwargs"), **request.get("options", {})).id}
    if do == "many":
        with app.producer_or_acquire() as producer:
            return {"ids": [app.send_task(request["task"], request.get("args"), producer=producer).id for _ in range(request["count"])]}
    if do == "get":
        result = app.AsyncResult(request["id"])
        try:
            value = result.get(timeout=request.get("timeout", 20))
            return {"state": result.state, "value": value}
        except Exception as error:
            return {"state": result.state, "error": type(error).__name__, "module": type(error).__module__, "args": [str(a) for a in error.args],
                    "bases": [base.__name__ for base in type(error).__mro__], "traceback": str(result.traceback)}
    if do == "meta":
        return {"value": app.backend.get_task_meta(request["id"])}
    if do == "eval":
        return {"value": eval(request["code"], names)}
    raise ValueError(do)


for line in sys.stdin:
    try:
        out = answer(json.loads(line))
    except Exception as error:
        out = {"broken": "".join(traceback.format_exception(error))}
    print(json.dumps(out, default=str), flush=True)
