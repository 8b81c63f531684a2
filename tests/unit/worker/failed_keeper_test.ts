/** Which failures are kept at the broker, and which parts of them. */

import assert from "node:assert/strict";
import { keepLimits } from "../../../lib/worker/lane/failed_keeper.ts";
import { decodeEnvelope } from "../../../lib/wire/mod.ts";
import { outcome, Rig, type Script } from "./rig.ts";

const failing: Script = (job) => outcome(job, { kind: "failure" });

async function kept(rig: Rig): Promise<{ reason: string; id: unknown; body: number }[]> {
  return (await rig.broker.failedTasks!.list(100)).map(({ reason, envelope }) => {
    const { message } = decodeEnvelope(envelope);
    return { reason, id: message.headers["id"], body: message.body.length };
  });
}

Deno.test("FailedKeeper: keeps tasks that failed for good, and nothing else", async () => {
  await using rig = await Rig.start();
  rig.pool.script = failing;
  const id = await rig.send();
  for (const kind of ["success", "retry", "ignore"] as const) {
    rig.pool.script = (job) => outcome(job, { kind });
    await rig.send();
  }
  rig.pool.script = (job) => outcome(job, { kind: "reject", requeue: true });
  await rig.send();
  const all = await kept(rig);
  assert.deepEqual(all.map((one) => [one.reason, one.id]), [["ValueError('boom')", id]]);
  assert.ok(all[0]!.body > 0);
});

Deno.test("FailedKeeper: lost processes, hard limits and final rejections are failures", async () => {
  await using rig = await Rig.start({ settings: { task_time_limit: 7 } });
  rig.pool.script = (job) => outcome(job, { kind: "lost", summary: "WorkerLostError('gone')" });
  await rig.send();
  rig.pool.script = (job) => outcome(job, { kind: "timeout" });
  await rig.send();
  rig.pool.script = (job) => outcome(job, { kind: "reject", exception: "Reject('no', False)" });
  await rig.send();
  assert.deepEqual((await kept(rig)).map(({ reason }) => reason).sort(), [
    "Reject('no', False)",
    "TimeLimitExceeded(7)",
    "WorkerLostError('gone')",
  ]);
});

Deno.test("FailedKeeper: many failures of one turn are kept in their order, within the count", async () => {
  await using rig = await Rig.start({ settings: { failed_keep: { count: 3 } } });
  rig.pool.script = failing;
  const ids: string[] = [];
  for (let n = 0; n < 5; n++) ids.push(await rig.send());
  assert.deepEqual((await kept(rig)).map(({ id }) => id), ids.slice(2).reverse());
});

Deno.test("FailedKeeper: a message longer than `bytes` is kept without its body", async () => {
  await using rig = await Rig.start({ settings: { failed_keep: { bytes: 1500 } } });
  rig.pool.script = failing;
  const id = await rig.send({ args: ["x".repeat(2000), 1], argsrepr: "(…)" });
  assert.deepEqual(await kept(rig), [{ reason: "ValueError('boom')", id, body: 0 }]);
});

Deno.test("FailedKeeper: failed_keep 0 keeps nothing", async () => {
  for (const failed_keep of [0, { count: 0 }, { bytes: 0 }] as const) {
    await using rig = await Rig.start({ settings: { failed_keep } });
    rig.pool.script = failing;
    await rig.send();
    assert.equal(rig.worker.parts.failures, null);
    assert.deepEqual(await kept(rig), []);
  }
});

Deno.test("keepLimits: each limit that is not given has a default", () => {
  assert.deepEqual(keepLimits({}), { count: 10_000, seconds: 604_800, bytes: 65_536 });
  assert.deepEqual(keepLimits({ seconds: 60 }), { count: 10_000, seconds: 60, bytes: 65_536 });
  assert.equal(keepLimits(0), null);
});
