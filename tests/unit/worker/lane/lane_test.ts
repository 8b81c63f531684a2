/**
 * The data lane from delivery to settlement, on the memory broker and store, with a scripted pool and a fake clock.
 */

import assert from "node:assert/strict";
import { outcome, Rig } from "../rig.ts";

Deno.test("lane: a task is received, run, stored, acknowledged, and logged with Celery's lines", async () => {
  await using rig = await Rig.start();
  const id = await rig.send();
  assert.deepEqual(rig.log("INFO").slice(-2), [
    `Task bars.add[${id}] received`,
    `Task bars.add[${id}] succeeded in 0.005s: 3`,
  ]);
  const line = rig.world.log.records.find((record) => record.message.includes("succeeded"));
  assert.equal(line?.process, "ForkPoolWorker-1");
  assert.equal(await rig.state(id), "SUCCESS");
  assert.equal(rig.unsettled, 0);
  assert.equal(rig.worker.strategies.get("bars.add")?.total, 1);
});

Deno.test("lane: a request finds its trace in the top-level header or in the inner headers", async () => {
  await using rig = await Rig.start();
  rig.pool.script = () => null;
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  for (const headers of [{ traceparent }, { headers: { traceparent } }, {}]) {
    await rig.send({ headers });
    const [request] = rig.worker.state.inPool.values();
    assert.equal(request!.traceparent, "traceparent" in headers || "headers" in headers ? traceparent : null);
    rig.pool.end(request!);
    await rig.settle();
  }
});

Deno.test("lane: early ack settles when the slot begins, late ack when the result is stored", async () => {
  for (const late of [false, true]) {
    await using rig = await Rig.start({ settings: { task_acks_late: late } });
    rig.pool.script = () => null;
    const id = await rig.send();
    assert.equal(rig.unsettled, late ? 1 : 0);
    rig.pool.end(rig.pool.submitted[0]!);
    await rig.settle();
    assert.equal(rig.unsettled, 0);
    assert.equal(await rig.state(id), "SUCCESS");
  }
});

Deno.test("lane: takes no more than the prefetch count", async () => {
  await using rig = await Rig.start({
    options: { prefetchMultiplier: 2 },
    settings: { task_acks_late: true },
  });
  rig.pool.script = () => null;
  for (let n = 0; n < 7; n++) await rig.send();
  assert.equal(rig.pool.submitted.length, 2);
  assert.equal(rig.unsettled, 4);
  assert.equal(await rig.waiting(), 3);
  rig.pool.end(rig.pool.submitted[0]!);
  await rig.settle();
  assert.equal(rig.pool.submitted.length, 3);
  assert.equal(await rig.waiting(), 2);
});

Deno.test("lane: worker_disable_prefetch takes a message only if a slot is free", async () => {
  await using rig = await Rig.start({ options: { disablePrefetch: true } });
  rig.pool.script = () => null;
  for (let n = 0; n < 5; n++) await rig.send();
  assert.equal(rig.pool.submitted.length, 2);
  assert.equal(await rig.waiting(), 3);
});

Deno.test("lane: the window grows over short tasks if no multiplier is set", async () => {
  await using rig = await Rig.start();
  rig.pool.script = (job) => outcome(job, { runtime: 0.0001 });
  for (let n = 0; n < 40; n++) await rig.send();
  assert.ok(rig.worker.window.limit > 100);
});

Deno.test("lane: requests waiting behind a long task beyond Celery's count are given back", async () => {
  await using rig = await Rig.start({ options: { concurrency: 1 } });
  rig.pool.script = (job) => outcome(job, { runtime: 0.0001 });
  for (let n = 0; n < 20; n++) await rig.send();
  rig.pool.script = () => null;
  for (let n = 0; n < 30; n++) await rig.send();
  assert.equal(rig.ready, 29);
  await rig.world.clock.advance(250);
  await rig.settle();
  assert.equal(rig.ready, 4);
  assert.equal(await rig.waiting(), 25);
});

