/**
 * Every way to stop a worker, as Celery's own smoke tests ask for it: what finishes, what goes back, what is said, and
 * that a second worker has what went back long before a lease ends. One Redis; each case has databases of its own.
 */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { lovage, type Place, type Program, startWorker, TASKS } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type RedisServer, startRedis } from "../support/servers.ts";
import { temporaryFolder } from "../support/temporary.ts";

const WARM = /worker: Warm shutdown \(MainProcess\)/;
const COLD = /worker: Cold shutdown \(MainProcess\)/;
const SOFT = (seconds: number) => new RegExp(`Initiating Soft Shutdown, terminating in ${seconds} seconds`);

interface Case extends AsyncDisposable {
  readonly app: App;
  readonly place: Place;
  worker(options?: { name?: string; slots?: number; env?: Record<string, string> }): Promise<Program>;
  /** Sends `t.sleep` and waits until a worker has begun it. */
  sleeping(seconds: number, on: Program): Promise<Begun>;
  /** The same of a task that runs until `release`. */
  held(on: Program): Promise<Begun & { release(): void }>;
  waiting(): Promise<number>;
  unacked(): Promise<number>;
}

interface Begun {
  readonly id: string;
  get(): Promise<unknown>;
}

const folder = temporaryFolder();

/** The next database of each server. */
const databases = new WeakMap<RedisServer, number>();

function open(redis: RedisServer, conf: Record<string, unknown> = {}): Case {
  const db = databases.get(redis) ?? 0;
  databases.set(redis, db + 1);
  const [broker, backend] = [redis.url(db), redis.url(db)];
  const place: Place = {
    broker,
    backend,
    // A lease that no test sees the end of, unless it asks for one: what comes at once was given back.
    conf: { task_acks_late: true, worker_prefetch_multiplier: 1, lease: 300, ...conf },
  };
  const app = new App("stop", { broker_url: broker, result_backend: backend }, { world: realTestWorld() });
  const workers: Program[] = [];
  const begin = async (task: string, args: unknown[], on: Program): Promise<Begun> => {
    const result = await app.sendTask(task, { args });
    await on.says(new RegExp(`Task accepted: ${task.replace(".", "\\.")}\\[${result.id}\\]`));
    return { id: result.id, get: () => result.get({ timeout: 120 }) };
  };
  return {
    app,
    place,
    async worker({ name = "one", slots = 1, env = {} } = {}) {
      const args = ["-P", "processes", "-c", String(slots), "-n", `${name}@%h`, "--without-mingle"];
      const worker = await startWorker({ ...place, env }, args, { level: "DEBUG" });
      workers.push(worker);
      return worker;
    },
    sleeping: (seconds, on) => begin("t.sleep", [seconds], on),
    async held(on) {
      const path = `${folder}/${crypto.randomUUID()}`;
      return { ...await begin("t.hold", [path], on), release: () => Deno.writeTextFileSync(path, "") };
    },
    waiting: async () => Number(await redis.cli("-n", String(db), "llen", "celery")),
    unacked: async () => Number(await redis.cli("-n", String(db), "hlen", "unacked")),
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker.stop("SIGKILL")));
      await app.close();
    },
  };
}

/** Waits until it has ended by itself; its exit status. */
async function ends(worker: Program): Promise<number> {
  await eventually(() => worker.status, () => `it ends:\n${worker.text.slice(-3000)}`);
  return worker.status!.code;
}

function restored(worker: Program): number | null {
  const found = /Restoring (\d+) unacknowledged message\(s\)/.exec(worker.text);
  return found ? Number(found[1]) : null;
}

