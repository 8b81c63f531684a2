/**
 * The consumer's blueprint after a lost connection: which requests are forgotten, which are joined, and that
 * each runs once.
 */

import assert from "node:assert/strict";
import { AccessRefused, ConnectionLost, DialError, ServerError } from "../../../lib/base/mod.ts";
import { queue } from "../../../lib/transport/mod.ts";
import { CONSUMER_STARTS, Rig } from "./rig.ts";

/** Ends the consumer's connection as a broker that goes away does: its messages go back to the queue. */
async function cut(rig: Rig): Promise<void> {
  const { consumer } = rig.worker;
  const before = consumer.starts;
  consumer.lost(new ConnectionLost("cut"));
  await rig.until(() => consumer.starts > before && rig.isConsuming);
  await rig.settle();
}

Deno.test("reconnect: the consumer restarts with Celery's lines, and work goes on", async () => {
  await using rig = await Rig.start();
  await rig.send();
  const at = rig.world.log.records.length;
  await cut(rig);
  assert.deepEqual(rig.log().slice(at).filter((line) => !/^(Connected to|pidbox received)/.test(line)), [
    "consumer: Connection to broker lost. Trying to re-establish the connection...",
    "consumer: cut",
    "| Consumer: Restarting event loop...",
    "| Consumer: Restarting Control...",
    "| Consumer: Restarting Tasks...",
    "Canceling task consumer...",
    "| Consumer: Restarting Gossip...",
    "| Consumer: Restarting Mingle...",
    "| Consumer: Restarting Heart...",
    "| Consumer: Restarting Events...",
    "| Consumer: Restarting Connection...",
    ...CONSUMER_STARTS,
    "basic.qos: prefetch_count->8",
    "mingle: all alone",
  ]);
  const id = await rig.send();
  assert.equal(await rig.state(id), "SUCCESS");
});

Deno.test("reconnect: a broker that keeps refusing is logged once, and tried less and less often", async () => {
  await using rig = await Rig.start();
  const { consumer } = rig.worker;
  const at = rig.world.log.records.length;
  const starts: number[] = [];
  const refused = [
    () => new ServerError("INTERNAL_ERROR (541)", { code: "541", isRetryable: true }),
    () => new AccessRefused("INTERNAL_ERROR (541)"),
    () => new ConnectionLost("INTERNAL_ERROR (541)", { cause: new ServerError("", { code: "541" }) }),
    () => new AccessRefused("INTERNAL_ERROR (541)"),
  ];
  for (const error of refused) {
    const before = consumer.starts;
    const beganMs = rig.world.clock.monoMs();
    consumer.lost(error());
    while (consumer.starts === before) await rig.world.clock.advance(100);
    starts.push(Math.round((rig.world.clock.monoMs() - beganMs) / 1000));
    await rig.until(() => rig.isConsuming);
  }
  assert.deepEqual(starts, [0, 2, 4, 6]);
  const warned = () =>
    rig.world.log.records.slice(at).filter(({ level }) => level === "WARNING").map(({ message }) => message)
      .filter((line) => line.startsWith("consumer: INTERNAL_ERROR"));
  assert.deepEqual(warned(), ["consumer: INTERNAL_ERROR (541)"]);
  // After a while the reason is logged again, and there is no wait.
  await rig.world.clock.advance(11_000);
  const before = consumer.starts;
  consumer.lost(refused[0]!());
  await rig.until(() => consumer.starts > before);
  assert.equal(warned().length, 2);
});

Deno.test("reconnect: queues that were only published to are not consumed", async () => {
  await using rig = await Rig.start();
  await rig.app.sendTask("other.task", { queue: "reports" });
  await rig.app.sendTask("other.task", { queue: queue("object") });
  await cut(rig);
  const consumed = rig.worker.consumer.tasks!.queues.map(({ name }) => name);
  assert.deepEqual(consumed, ["celery"]);
});

Deno.test("reconnect: a request not begun is delivered again and runs once", async () => {
  await using rig = await Rig.start({ options: { concurrency: 1 } });
  rig.pool.script = () => null;
  await rig.send();
  const second = await rig.send();
  assert.equal(rig.ready, 1);
  await cut(rig);
  assert.equal(rig.ready, 1);
  rig.pool.end(rig.pool.submitted[0]!);
  await rig.settle();
  assert.deepEqual(rig.pool.submitted.slice(1).map((job) => job.id), [second]);
});