Deno.test("lane: track_started stores STARTED with pid and node", async () => {
  await using rig = await Rig.start({ settings: { task_track_started: true } });
  rig.pool.script = () => null;
  const id = await rig.send();
  const meta = await (await rig.app.openBackend()).fetch(id);
  assert.equal(meta?.state, "STARTED");
  assert.deepEqual(meta?.result, { pid: 100, hostname: "w1@example" });
});

Deno.test("lane: failures, retries, ignores and rejects are logged and settled", async () => {
  await using rig = await Rig.start({ settings: { task_acks_late: true } });
  const run = async (given: Parameters<typeof outcome>[1]): Promise<string> => {
    rig.pool.script = (job) => outcome(job, given);
    const id = await rig.send();
    assert.equal(rig.unsettled, 0);
    return id;
  };
  let id = await run({ kind: "failure", traceback: "Traceback\n  at task" });
  assert.equal(
    rig.log("ERROR").at(-1),
    `Task bars.add[${id}] raised unexpected: ValueError('boom')\nTraceback\n  at task`,
  );
  assert.equal(await rig.state(id), "FAILURE");
  id = await run({ kind: "failure", expected: true });
  assert.equal(rig.log("INFO").at(-1), `Task bars.add[${id}] raised expected: ValueError('boom')`);
  id = await run({
    kind: "retry",
    state: "RETRY",
    document: "{}",
    summary: "Retry in 0.2s: KeyError('again')",
  });
  assert.equal(rig.log("INFO").at(-1), `Task bars.add[${id}] retry: Retry in 0.2s: KeyError('again')`);
  id = await run({ kind: "ignore" });
  assert.equal(rig.log("INFO").at(-1), `Task bars.add[${id}] ignored`);
  assert.equal(await rig.state(id), null);
  id = await run({
    kind: "reject",
    summary: "not wanted",
    state: "FAILURE",
    document: '{"status":"FAILURE"}',
  });
  assert.equal(await rig.state(id), "FAILURE");
  assert.equal(rig.log("WARNING").at(-1), `Task bars.add[${id}] reject requeue=False: not wanted`);
  assert.equal(await rig.waiting(), 0);
});

Deno.test("lane: Reject(requeue) of a late-acked task puts it back, marked redelivered", async () => {
  await using rig = await Rig.start({ settings: { task_acks_late: true } });
  let runs = 0;
  rig.pool.script = (job) => {
    runs++;
    return job.redelivered ? outcome(job) : outcome(job, { kind: "reject", requeue: true, summary: "later" });
  };
  const id = await rig.send();
  await rig.settle();
  assert.equal(runs, 2);
  assert.equal(await rig.state(id), "SUCCESS");
});

Deno.test("lane: a lost process fails the task, or requeues it if the task says so", async () => {
  const lost = { kind: "lost", summary: "Worker exited prematurely: signal 9 (SIGKILL) Job: 1." } as const;
  await using plain = await Rig.start();
  plain.pool.script = (job) => outcome(job, lost);
  const id = await plain.send();
  await plain.settle();
  assert.equal(await plain.state(id), "FAILURE");
  assert.equal(
    plain.log("ERROR").at(-1),
    "Task handler raised error: WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 1.')",
  );

  await using again = await Rig.start({ settings: { delivery: "at-least-once", task_max_attempts: 3 } });
  again.pool.script = (job) => outcome(job, lost);
  const worn = await again.send();
  await again.settle();
  assert.equal(again.pool.submitted.length, 3);
  assert.equal(await again.state(worn), "FAILURE");
  assert.equal(await again.waiting(), 0);
  assert.match(again.log("ERROR").at(-1)!, /kept in the dead letters/);
});