Deno.test("warm: what runs finishes, what waits is another worker's at once", async (t) => {
  await using redis = await startRedis();

  for (const [name, signals] of [["TERM", 1], ["TERM, three times", 3]] as const) {
    await t.step(name, async () => {
      await using one = open(redis);
      const worker = await one.worker();
      const task = await one.held(worker);
      for (let n = 0; n < signals; n++) worker.signal("SIGTERM");
      await worker.says(WARM);
      task.release();
      assert.equal(await ends(worker), 0);
      assert.equal(await task.get(), "held");
      assert.deepEqual([await one.waiting(), await one.unacked()], [0, 0]);
      assert.doesNotMatch(worker.text, COLD);
    });
  }

  await t.step("prefetched tasks go back before the running one has finished", async () => {
    await using one = open(redis, { worker_prefetch_multiplier: 4 });
    const worker = await one.worker();
    const long = await one.held(worker);
    const next = await one.app.sendTask("t.add", { args: [1, 2] });
    await worker.says(new RegExp(`${next.id}\\] received`));
    await one.worker({ name: "two" });
    worker.signal("SIGTERM");
    assert.equal(await next.get({ timeout: 120 }), 3);
    assert.equal(worker.status, null);
    long.release();
    assert.equal(await ends(worker), 0);
    assert.equal(await long.get(), "held");
  });

  await t.step("remote control's shutdown", async () => {
    await using one = open(redis);
    const worker = await one.worker();
    const host = /one@(\S+) ready\./.exec(worker.text)![1];
    await lovage(["-A", TASKS, "control", "shutdown", "-d", `one@${host}`], one.place);
    await worker.says(/Got shutdown from remote/);
    assert.equal(await ends(worker), 0);
  });
});

Deno.test("cold: what runs is cut off and goes back, and nothing is waited for", async (t) => {
  await using redis = await startRedis();

  for (
    const [name, signal, env] of [
      ["QUIT", "SIGQUIT", {}],
      ["TERM remapped to QUIT", "SIGTERM", { REMAP_SIGTERM: "SIGQUIT" }],
    ] as const
  ) {
    await t.step(name, async () => {
      await using one = open(redis);
      const worker = await one.worker({ env });
      const task = await one.sleeping(420, worker);
      const other = await one.worker({ name: "two" });
      worker.signal(signal);
      await worker.says(COLD);
      await other.says(new RegExp(`Task accepted: t\\.sleep\\[${task.id}\\]`));
      await ends(worker);
      assert.equal(restored(worker), 1);
      assert.doesNotMatch(worker.text, /succeeded in/);
      assert.deepEqual([await one.waiting(), await one.unacked()], [0, 1]);
    });
  }

  await t.step("a task acknowledged early is cut off and its result says RETRY", async () => {
    await using one = open(redis, { task_acks_late: false });
    const worker = await one.worker();
    const task = await one.sleeping(420, worker);
    worker.signal("SIGQUIT");
    await ends(worker);
    assert.equal(await one.app.AsyncResult(task.id).state(), "RETRY");
    assert.deepEqual([await one.waiting(), await one.unacked()], [0, 0]);
  });

  // What each signal leads to is waited for, so that the next one finds it.
  for (
    const [name, signals] of [
      ["warm, cold, hard", [["SIGTERM", WARM], ["SIGQUIT", COLD], ["SIGQUIT", null]]],
      ["cold, hard", [["SIGQUIT", COLD], ["SIGQUIT", null]]],
      ["INT twice, then QUIT", [["SIGINT", WARM], ["SIGINT", COLD], ["SIGQUIT", null]]],
    ] as const
  ) {
    await t.step(name, async () => {
      await using one = open(redis);
      const worker = await one.worker();
      await one.sleeping(420, worker);
      for (const [signal, says] of signals) {
        if (worker.status !== null) break;
        worker.signal(signal);
        if (says !== null) await worker.says(says);
      }
      await ends(worker);
    });
  }
});

