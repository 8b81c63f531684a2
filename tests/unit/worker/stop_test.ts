/** Every way to stop: which tasks finish, which go back, what is printed, and the exit status. */

import assert from "node:assert/strict";
import { StopRequest } from "../../../lib/worker/stop.ts";
import { CONSUMER_STARTS, Rig, ScriptedPool } from "./rig.ts";

async function ended(rig: Rig): Promise<number> {
  await rig.until(() => rig.exit !== null);
  return rig.exit!;
}

Deno.test("StopRequest: a mode is never replaced by a softer one", () => {
  const request = new StopRequest();
  assert.ok(request.ask("warm"));
  assert.equal(request.ask("warm"), false);
  assert.ok(request.ask("cold"));
  assert.equal(request.ask("soft"), false);
  assert.ok(request.any.aborted && request.cold.aborted && !request.hard.aborted);
});

Deno.test("a signal while the pool starts ends the worker without waiting for the pool", async () => {
  class SlowPool extends ScriptedPool {
    override start(): Promise<void> {
      return new Promise(() => {});
    }
  }
  const rig = new Rig({
    options: { poolFactory: (_world, options, events) => new SlowPool(options.concurrency, events) },
  });
  const running = rig.worker.run();
  await rig.settle();
  rig.worker.onSignal("SIGTERM");
  assert.equal(await running, 0);
  await rig.app.close();
});

Deno.test("boot and warm shutdown: Celery's debug lines in Celery's order", async () => {
  const rig = await Rig.start();
  rig.worker.onSignal("SIGTERM");
  assert.equal(await ended(rig), 0);
  const lines = rig.log().filter((line) => !/^(Connected to|pidbox received)/.test(line));
  assert.deepEqual(lines, [
    "| Worker: Preparing bootsteps.",
    "| Worker: Building graph...",
    "| Worker: New boot order: {StateDB, Timer, Hub, Pool, Autoscaler, Consumer}",
    "| Consumer: Preparing bootsteps.",
    "| Consumer: Building graph...",
    "| Consumer: New boot order: {Connection, Events, Heart, Mingle, Gossip, Tasks, Control, event loop}",
    "| Worker: Starting Hub",
    "^-- substep ok",
    "| Worker: Starting Pool",
    "^-- substep ok",
    "| Worker: Starting Consumer",
    ...CONSUMER_STARTS,
    "w1@example ready.",
    "basic.qos: prefetch_count->8",
    "mingle: all alone",
    "| Worker: Closing Hub...",
    "| Worker: Closing Pool...",
    "| Worker: Closing Consumer...",
    "| Worker: Stopping Consumer...",
    "| Consumer: Closing Connection...",
    "| Consumer: Closing Events...",
    "| Consumer: Closing Heart...",
    "| Consumer: Closing Mingle...",
    "| Consumer: Closing Gossip...",
    "| Consumer: Closing Tasks...",
    "| Consumer: Closing Control...",
    "| Consumer: Closing event loop...",
    "| Consumer: Stopping event loop...",
    "| Consumer: Stopping Control...",
    "| Consumer: Stopping Tasks...",
    "Canceling task consumer...",
    "| Consumer: Stopping Gossip...",
    "| Consumer: Stopping Mingle...",
    "| Consumer: Stopping Heart...",
    "| Consumer: Stopping Events...",
    "| Consumer: Stopping Connection...",
    "| Worker: Stopping Pool...",
    "| Worker: Stopping Hub...",
    "| Consumer: Shutdown Control...",
    "| Consumer: Shutdown Tasks...",
    "Closing consumer channel...",
    "| Consumer: Shutdown Gossip...",
    "| Consumer: Shutdown Heart...",
    "| Consumer: Shutdown Events...",
    "| Consumer: Shutdown Connection...",
  ]);
  assert.equal(rig.world.terminal.outText, "\nworker: Warm shutdown (MainProcess)\n");
  await rig[Symbol.asyncDispose]();
  rig.world.clock.checkNothingArmed();
});