Deno.test("lane: a hard time limit fails the task, and the error names the limit", async () => {
  await using rig = await Rig.start();
  rig.pool.script = (job) => outcome(job, { kind: "timeout", summary: "1" });
  const id = await rig.send({ timeLimit: 1 });
  await rig.settle();
  assert.deepEqual(rig.log("ERROR"), [
    `Hard time limit (1s) exceeded for bars.add[${id}]`,
    "Task handler raised error: TimeLimitExceeded(1)",
  ]);
  assert.equal(await rig.state(id), "FAILURE");
});

Deno.test("lane: after a hard time limit a slot calls the hooks, and then the message is settled", async () => {
  const called: string[] = [];
  await using rig = await Rig.start({
    settings: { task_acks_late: true },
    tasks: (app) => {
      const afterReturn = () => void called.push("here");
      app.task("bars.add", { afterReturn }, (x: number, y: number) => x + y);
      app.task("bars.plain", (x: number, y: number) => x + y);
    },
  });
  rig.pool.script = (job) => job.ended ? null : outcome(job, { kind: "timeout", summary: "1" });
  const id = await rig.send({ timeLimit: 1 });
  await rig.settle();
  assert.equal(await rig.state(id), "FAILURE");
  assert.equal(rig.unsettled, 1);
  const [hooks] = [...rig.pool.running.values()];
  assert.deepEqual([hooks?.id, hooks?.name, hooks?.timeLimit], [id, "bars.add", 60]);
  assert.deepEqual(hooks?.ended, {
    exception: { excType: "TimeLimitExceeded", excModule: "billiard.exceptions", args: [1] },
    traceback: null,
    hooks: "all",
  });
  assert.equal(JSON.parse(hooks!.envelope).headers.id, id);
  rig.pool.end(hooks!, { kind: "timeout", state: null, document: null });
  await rig.settle();
  assert.equal(rig.unsettled, 0);
  assert.match(
    rig.log("ERROR").at(-1)!,
    /Cannot call the hooks and errbacks of bars\.add\[.*: they took more than 60 s/,
  );
  assert.deepEqual(called, []);
  // A task without hooks costs no slot.
  await rig.send({ timeLimit: 1 }, "bars.plain");
  await rig.settle();
  assert.deepEqual([rig.pool.running.size, rig.unsettled], [0, 0]);
});

Deno.test("lane: a cold shutdown waits for no hooks, and logs that they are not called", async () => {
  const rig = await Rig.start({
    tasks: (app) => void app.task("bars.add", { onFailure: () => {} }, (x: number, y: number) => x + y),
  });
  await using _ = rig;
  rig.pool.script = (job) => job.ended ? null : outcome(job, { kind: "timeout", summary: "1" });
  await rig.send({ timeLimit: 1 });
  await rig.settle();
  assert.equal(rig.pool.running.size, 1);
  await rig.worker.stop("cold");
  assert.match(rig.log("ERROR").join("\n"), /Cannot call the hooks and errbacks of bars\.add/);
});

Deno.test("lane: a message requeued at its hard time limit becomes a dead letter in the end", async () => {
  await using rig = await Rig.start({
    settings: { task_max_attempts: 3 },
    tasks: (app) => {
      app.task(
        "bars.add",
        { acksLate: true, acksOnFailureOrTimeout: false },
        (x: number, y: number) => x + y,
      );
    },
  });
  rig.pool.script = (job) => outcome(job, { kind: "timeout", summary: "1" });
  const id = await rig.send({ timeLimit: 1 });
  await rig.settle();
  assert.equal(rig.pool.submitted.length, 3);
  assert.equal(await rig.state(id), "FAILURE");
  assert.equal(await rig.waiting(), 0);
  assert.match(
    rig.log("ERROR").at(-1)!,
    /has exceeded its time limit too often: it is kept in the dead letters$/,
  );
});

Deno.test("lane: limits merge as message, task, settings", async () => {
  await using rig = await Rig.start({
    settings: { task_time_limit: 30, task_soft_time_limit: 20 },
    tasks: (app) => {
      app.task("bars.add", { timeLimit: 10 }, (x: number, y: number) => x + y);
    },
  });
  await rig.send();
  await rig.send({ timeLimit: 5, softTimeLimit: 4 });
  const limits = rig.pool.submitted.map((job) => [job.timeLimit, job.softTimeLimit]);
  assert.deepEqual(limits, [[10, 20], [5, 4]]);
});

Deno.test("lane: a revoked task is discarded when it comes", async () => {
  await using rig = await Rig.start();
  rig.worker.revoked.add("the-id");
  await rig.send({ taskId: "the-id" });
  await rig.settle();
  assert.equal(rig.log("INFO").at(-1), "Discarding revoked task: bars.add[the-id]");
  assert.equal(await rig.state("the-id"), "REVOKED");
  assert.equal(rig.pool.submitted.length, 0);
  assert.equal(rig.unsettled, 0);
});

Deno.test("lane: a task that expires while it waits is discarded when its turn comes", async () => {
  await using rig = await Rig.start({ options: { concurrency: 1 } });
  rig.pool.script = () => null;
  await rig.send();
  const id = await rig.send({ expires: 5 });
  assert.equal(rig.ready, 1);
  await rig.world.clock.advance(6000);
  rig.pool.end(rig.pool.submitted[0]!);
  await rig.settle();
  assert.equal(rig.pool.submitted.length, 1);
  assert.equal(await rig.state(id), "REVOKED");
});

Deno.test("lane: a task due in an hour is parked at the broker, and comes back when due", async () => {
  await using rig = await Rig.start();
  const id = await rig.send({ countdown: 3600 });
  assert.equal(rig.worker.lane.waitingCount, 0);
  assert.equal(rig.unsettled, 0);
  assert.equal(rig.pool.submitted.length, 0);
  await rig.world.clock.advance(3_590_000);
  assert.equal(rig.pool.submitted.length, 0);
  await rig.world.clock.advance(12_000);
  await rig.settle();
  assert.equal(await rig.state(id), "SUCCESS");
});

Deno.test("lane: a task due in a second is held, and the window grows by one", async () => {
  await using rig = await Rig.start({ options: { prefetchMultiplier: 1, concurrency: 1 } });
  const id = await rig.send({ countdown: 1 });
  assert.equal(rig.held, 1);
  assert.equal(rig.window, 1);
  await rig.world.clock.advance(1001);
  await rig.settle();
  assert.equal(rig.held, 0);
  assert.equal(await rig.state(id), "SUCCESS");
});

Deno.test("lane: a rate limit spaces tasks out, and can be lifted while they wait", async () => {
  await using rig = await Rig.start({
    tasks: (app) => {
      app.task("bars.add", { rateLimit: "1/s" }, (x: number, y: number) => x + y);
    },
  });
  for (let n = 0; n < 5; n++) await rig.send();
  assert.equal(rig.pool.submitted.length, 1);
  await rig.world.clock.advance(1001);
  assert.equal(rig.pool.submitted.length, 2);
  rig.worker.lane.setRateLimit(rig.worker.strategies.get("bars.add")!, 0);
  await rig.settle();
  assert.equal(rig.pool.submitted.length, 5);
});

Deno.test("lane: a congested result store stops fetching until it has room", async () => {
  await using rig = await Rig.start();
  const { backend } = rig.worker;
  let isCongested = true;
  Object.defineProperty(backend, "isCongested", { get: () => isCongested, configurable: true });
  await rig.send();
  assert.equal(rig.pool.submitted.length, 0);
  assert.equal(await rig.waiting(), 1);
  isCongested = false;
  await rig.world.clock.advance(60);
  await rig.settle();
  assert.equal(rig.pool.submitted.length, 1);
});

Deno.test("lane: a job that the pool did not begin is the next to be submitted", async () => {
  await using rig = await Rig.start({ options: { concurrency: 1 } });
  rig.pool.script = () => null;
  rig.pool.begins = false;
  const first = await rig.send();
  await rig.send();
  rig.pool.end(rig.pool.submitted[0]!, { kind: "returned" });
  await rig.settle();
  assert.deepEqual(rig.pool.submitted.map((job) => job.id), [first, first]);
});

Deno.test("lane: revoke with terminate ends a task, now or when it begins", async () => {
  await using rig = await Rig.start({ options: { concurrency: 1 } });
  rig.pool.script = () => null;
  const id = await rig.send();
  assert.deepEqual(rig.worker.revoke([id, "other"], { terminate: true, signal: "SIGKILL" }), [id]);
  const [job] = rig.pool.submitted;
  assert.deepEqual(rig.pool.terminated, [{ seq: job!.seq, signal: "SIGKILL" }]);
  rig.pool.end(job!, { kind: "terminated", summary: "SIGKILL" });
  await rig.settle();
  const meta = await (await rig.app.openBackend()).fetch(id);
  assert.equal(meta?.state, "REVOKED");
  assert.deepEqual((meta?.result as { args: unknown[] }).args, ["terminated"]);
});

Deno.test("lane: a redelivered task that has succeeded here is not run again if the setting says so", async () => {
  await using rig = await Rig.start({
    settings: { task_acks_late: true, worker_deduplicate_successful_tasks: true },
  });
  const id = await rig.send();
  assert.equal(await rig.state(id), "SUCCESS");
  // Its result is gone: only this worker knows of the success.
  await rig.app.backend.forget(id);
  rig.pool.script = (job) =>
    job.redelivered ? outcome(job) : outcome(job, { kind: "reject", requeue: true, summary: "again" });
  await rig.send({ taskId: id });
  await rig.settle();
  assert.equal(rig.pool.submitted.length, 2);
  assert.equal(rig.log("INFO").at(-1), `Task bars.add[${id}] Task already completed successfully.`);
  assert.equal(rig.unsettled, 0);
});

Deno.test("lane: a redelivered task that has succeeded before sends what its first run did not", async () => {
  await using rig = await Rig.start({
    settings: { task_acks_late: true, worker_deduplicate_successful_tasks: true },
  });
  // By another worker: a task that succeeded here has sent everything.
  const id = "done-before";
  await rig.app.backend.storeResult(id, 2, "SUCCESS");
  rig.pool.script = (job) =>
    job.redelivered || job.id !== id
      ? outcome(job)
      : outcome(job, { kind: "reject", requeue: true, summary: "again" });
  await rig.send({ taskId: id, link: rig.app.signature("bars.add", { args: [1], taskId: "the-callback" }) });
  await rig.until(() => rig.pool.submitted.length === 2);
  assert.deepEqual(rig.pool.submitted.map((job) => job.id), [id, "the-callback"]);
});

Deno.test("lane: a chord's last part publishes its body", async () => {
  await using rig = await Rig.start({
    tasks: (app) => {
      app.task("bars.add", (x: number, y: number) => x + y);
      app.task("bars.sum", (values: number[]) => values.length);
    },
  });
  const backend = await rig.app.openBackend();
  await backend.startChord("the-group", 1);
  const body = JSON.stringify({
    task: "bars.sum",
    args: [],
    kwargs: {},
    options: { task_id: "the-body" },
    subtask_type: null,
    immutable: false,
  });
  const first = "header-task";
  rig.pool.script = (job) =>
    job.id === first
      ? outcome(job, { chord: { groupId: "the-group", groupIndex: 0, body, result: "3" } })
      : outcome(job);
  await rig.send({ taskId: first });
  await rig.until(() => rig.pool.submitted.length === 2);
  assert.equal(rig.pool.submitted[1]!.id, "the-body");
});

Deno.test("lane: stats count tasks begun, by name", async () => {
  await using rig = await Rig.start();
  await rig.send();
  await rig.send();
  const stats = rig.worker.stats();
  assert.deepEqual(stats["total"], { "bars.add": 2 });
  assert.equal(stats["pid"], 4242);
  assert.deepEqual((stats["pool"] as Record<string, unknown>)["processes"], [100]);
});