Deno.test("reconnect: the copy of a late-acked task that still runs is joined to it", async () => {
  await using rig = await Rig.start({ settings: { task_acks_late: true } });
  rig.pool.script = () => null;
  const id = await rig.send();
  await cut(rig);
  assert.equal(rig.pool.submitted.length, 1);
  assert.equal(rig.unsettled, 1);
  rig.pool.end(rig.pool.submitted[0]!);
  await rig.settle();
  assert.equal(rig.unsettled, 0);
  assert.equal(await rig.waiting(), 0);
  assert.equal(await rig.state(id), "SUCCESS");
});

Deno.test("reconnect: the copy of a task that finished meanwhile is only acknowledged", async () => {
  await using rig = await Rig.start({ settings: { task_acks_late: true } });
  rig.pool.script = () => null;
  const id = await rig.send();
  const { connectBroker } = rig.app;
  const gate = Promise.withResolvers<void>();
  rig.app.connectBroker = async (options) => {
    await gate.promise;
    return await connectBroker.call(rig.app, options);
  };
  rig.worker.consumer.lost(new ConnectionLost("cut"));
  await rig.settle();
  rig.pool.end(rig.pool.submitted[0]!);
  await rig.settle();
  assert.equal(await rig.state(id), "SUCCESS");
  gate.resolve();
  await rig.until(() => rig.isConsuming);
  await rig.settle();
  assert.equal(rig.pool.submitted.length, 1);
  assert.equal(await rig.waiting(), 0);
  assert.equal(rig.unsettled, 0);
});

Deno.test("reconnect: the window is lower while tasks of the old connection run", async () => {
  await using rig = await Rig.start({
    options: { concurrency: 2, prefetchMultiplier: 4 },
    settings: { worker_cancel_long_running_tasks_on_connection_loss: false },
  });
  rig.pool.script = () => null;
  rig.pool.begins = false;
  await rig.send();
  const { state } = rig.worker;
  rig.worker.lane.detach();
  assert.equal(state.leftovers, 1);
  assert.equal(rig.window, 4);
});

Deno.test("reconnect: late-acked tasks are cancelled if the setting says so", async () => {
  await using rig = await Rig.start({
    settings: { task_acks_late: true, worker_cancel_long_running_tasks_on_connection_loss: true },
  });
  rig.pool.script = () => null;
  const id = await rig.send();
  await cut(rig);
  assert.deepEqual(rig.pool.terminated, [{ seq: rig.pool.submitted[0]!.seq, signal: "SIGTERM" }]);
  assert.ok(
    rig.log("WARNING").some((line) => line.startsWith(`Task bars.add[${id}] cannot be acknowledged`)),
  );
});

Deno.test("connecting: every attempt is logged, and the worker gives up with 69", async () => {
  const rig = new Rig();
  rig.app.connectBroker = (options) => {
    options.onAttempt?.(new DialError("Connection refused"), 2, 1, 100, "redis://u:secret@h:6379/0");
    return Promise.reject(new DialError("Connection refused"));
  };
  const code = await rig.worker.run();
  assert.equal(code, 69);
  assert.equal(
    rig.log("ERROR")[0],
    "consumer: Cannot connect to redis://u:**@h:6379/0: Connection refused.\n" +
      "Trying again in 2.00 seconds... (1/100)\n",
  );
  assert.match(rig.log("CRITICAL")[0]!, /^Unrecoverable error: Cannot connect to /);
  await rig.app.close();
});

Deno.test("connecting: a stop while connecting ends the worker", async () => {
  const rig = new Rig();
  rig.app.connectBroker = (options) =>
    new Promise((_, reject) =>
      options.signal?.addEventListener("abort", () => reject(options.signal!.reason), { once: true })
    );
  const run = rig.worker.run();
  await rig.settle();
  rig.worker.onSignal("SIGTERM");
  assert.equal(await run, 0);
  await rig.app.close();
});