Deno.test("warm: running tasks finish, waiting ones go back at once; more TERMs change nothing", async () => {
  await using rig = await Rig.start({ options: { concurrency: 1 } });
  rig.pool.script = () => null;
  const running = await rig.send();
  const second = await rig.send();
  const third = await rig.send();
  assert.equal(await rig.waiting(), 0);
  for (let n = 0; n < 3; n++) rig.worker.onSignal("SIGTERM");
  await rig.settle();
  assert.equal(rig.exit, null);
  assert.equal(await rig.waiting(), 2);
  rig.pool.end(rig.pool.submitted[0]!);
  assert.equal(await ended(rig), 0);
  assert.equal(await rig.state(running), "SUCCESS");
  const first = await rig.broker.take("celery");
  const next = await rig.broker.take("celery");
  assert.deepEqual([first, next].map((note) => note!.message.headers["id"]).sort(), [second, third].sort());
  assert.ok(rig.log("WARNING").includes("Restoring 2 unacknowledged message(s)"));
});

Deno.test("INT: a hint and warm; again: cold, status 1", async () => {
  await using rig = await Rig.start();
  rig.pool.script = () => null;
  await rig.send();
  rig.worker.onSignal("SIGINT");
  await rig.settle();
  assert.equal(rig.exit, null);
  rig.worker.onSignal("SIGINT");
  assert.equal(await ended(rig), 1);
  assert.equal(
    rig.world.terminal.outText,
    "\nworker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!\n" +
      "\nworker: Warm shutdown (MainProcess)\n" +
      "\nworker: Hitting Ctrl+C again will terminate all running tasks!\n" +
      "\nworker: Cold shutdown (MainProcess)\n",
  );
});

Deno.test("QUIT: early-acked tasks are stored as RETRY, late-acked ones and the rest go back", async () => {
  await using rig = await Rig.start({
    tasks: (app) => {
      app.task("bars.add", (x: number, y: number) => x + y);
      app.task("bars.late", { acksLate: true }, (x: number, y: number) => x + y);
    },
  });
  rig.pool.script = () => null;
  const early = await rig.send();
  const late = await rig.send({}, "bars.late");
  const waiting = await rig.send();
  rig.worker.onSignal("SIGQUIT");
  assert.equal(await ended(rig), 0);
  const meta = await (await rig.app.openBackend()).fetch(early);
  assert.equal(meta?.state, "RETRY");
  assert.deepEqual(meta?.result, {
    excType: "Retry",
    excModule: "celery.exceptions",
    args: ["Retry(Retry(...), None, None)", null, null],
  });
  assert.equal(await rig.state(late), null);
  const ids = [await rig.broker.take("celery"), await rig.broker.take("celery")];
  assert.deepEqual(ids.map((note) => note!.message.headers["id"]).sort(), [late, waiting].sort());
  assert.ok(rig.log("WARNING").includes("Restoring 2 unacknowledged message(s)"));
});

Deno.test("REMAP_SIGTERM=SIGQUIT: TERM is a QUIT", async () => {
  await using rig = await Rig.start({ world: { env: { REMAP_SIGTERM: "SIGQUIT" } } });
  rig.pool.script = () => null;
  await rig.send();
  rig.worker.onSignal("SIGTERM");
  assert.equal(await ended(rig), 0);
  assert.match(rig.world.terminal.outText, /worker: Cold shutdown \(MainProcess\)/);
});

Deno.test("soft: a task that fits finishes; the worker ends when nothing runs", async () => {
  await using rig = await Rig.start({ settings: { worker_soft_shutdown_timeout: 10 } });
  rig.pool.script = () => null;
  const id = await rig.send();
  rig.worker.onSignal("SIGQUIT");
  await rig.settle();
  assert.ok(rig.log("WARNING").includes("Initiating Soft Shutdown, terminating in 10 seconds"));
  await rig.world.clock.advance(5000);
  assert.equal(rig.exit, null);
  rig.pool.end(rig.pool.submitted[0]!);
  assert.equal(await ended(rig), 0);
  assert.equal(await rig.state(id), "SUCCESS");
  assert.match(rig.world.terminal.outText, /worker: Cold shutdown/);
});

