/** One Redis shared with Celery itself: each reads, waits for and counts what the other stored. */

import { countChordPart } from "../../support/chords.ts";
import assert from "node:assert/strict";
import { openBackend } from "../../../lib/backend/mod.ts";
import { awaited, backendOptions, resultRecord, stored } from "../../conformance/backend.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { pythonPath, startRedis } from "../../support/servers.ts";
import { mustRun } from "../../support/run.ts";

const SETUP = `
import sys, json
from celery import Celery, states
from celery.app.task import Context
url = sys.argv[1]
app = Celery("shop", broker=url, backend=url)
b = app.backend
def part(gid, index, tid, state, result):
    body = app.signature("shop.body", args=(), kwargs={})
    request = Context(id=tid, group=gid, group_index=index, chord=body)
    b.on_chord_part_return(request, state, result)
`;

async function python(url: string, script: string): Promise<string> {
  const argv = ["/usr/bin/python3", "-c", SETUP + script, url];
  return (await mustRun(argv, { env: { PYTHONPATH: pythonPath() } })).trim();
}

Deno.test("redis and Celery: results both ways", async () => {
  await using server = await startRedis();
  await using backend = await openBackend(realTestWorld(), server.url(), backendOptions());
  const { ready } = awaited(backend, ["p1", "p2"]);
  await python(
    server.url(),
    `
b.store_result("p1", {"sum": 3, "text": "ß"}, states.SUCCESS)
b.store_result("p2", ValueError("boom"), states.FAILURE, traceback="Traceback ...")
b.store_result("keep", 1, states.SUCCESS)
`,
  );
  const [p1, p2] = await ready;
  assert.deepEqual(p1?.result, { sum: 3, text: "ß" });
  assert.deepEqual(p2?.result, { excType: "ValueError", excModule: "builtins", args: ["boom"] });
  assert.equal(p2?.traceback, "Traceback ...");
  await stored(backend, resultRecord("keep", "FAILURE", p2!.result, { guard: true }));
  await stored(backend, resultRecord("ours", "SUCCESS", { text: "漢 😀" }));
  await stored(backend, resultRecord("bad", "FAILURE", p2!.result));
  await backend.saveGroup("g", '[["g",null],[[["ours",null],null],[["keep",null],null]]]');
  const seen = await python(
    server.url(),
    `
from celery.result import AsyncResult, GroupResult
bad = app.AsyncResult("bad")
print(json.dumps([app.AsyncResult("ours").get(timeout=5), app.AsyncResult("keep").get(timeout=5),
  repr(bad.result), bad.state, app.GroupResult.restore("g").join(timeout=5)]))
`,
  );
  assert.deepEqual(JSON.parse(seen), [
    { text: "漢 😀" },
    1,
    "ValueError('boom')",
    "FAILURE",
    [{ text: "漢 😀" }, 1],
  ]);
});

Deno.test("redis and Celery: one chord counted by both, finished by either", async () => {
  await using server = await startRedis();
  await using backend = await openBackend(realTestWorld(), server.url(), backendOptions());
  const ours = (groupId: string, groupIndex: number, result: string) =>
    countChordPart(backend, { groupId, groupIndex, taskId: `t${groupIndex}`, state: "SUCCESS", result });
  await python(
    server.url(),
    `
b.set_chord_size("g1", 3)
part("g1", 1, "t1", states.SUCCESS, {"from": "python"})
part("g1", 0, "t0", states.FAILURE, KeyError("k"))
`,
  );
  assert.equal(await ours("g1", 0, "0"), null, "it takes the place of Python's own t0");
  assert.deepEqual(await ours("g1", 2, '"last"'), [
    { taskId: "t0", state: "SUCCESS", result: 0, sentErrbacks: [], traceparents: [] },
    { taskId: "t1", state: "SUCCESS", result: { from: "python" }, sentErrbacks: [], traceparents: [] },
    { taskId: "t2", state: "SUCCESS", result: "last", sentErrbacks: [], traceparents: [] },
  ]);
  await backend.startChord("g2", 2);
  assert.equal(await ours("g2", 1, '{"from": "ours"}'), null);
  await python(server.url(), 'part("g2", 0, "t0", states.SUCCESS, [1, 2])');
  const message = JSON.parse(await server.cli("LPOP", "celery")) as { body: string };
  assert.deepEqual(JSON.parse(atob(message.body))[0], [[[1, 2], { from: "ours" }]]);
  assert.equal(await server.cli("EXISTS", "celery-taskset-meta-g2.j", "celery-taskset-meta-g2.s"), "0");
});