Deno.test("soft: running tasks get their time, then it is cold", async (t) => {
  await using redis = await startRedis();

  for (
    const [name, signal, env] of [
      ["a task that fits", "SIGQUIT", {}],
      ["the same by TERM remapped", "SIGTERM", { REMAP_SIGTERM: "SIGQUIT" }],
    ] as const
  ) {
    await t.step(name, async () => {
      await using one = open(redis, { worker_soft_shutdown_timeout: 300 });
      const worker = await one.worker({ env });
      const task = await one.held(worker);
      worker.signal(signal);
      await worker.says(SOFT(300));
      task.release();
      await ends(worker);
      assert.match(worker.text, COLD);
      assert.equal(await task.get(), "held");
      assert.equal(await one.app.AsyncResult(task.id).state(), "SUCCESS");
      assert.deepEqual([await one.waiting(), await one.unacked(), restored(worker)], [0, 0, null]);
    });
  }

  await t.step("time limits beyond it stay harmless", async () => {
    await using one = open(redis, { worker_soft_shutdown_timeout: 300, task_time_limit: 400 });
    const worker = await one.worker();
    const task = await one.held(worker);
    worker.signal("SIGQUIT");
    await worker.says(SOFT(300));
    task.release();
    await ends(worker);
    assert.equal(await task.get(), "held");
    assert.doesNotMatch(worker.text, /time limit.*exceeded/i);
  });

  await t.step("QUIT twice ends the wait, once more ends it all", async () => {
    await using one = open(redis, { worker_soft_shutdown_timeout: 300 });
    const worker = await one.worker();
    await one.sleeping(420, worker);
    worker.signal("SIGQUIT");
    await worker.says(SOFT(300));
    worker.signal("SIGQUIT");
    await worker.says(/Waiting gracefully for cold shutdown to complete\.\.\./);
    await worker.says(COLD);
    if (worker.status === null) worker.signal("SIGQUIT");
    await ends(worker);
  });

  await t.step("of two tasks the one that does not fit goes back, and runs after a restart", async () => {
    await using one = open(redis, { worker_soft_shutdown_timeout: 3 });
    const worker = await one.worker({ slots: 2 });
    const [short, long] = [await one.held(worker), await one.held(worker)];
    worker.signal("SIGQUIT");
    await worker.says(SOFT(3));
    short.release();
    await ends(worker);
    assert.equal(restored(worker), 1);
    assert.equal(await short.get(), "held");
    assert.equal(await one.waiting(), 1);
    long.release();
    await one.worker();
    assert.equal(await long.get(), "held");
  });

  await t.step("neither fits: both go back", async () => {
    await using one = open(redis, { worker_soft_shutdown_timeout: 1 });
    const worker = await one.worker({ slots: 2 });
    const tasks = [await one.held(worker), await one.held(worker)];
    worker.signal("SIGQUIT");
    await ends(worker);
    assert.deepEqual([restored(worker), await one.waiting()], [2, 2]);
    for (const { release } of tasks) release();
    await one.worker({ slots: 2 });
    assert.deepEqual(await Promise.all(tasks.map((task) => task.get())), ["held", "held"]);
  });

  await t.step("idle: only where it is asked for", async () => {
    await using one = open(redis, {
      worker_soft_shutdown_timeout: 1,
      worker_enable_soft_shutdown_on_idle: true,
    });
    const worker = await one.worker();
    const later = await one.app.sendTask("t.add", { args: [1, 1], countdown: 4 });
    await worker.says(/received/);
    worker.signal("SIGQUIT");
    await worker.says(SOFT(1));
    await ends(worker);
    assert.match(worker.text, COLD);
    // It was parked at the broker and needs no restoring.
    await one.worker();
    assert.equal(await later.get({ timeout: 120 }), 2);

    await using two = open(redis, { worker_soft_shutdown_timeout: 300 });
    const idle = await two.worker();
    idle.signal("SIGQUIT");
    await ends(idle);
    assert.doesNotMatch(idle.text, /Soft Shutdown/);
  });
});

Deno.test("kill -9: another worker has its tasks when the lease has ended, and nothing is left behind", async () => {
  await using redis = await startRedis();
  await using one = open(redis, { lease: 2, worker_prefetch_multiplier: 4 });
  const worker = await one.worker();
  const task = await one.sleeping(420, worker);
  const next = await one.app.sendTask("t.add", { args: [1, 2] });
  await worker.says(new RegExp(`${next.id}\\] received`));
  const other = await one.worker({ name: "two" });
  worker.signal("SIGKILL");
  await ends(worker);
  await other.says(new RegExp(`Task accepted: t\\.sleep\\[${task.id}\\]`));
  await other.says(/Restored 2 messages of workers that are gone/);
  await other.says(new RegExp(`${next.id}\\] received`));
  assert.deepEqual([await one.waiting(), await one.unacked()], [0, 2]);
});