Deno.test("soft: a task that does not fit goes back; only such tasks are logged as restored", async () => {
  await using rig = await Rig.start({
    settings: { worker_soft_shutdown_timeout: 10, task_acks_late: true },
  });
  rig.pool.script = () => null;
  const short = await rig.send();
  await rig.send();
  rig.worker.onSignal("SIGQUIT");
  await rig.settle();
  rig.pool.end(rig.pool.submitted[0]!);
  await rig.settle();
  await rig.world.clock.advance(10_001);
  assert.equal(await ended(rig), 0);
  assert.equal(await rig.state(short), "SUCCESS");
  assert.equal(await rig.waiting(), 1);
  assert.ok(rig.log("WARNING").includes("Restoring 1 unacknowledged message(s)"));
});

Deno.test("soft: QUIT again is cold at once, and once more ends the process at once", async () => {
  await using rig = await Rig.start({ settings: { worker_soft_shutdown_timeout: 10 } });
  rig.pool.script = () => null;
  await rig.send();
  rig.worker.onSignal("SIGQUIT");
  await rig.settle();
  rig.worker.onSignal("SIGQUIT");
  assert.match(rig.world.terminal.outText, /Waiting gracefully for cold shutdown to complete\.\.\./);
  assert.equal(await ended(rig), 0);
});

Deno.test("soft on idle: waits although nothing runs", async () => {
  await using rig = await Rig.start({
    settings: { worker_soft_shutdown_timeout: 10, worker_enable_soft_shutdown_on_idle: true },
  });
  rig.worker.onSignal("SIGQUIT");
  await rig.world.clock.advance(9000);
  assert.equal(rig.exit, null);
  await rig.world.clock.advance(1001);
  assert.equal(await ended(rig), 0);
});

Deno.test("a store that never responds does not block a cold shutdown for ever", async () => {
  await using rig = await Rig.start();
  const { backend } = rig.worker;
  const flush = backend.flush;
  backend.flush = () => new Promise(() => {});
  rig.worker.onSignal("SIGQUIT");
  await rig.world.clock.advance(5001);
  backend.flush = flush;
  assert.equal(await ended(rig), 0);
});

Deno.test("a warm shutdown that waits for a store logs that, and how to end it", async () => {
  await using rig = await Rig.start();
  const { backend } = rig.worker;
  const flush = backend.flush;
  const { promise, resolve } = Promise.withResolvers<void>();
  backend.flush = () => promise;
  rig.worker.onSignal("SIGTERM");
  await rig.world.clock.advance(1900);
  assert.deepEqual(rig.log("WARNING"), []);
  await rig.world.clock.advance(15_200);
  const lines = rig.log("WARNING");
  assert.equal(lines.length, 2);
  for (const line of lines) {
    assert.match(line, /^Shutdown waits for the result store .* results; QUIT ends the wait/);
  }
  backend.flush = flush;
  resolve();
  assert.equal(await ended(rig), 0);
});

Deno.test("burst: ends when the queues are empty; status 1 if a task failed", async () => {
  for (const kind of ["success", "failure"] as const) {
    const rig = new Rig({ options: { burst: true } });
    for (let n = 0; n < 5; n++) await rig.app.sendTask("bars.add", { args: [1, n] });
    await rig.start();
    const { outcome } = await import("./rig.ts");
    rig.pool.script = (job) => outcome(job, { kind });
    for (let n = 0; n < 20 && rig.exit === null; n++) await rig.world.clock.advance(50);
    assert.equal(rig.pool.submitted.length, 5);
    assert.equal(await ended(rig), 0);
    await rig[Symbol.asyncDispose]();
  }
});
