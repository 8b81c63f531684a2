"""Starts canvases with Python Celery and prints their results.

Reads one JSON object {"cases": {name: node}, "queues": [...], "idle": seconds}; prints {name: observation}. A node is
{"task", "label", "first", "immutable"} or {"chain" | "group" | "pipe": [...]} or {"chord": [...], "body": node}, each with
"cb" and "eb", the labels of callbacks and errbacks, "eb3" of new-style ones.
"""
import functools
import json
import operator
import os
import socket
import sys
import time

import redis
from canvas_tasks import app
from celery import chain, chord, group
from celery.result import AsyncResult, GroupResult, result_from_tuple
from celery.states import READY_STATES

leaf = 0


def build(node, case, queues):
    global leaf
    inner = lambda part: build(part, case, queues)  # noqa: E731
    if "task" in node:
        made = app.tasks["c." + node["task"]].s(*node.get("first", []), f"{case}/{node['label']}").set(queue=queues[leaf % len(queues)])
        if node.get("immutable"):
            made.set(immutable=True)
        leaf += 1
    elif "chain" in node:
        made = chain([inner(part) for part in node["chain"]])
    elif "group" in node:
        made = group([inner(part) for part in node["group"]])
    elif "pipe" in node:
        made = functools.reduce(operator.or_, [inner(part) for part in node["pipe"]])
    else:
        made = chord([inner(part) for part in node["chord"]], inner(node["body"]))
    for label in node.get("cb", []):
        made.link(app.tasks["c.mark"].s(f"{case}/{label}").set(queue=queues[0]))
    for label in node.get("eb", []):
        made.link_error(app.tasks["c.err"].s(label=f"{case}/{label}").set(queue=queues[0]))
    for label in node.get("eb3", []):
        made.link_error(app.tasks["c.err3"].s(label=f"{case}/{label}").set(queue=queues[0]))
    return made


def tree(result, seen):
    if not isinstance(result, AsyncResult):
        return [tree(one, seen) for one in result.results]
    if result.id in seen:
        return "again"
    seen.add(result.id)
    meta = app.backend.get_task_meta(result.id, cache=False)
    value = meta["result"]
    shown = [type(value).__name__, [str(one) for one in value.args]] if isinstance(value, Exception) else value
    children = [tree(child if isinstance(child, (AsyncResult, GroupResult)) else result_from_tuple(child, app), seen)
                for child in meta.get("children") or []]
    return {"name": meta.get("name"), "state": meta["status"], "value": shown, "children": children}


class Pending(Exception):
    pass


def value_of(result):
    """Returns what `get` would, from stored results only: waiting for each in turn would take minutes."""
    if not isinstance(result, AsyncResult):
        return members_of(result)
    for parent in reversed(list(result._parents())):
        parent.maybe_throw()
    if not result.ready():
        raise Pending
    return result.get(timeout=1)


def members_of(group):
    """Returns what `join_native` would: a member's own error, not that of an earlier task."""
    ready = [isinstance(one, AsyncResult) and one.ready() for one in group.results]
    for one, is_ready in zip(group.results, ready):
        if is_ready:
            one.maybe_throw()
    if not all(ready[n] or not isinstance(one, AsyncResult) for n, one in enumerate(group.results)):
        raise Pending
    return [one.result if isinstance(one, AsyncResult) else value_of(one) for one in group.results]


def observe(result):
    seen = {}
    try:
        seen["value"] = value_of(result)
    except Pending:
        seen = {"pending": True}
    except Exception as error:
        seen["error"] = [type(error).__module__, type(error).__name__, [str(one) for one in error.args]]
    top = result
    while top.parent:
        top = top.parent
    walked = set()
    seen["tree"] = [tree(top, walked), tree(result, walked)]
    return seen


def idle(queues, seconds):
    """Waits until the queues are empty and no task has run for `seconds`; without Redis only runs count."""
    log, last, since = os.environ["TEST_LOG"], None, time.monotonic()
    store = os.environ["TEST_BACKEND"]
    client = redis.Redis.from_url(store) if store.startswith("redis:") else None
    while True:
        waiting, unacked = (sum(client.llen(queue) for queue in queues), client.hlen("unacked")) if client else (0, 0)
        now = (os.path.getsize(log) if os.path.exists(log) else 0, waiting, unacked)
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > seconds and now[1] == 0:
            return
        time.sleep(0.05)


def keep_messages():
    """Keeps results that come as messages: they are delivered once, but read several times."""
    metas = {}
    consumer = app.backend.result_consumer

    def keep(meta, _message):
        known = metas.get(meta["task_id"])
        if known is None or known["status"] not in READY_STATES:
            metas[meta["task_id"]] = app.backend.meta_from_decoded(meta)

    def come():
        try:
            while True:
                # On the connection: since 5.6 the consumer itself takes a timeout for a lost connection.
                consumer._connection.drain_events(timeout=1)
        except socket.timeout:
            pass

    consumer.on_state_change = keep
    app.backend.get_task_meta = lambda task_id, cache=True: metas.get(task_id, {"status": "PENDING", "result": None})
    return come


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    come = keep_messages() if os.environ["TEST_BACKEND"] == "rpc://" else None
    results, seen = {}, {}
    for name, node in asked["cases"].items():
        leaf = 0
        try:
            results[name] = build(node, name, asked["queues"]).apply_async()
        except Exception as error:
            seen[name] = {"refused": type(error).__name__}
    idle([*asked["queues"], "celery"], asked["idle"])
    if come:
        come()
    for name, result in results.items():
        seen[name] = observe(result)
    print(json.dumps(seen, default=repr))
