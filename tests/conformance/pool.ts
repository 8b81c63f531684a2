/**
 * What every pool must do, whatever its tasks run on. One suite; pool_test.ts names the pools.
 *
 * The user module is written to a temporary folder, as a user's would be; tasks are plain functions
 * (tests/support/plain_runner.ts).
 */

import assert from "node:assert/strict";
import type { Outcome } from "../../lib/app/mod.ts";
import type { Job, Pool, PoolEvents, PoolOptions } from "../../lib/pool/mod.ts";
import type { World } from "../../lib/base/mod.ts";
import { PATIENCE_MS } from "../support/ports.ts";
import { type RealTestWorld, realTestWorld } from "../support/real_test_world.ts";
import { childOptions, isRunning, poolOptions } from "../support/pools.ts";

/** A pool and its abilities. */
export interface PoolUnderTest {
  readonly name: string;
  make(world: World, options: PoolOptions, events: PoolEvents): Pool;
  /** Can end tasks in a busy loop. */
  readonly endsBusyLoops: boolean;
  /** Slots can die and are replaced. */
  readonly hasSlots: boolean;
  /** Slots are processes. */
  readonly hasProcesses: boolean;
  /** Many tasks await at the same time in one slot. */
  readonly isConcurrent: boolean;
}

const MODULE = `
const wait = (self, ms) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  self.signal.addEventListener("abort", () => clearTimeout(timer));
});
export const add = (_self, x, y) => x + y;
export const slowAdd = async (self, ms, x, y) => { await wait(self, ms); return x + y; };
export const stay = async (self, ms) => { self.host.onState(self.seq, "BEGUN", ""); await wait(self, ms); };
export const listen = async (self) => {
  const clean = () => { self.host.onState(self.seq, "CLEANED", ""); setTimeout(() => Deno.exit(3)); };
  Deno.addSignalListener("SIGTERM", clean);
  self.host.onState(self.seq, "LISTENING", "");
  await wait(self, 20_000);
};
const isThere = (path) => { try { return Deno.statSync(path).isFile; } catch { return false; } };
export const open = (_self, path) => Deno.writeTextFileSync(path, "");
export const note = async (self, path, ms) => {
  Deno.writeTextFileSync(path, self.seq + "\\n", { append: true });
  if (ms > 0) await wait(self, ms);
};
export const gate = async (self, path) => { while (!isThere(path)) await wait(self, 20); };
export const spin = (_self, path) => { while (!isThere(path)); };
export const big = (_self, n) => "x".repeat(n);
export const boom = () => { throw new Error("boom"); };
export const busy = (_self, ms) => { const end = performance.now() + ms; while (ms < 0 || performance.now() < end); return ms; };
export const pid = async (self, ms) => { if (ms) await wait(self, ms); return Deno.pid; };
export const kill = () => { Deno.kill(Deno.pid, "SIGKILL"); for (;;); };
export const exit = (_self, code) => Deno.exit(code);
export const print = (_self, text) => { console.log(text, { n: 1 }); return null; };
export const write = (_self, text) => { Deno.stdout.writeSync(new TextEncoder().encode(text + "\\n")); return null; };
export const strayTimer = () => { setTimeout(() => { throw new Error("stray timer"); }, 10); return 1; };
export const strayPromise = () => { setTimeout(() => void Promise.reject(new Error("stray promise")), 10); return 1; };
export const progress = (self, n) => { self.host.onState(self.seq, "PROGRESS", JSON.stringify({ n })); return n; };
export const event = (self) => { self.host.onEvent(self.seq, "task-custom", { a: 1 }); return 1; };
export const publish = async (self, key) => {
  const properties = { correlationId: null, replyTo: "", deliveryMode: 2, priority: 0, expiration: null, rest: null };
  const message = { body: new Uint8Array([1, 2, 3]), bodyEncoding: "none", contentType: "t", contentEncoding: "binary", headers: { a: 1 }, properties };
  await self.host.publish([{ exchange: "", routingKey: key, message }, { exchange: "e", routingKey: "k", message: { ...message, body: "\\u00fcber" } }]);
  return "published";
};
export const hold = (_self, bytes) => { (globalThis.held ??= []).push(new Uint8Array(bytes).fill(1)); return 1; };
`;

/** Returns the process group of a process. */
function processGroup(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2]);
}

/** A pool that records everything it reports, and ways to wait for it. */
export class Rig {
  readonly world: RealTestWorld;
  readonly pool: Pool;
  readonly outcomes = new Map<number, Outcome>();
  readonly accepted: number[] = [];
  readonly slots: string[] = [];
  readonly states: string[] = [];
  readonly events: string[] = [];
  readonly published: unknown[] = [];
  doubled = 0;
  #seq = 0;
  #wakers: (() => void)[] = [];

  constructor(subject: PoolUnderTest, folder: string, options: Partial<PoolOptions> & { app?: string }) {
    this.world = realTestWorld();
    const { app, ...rest } = options;
    const all = poolOptions({
      concurrency: 2,
      child: childOptions(app ?? `${folder}/tasks.js`),
      publish: (batch) => {
        this.published.push(...batch);
        return batch[0]!.routingKey === "refuse"
          ? Promise.reject(new Error("broker says no"))
          : Promise.resolve();
      },
      ...rest,
    });
    this.pool = subject.make(this.world, all, {
      onAccepted: (jobs) => void this.accepted.push(...jobs.map(({ seq }) => seq)),
      onOutcomes: (batch) => {
        for (const outcome of batch) {
          if (this.outcomes.has(outcome.seq)) this.doubled++;
          this.outcomes.set(outcome.seq, outcome);
        }
        this.#wake();
      },
      onState: (job, state, document) => void this.states.push(`${job.seq} ${state} ${document}`),
      onEvent: (job, type, fields) => void this.events.push(`${job.seq} ${type} ${JSON.stringify(fields)}`),
      onFree: () => this.#wake(),
      onSlot: (change, slot) => {
        this.slots.push(`${change} ${slot.reason}`);
        this.#wake();
      },
    });
  }

  job(name: string, args: unknown[] = [], more: Partial<Job> = {}): Job {
    const seq = ++this.#seq;
    const id = `id-${seq}`;
    return {
      seq,
      name,
      id,
      envelope: JSON.stringify({ name, id, args }),
      queue: "celery",
      redelivered: false,
      timeLimit: null,
      softTimeLimit: null,
      expectedMs: Infinity,
      ...more,
    };
  }

  /** Submits jobs as `free` allows and waits for every outcome. */
  async run(jobs: Job[]): Promise<Outcome[]> {
    let at = 0;
    await this.until(() => {
      while (at < jobs.length && this.pool.free > 0) {
        const batch = jobs.slice(at, at + this.pool.free);
        at += batch.length;
        this.pool.submit(batch);
      }
      return jobs.every(({ seq }) => this.outcomes.has(seq));
    });
    return jobs.map(({ seq }) => this.outcomes.get(seq)!);
  }

  /**
   * Returns a function that submits jobs as `free` allows, and again those that were returned, and returns how many
   * have ended: a condition for `until`.
   */
  submitter(jobs: readonly Job[]): () => number {
    const waiting = [...jobs];
    return () => {
      for (const job of jobs) {
        if (this.outcomes.get(job.seq)?.kind !== "returned") continue;
        this.outcomes.delete(job.seq);
        waiting.push(job);
      }
      while (waiting.length > 0 && this.pool.free > 0) this.pool.submit(waiting.splice(0, this.pool.free));
      return jobs.filter(({ seq }) => this.outcomes.has(seq)).length;
    };
  }

  /** Resolves when short jobs are sent several at a time. */
  async batching(): Promise<void> {
    await this.one("add", [1, 1], { expectedMs: 0.01 });
    await this.until(() => this.pool.free >= 64 * this.pool.info().pids.length);
  }

  async one(name: string, args: unknown[] = [], more: Partial<Job> = {}): Promise<Outcome> {
    return (await this.run([this.job(name, args, more)]))[0]!;
  }

  /** Checks after each report of the pool, and every 20 ms. */
  async until(condition: () => boolean): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (!condition()) {
      if (performance.now() > end) {
        throw new Error(
          `not within ${PATIENCE_MS} ms: ${condition}\n${this.slots}\n${this.lines().join("\n")}`,
        );
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#wakers.push(resolve);
        timer = setTimeout(resolve, 20);
      });
      clearTimeout(timer);
    }
  }

  lines(): string[] {
    return this.world.log.records.map(({ level, message, process, task }) =>
      `${level}/${process} ${task ? `${task.name}[${task.id}]: ` : ""}${message}`
    );
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }
}

/** Declares the suite's tests. */
export function testPool(subject: PoolUnderTest): void {
  const test = (
    title: string,
    options: Partial<PoolOptions> & { app?: string },
    body: (rig: Rig, folder: string) => Promise<void>,
  ) =>
    Deno.test(`${subject.name}: ${title}`, async () => {
      const folder = Deno.makeTempDirSync();
      Deno.writeTextFileSync(`${folder}/tasks.js`, MODULE);
      Deno.writeTextFileSync(`${folder}/broken.js`, `throw new Error("the user's own error");`);
      const rig = new Rig(subject, folder, options);
      try {
        await body(rig, folder);
        assert.equal(rig.doubled, 0, "a job has one outcome");
      } finally {
        await rig.pool.terminateAll();
        await rig.pool.close();
        await rig.pool.close();
        Deno.removeSync(folder, { recursive: true });
      }
    });

  test("runs jobs, accepts each once, ends each once", {}, async (rig) => {
    await rig.pool.start();
    const jobs = Array.from(
      { length: 500 },
      (_, n) => rig.job("add", [n, 1], n < 3 ? {} : { expectedMs: 0.02 }),
    );
    const outcomes = await rig.run(jobs);
    assert.deepEqual(outcomes.map(({ document }) => Number(document)), jobs.map((_, n) => n + 1));
    assert.deepEqual([...rig.accepted].sort((a, b) => a - b), jobs.map(({ seq }) => seq));
    assert.equal(rig.pool.busy, 0);
    await rig.pool.drain();
  });

  test("async tasks, failures and large documents", {}, async (rig) => {
    await rig.pool.start();
    const outcomes = await rig.run([
      rig.job("slowAdd", [20, 2, 3]),
      rig.job("boom"),
      rig.job("big", [3_000_000]),
      rig.job("add", ["ü", "\u{1f600}"], { expectedMs: 0.1 }),
      rig.job("big", [200_000], { expectedMs: 0.1 }),
    ]);
    assert.deepEqual(outcomes.map(({ kind }) => kind), [
      "success",
      "failure",
      "success",
      "success",
      "success",
    ]);
    assert.equal(outcomes[1]!.summary, "boom");
    assert.equal((outcomes[2]!.document as string).length, 3_000_002);
    assert.equal(outcomes[3]!.document, '"ü\u{1f600}"');
  });

  test("states, events and published messages reach the worker", {}, async (rig) => {
    await rig.pool.start();
    const [state, event, published] = await rig.run([
      rig.job("progress", [7]),
      rig.job("event"),
      rig.job("publish", ["key"]),
    ]);
    assert.deepEqual(rig.states, [`${state!.seq} PROGRESS {"n":7}`]);
    assert.deepEqual(rig.events, [`${event!.seq} task-custom {"a":1}`]);
    assert.equal(published!.document, '"published"');
    const [bytes, text] = rig.published as {
      routingKey: string;
      message: { body: unknown; headers: unknown };
    }[];
    assert.equal(bytes!.routingKey, "key");
    assert.deepEqual(bytes!.message.body, new Uint8Array([1, 2, 3]));
    assert.deepEqual(bytes!.message.headers, { a: 1 });
    assert.equal(text!.message.body, "über");
    const refused = await rig.one("publish", ["refuse"]);
    assert.deepEqual([refused.kind, refused.summary], ["failure", "broker says no"]);
  });

  test(
    "output of a task, and errors of its stray timers, are logged with its id; the slot lives on",
    {},
    async (rig) => {
      await rig.pool.start();
      const printed = await rig.one("print", ["hello"]);
      const isLogged = (level: string, ...words: string[]) => () =>
        rig.lines().some((line) => line.startsWith(level) && words.every((word) => line.includes(word)));
      await rig.until(isLogged("WARNING", `print[id-${printed.seq}]: hello { n: 1 }`));
      const timer = await rig.one("strayTimer");
      await rig.until(isLogged("ERROR", "stray timer"));
      const promise = await rig.one("strayPromise");
      await rig.until(isLogged("ERROR", "stray promise", `strayPromise[id-${promise.seq}]`));
      assert.equal(timer.kind, "success");
      assert.equal((await rig.one("add", [1, 1])).document, "2");
      if (subject.hasProcesses) {
        await rig.one("write", ["straight to stdout"]);
        await rig.until(isLogged("WARNING/ForkPoolWorker-", "straight to stdout"));
      }
      assert.ok(!rig.slots.some((line) => line.startsWith("ended")), rig.slots.join());
    },
  );

  test("the soft limit interrupts an awaiting task", {}, async (rig) => {
    await rig.pool.start();
    await rig.one("add", [1, 1]);
    const outcome = await rig.one("slowAdd", [300_000, 1, 1], { softTimeLimit: 0.2, timeLimit: 300 });
    assert.deepEqual([outcome.kind, outcome.summary], ["failure", "interrupted: soft"]);
    assert.ok(rig.lines().some((line) => line.includes("Soft time limit (0.2s) exceeded for slowAdd[")));
  });

  test("the hard limit ends an awaiting task, and the next one runs", { concurrency: 1 }, async (rig) => {
    await rig.pool.start();
    await rig.one("add", [1, 1]);
    const [ended, next] = await rig.run([
      rig.job("slowAdd", [300_000, 1, 1], { timeLimit: 0.3 }),
      rig.job("add", [2, 3]),
    ]);
    assert.deepEqual([ended!.kind, ended!.summary, ended!.exception], [
      "timeout",
      "0.3",
      "TimeLimitExceeded(0.3)",
    ]);
    assert.equal(next!.document, "5");
  });

  test("terminateAll ends running jobs as lost and gives back the rest", { concurrency: 1 }, async (rig) => {
    await rig.pool.start();
    await rig.one("add", [1, 1]);
    const jobs = Array.from({ length: 3 }, () => rig.job("stay", [20_000]));
    rig.pool.submit(jobs);
    await rig.until(() => rig.states.length === 1);
    await rig.pool.terminateAll();
    const kinds = jobs.map(({ seq }) => rig.outcomes.get(seq)?.kind);
    assert.deepEqual(kinds, ["lost", "returned", "returned"]);
    assert.equal(rig.pool.busy, 0);
  });

  if (subject.isConcurrent) testConcurrent(test);
  if (subject.endsBusyLoops) testBusyLoops(subject, test);
  if (subject.hasSlots) testSlots(subject, test);
  if (subject.hasProcesses) testProcesses(test);
}

type Test = (
  title: string,
  options: Partial<PoolOptions> & { app?: string },
  body: (rig: Rig, folder: string) => Promise<void>,
) => void;

function testConcurrent(test: Test): void {
  test("jobs that had ended, or not begun, when their isolate began to spin are not lost", {
    concurrency: 10,
  }, async (rig) => {
    await rig.pool.start();
    const jobs = [rig.job("add", [1, 1]), rig.job("busy", [-1], { timeLimit: 0.3 }), rig.job("add", [2, 2])];
    const outcomes = await rig.run(jobs);
    assert.deepEqual(outcomes.map(({ kind }) => kind), ["success", "timeout", "success"]);
  });

  test("many tasks await at once", { concurrency: 500 }, async (rig, folder) => {
    await rig.pool.start();
    // The last task opens the gate for all others: none ends before all have begun.
    const go = `${folder}/go`;
    const outcomes = await rig.run(
      Array.from({ length: 500 }, (_, n) => n < 499 ? rig.job("gate", [go]) : rig.job("open", [go])),
    );
    assert.ok(outcomes.every(({ kind }) => kind === "success"));
    assert.equal(rig.pool.free, 500);
  });
}

function testBusyLoops(subject: PoolUnderTest, test: Test): void {
  test("the hard limit ends a busy loop, and the next task runs", { concurrency: 1 }, async (rig) => {
    await rig.pool.start();
    await rig.one("add", [1, 1]);
    const [ended, next] = await rig.run([
      rig.job("busy", [-1], { timeLimit: 0.5 }),
      rig.job("add", [2, 3]),
    ]);
    assert.equal(ended!.kind, "timeout");
    assert.equal(next!.document, "5");
  });

  test(
    "a spinning task ends with its process, after the tasks next to it have ended",
    { concurrency: 2 },
    async (rig) => {
      await rig.pool.start();
      const before = Number((await rig.one("pid")).document);
      const beside = rig.run([rig.job("slowAdd", [1000, 1, 1])]);
      const spun = await rig.one("busy", [-1], { timeLimit: 0.3 });
      assert.equal(spun.kind, "timeout");
      if (!subject.isConcurrent) assert.equal((await beside)[0]!.document, "2");
      else await beside;
      const after = Number((await rig.one("pid")).document);
      // With two processes it is chance which of them ran it.
      if (!subject.hasProcesses) {
        assert.notEqual(after, before);
        await rig.until(() => !isRunning(before));
      }
    },
  );

  test("a task that kills its process is lost, and the next one runs", { concurrency: 1 }, async (rig) => {
    await rig.pool.start();
    const killed = await rig.one("kill");
    assert.equal(killed.kind, "lost");
    assert.match(killed.summary, /^Worker exited prematurely: signal 9 \(SIGKILL\) Job: \d+\.$/);
    assert.equal((await rig.one("add", [2, 3])).document, "5");
  });

  if (subject.isConcurrent) return;
  test(
    "only the hanging job of a frame times out; none runs twice",
    { concurrency: 1 },
    async (rig) => {
      await rig.pool.start();
      const jobs = Array.from(
        { length: 20 },
        (_, n) => n === 10 ? rig.job("busy", [-1], short(0.5)) : rig.job("add", [n, 0], short(300)),
      );
      await rig.one("add", [1, 1], short(null));
      const outcomes = await rig.run(jobs);
      outcomes.forEach(({ kind, document }, n) => {
        if (n === 10) assert.equal(kind, "timeout");
        else assert.deepEqual([kind, Number(document)], ["success", n]);
      });
      assert.equal(new Set(rig.accepted).size, rig.accepted.length, "accepted once");
    },
  );

  test("short jobs behind a long one run elsewhere", { concurrency: 2 }, async (rig, folder) => {
    await rig.pool.start();
    await rig.batching();
    const go = `${folder}/go`;
    const jobs = Array.from(
      { length: 40 },
      (_, n) => n === 0 ? rig.job("gate", [go], short(null)) : rig.job("add", [n, 0], short(null)),
    );
    const long = rig.run(jobs);
    await rig.until(() => rig.outcomes.size >= 1 + 39);
    assert.ok(!rig.outcomes.has(jobs[0]!.seq));
    Deno.writeTextFileSync(go, "");
    await long;
  });

  test("jobs of some milliseconds behind a spinning one run elsewhere, none twice", {
    concurrency: 2,
  }, async (rig, folder) => {
    await rig.pool.start();
    await rig.batching();
    const go = `${folder}/go`;
    const some = { expectedMs: 10 };
    const jobs = Array.from(
      { length: 40 },
      (_, n) => n === 2 ? rig.job("spin", [go], some) : rig.job("slowAdd", [5, n, 0], some),
    );
    // On a busy machine any job may take long, and the spinning one may wait behind it and come back.
    const ended = rig.submitter(jobs);
    await rig.until(() => ended() === 39);
    assert.ok(!rig.outcomes.has(jobs[2]!.seq));
    Deno.writeTextFileSync(go, "");
    await rig.until(() => ended() === 40);
    assert.deepEqual([...new Set(rig.outcomes.values().map(({ kind }) => kind))], ["success"]);
    assert.equal(new Set(rig.accepted).size, rig.accepted.length, "accepted once");
  });

  test("slots that stand still now and then begin each job once", { concurrency: 2 }, async (rig, folder) => {
    await rig.pool.start();
    const chance = (max: number) => Math.floor(Math.random() * max);
    const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
    const log = `${folder}/runs`;
    const jobs = Array.from({ length: STILL_JOBS }, (_, n) => {
      const expectedMs = [0.05, 0.5, 5, 20, 20, Infinity][n % 6]!;
      return rig.job("note", [log, n % 3 === 0 ? chance(20) : 0], { expectedMs });
    });
    let isOver = false;
    const still = async () => {
      while (!isOver) {
        const pids = rig.pool.info().pids;
        const pid = pids[chance(pids.length)]!;
        Deno.kill(pid, "SIGSTOP");
        await pause(chance(150));
        Deno.kill(pid, "SIGCONT");
        await pause(chance(15));
      }
    };
    const stopping = still();
    const ended = rig.submitter(jobs);
    try {
      await rig.until(() => ended() === jobs.length);
    } finally {
      isOver = true;
      await stopping;
    }
    const runs = Deno.readTextFileSync(log).trim().split("\n").map(Number);
    assert.deepEqual(runs.toSorted((a, b) => a - b), jobs.map(({ seq }) => seq), "each runs once");
    assert.equal(new Set(rig.accepted).size, rig.accepted.length, "accepted once");
  });
}

/** Jobs for slots that are stopped at random: some seconds of them. */
const STILL_JOBS = Number(Deno.env.get("LOVAGE_STILL_JOBS") ?? 400);

function short(timeLimit: number | null): Partial<Job> {
  return { expectedMs: 0.01, timeLimit };
}

function testSlots(subject: PoolUnderTest, test: Test): void {
  test("a slot whose task exits is replaced; the others are not affected", {}, async (rig) => {
    await rig.pool.start();
    const neighbour = rig.job("slowAdd", [600, 1, 2]);
    const dying = rig.job("exit", [3]);
    const outcomes = await rig.run([neighbour, dying, rig.job("add", [1, 1])]);
    if (!subject.isConcurrent) assert.equal(outcomes[0]!.document, "3");
    assert.equal(outcomes[1]!.kind, "lost");
    const text = `Worker exited prematurely: exitcode 3 Job: ${dying.seq}.`;
    assert.deepEqual([outcomes[1]!.summary, outcomes[1]!.exception], [text, `WorkerLostError('${text}')`]);
    assert.equal((await rig.one("add", [4, 4])).document, "8");
  });

  test(
    "a module that throws fails the start with its own error",
    { app: "/nowhere" },
    async (rig, folder) => {
      const broken = new Rig(subject, folder, { app: `${folder}/broken.js` });
      await assert.rejects(broken.pool.start(), /the user's own error/);
      await broken.pool.close();
      await assert.rejects(rig.pool.start(), /nowhere/);
    },
  );

  test("slots are recycled after maxTasksPerChild", { maxTasksPerChild: 10 }, async (rig) => {
    await rig.pool.start();
    const outcomes = await rig.run(
      Array.from({ length: 65 }, (_, n) => rig.job("add", [n, 1], short(null))),
    );
    assert.ok(outcomes.every(({ kind }) => kind === "success"));
    await rig.until(() => rig.slots.filter((line) => line === "ended null").length >= 5);
  });

  test("grow, shrink and restart while working", {}, async (rig) => {
    await rig.pool.start();
    const work = rig.run(Array.from({ length: 60 }, () => rig.job("slowAdd", [20, 1, 1])));
    await rig.pool.grow(1);
    assert.equal(rig.pool.size, 3);
    await rig.pool.shrink(2);
    assert.equal(rig.pool.size, 1);
    await rig.pool.restart();
    assert.ok((await work).every(({ kind }) => kind === "success"));
    if (!subject.isConcurrent) await rig.until(() => rig.pool.info().pids.length === 1);
  });

  test("signals that supervisors send to all processes of a worker do not end its slots", {}, async (rig) => {
    await rig.pool.start();
    const jobs = [rig.job("slowAdd", [400, 1, 1]), rig.job("slowAdd", [400, 2, 2])];
    const work = rig.run(jobs);
    await rig.until(() => jobs.every(({ seq }) => rig.accepted.includes(seq)));
    for (const pid of new Set(rig.pool.info().pids)) {
      assert.notEqual(pid, Deno.pid);
      // A signal to our whole group does not reach them either: slots have sessions of their own.
      assert.equal(processGroup(pid), pid);
      for (const name of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const) {
        Deno.kill(pid, name);
      }
    }
    assert.deepEqual((await work).map(({ document }) => document), ["2", "4"]);
  });

  test("a running task is terminated", { concurrency: 1 }, async (rig) => {
    await rig.pool.start();
    const job = rig.job("slowAdd", [20_000, 1, 1]);
    const work = rig.run([job]);
    await rig.until(() => rig.accepted.includes(job.seq));
    assert.equal(rig.pool.terminate(job.seq, "SIGTERM"), true);
    assert.deepEqual((await work).map(({ kind, summary }) => [kind, summary]), [["terminated", "SIGTERM"]]);
    assert.equal(rig.pool.terminate(job.seq, "SIGTERM"), false);
    assert.equal((await rig.one("add", [4, 4])).document, "8");
  });
}

function testProcesses(test: Test): void {
  test("a task that listens to a signal cleans up before its slot ends", { concurrency: 1 }, async (rig) => {
    await rig.pool.start();
    const job = rig.job("listen", []);
    const work = rig.run([job]);
    await rig.until(() => rig.states.includes(`${job.seq} LISTENING `));
    assert.equal(rig.pool.terminate(job.seq, "SIGTERM"), true);
    assert.deepEqual((await work).map(({ kind, summary }) => [kind, summary]), [["terminated", "SIGTERM"]]);
    assert.ok(rig.states.includes(`${job.seq} CLEANED `));
  });

  test("a killed child loses the job it ran alone", {}, async (rig) => {
    await rig.pool.start();
    await rig.batching();
    const jobs = Array.from(
      { length: 30 },
      (_, n) => n === 7 ? rig.job("kill", [], short(null)) : rig.job("add", [n, 0], short(null)),
    );
    const outcomes = await rig.run(jobs);
    outcomes.forEach(({ kind, summary }, n) => {
      assert.equal(kind, n === 7 ? "lost" : "success", summary);
    });
    assert.match(outcomes[7]!.summary, /^Worker exited prematurely: signal 9 \(SIGKILL\) Job: \d+\.$/);
    assert.ok(rig.slots.includes("ended signal 9 (SIGKILL)"));
  });

  test(
    "a child that outgrows maxMemoryPerChild is replaced",
    { concurrency: 1, maxMemoryPerChild: 150_000 },
    async (rig) => {
      await rig.pool.start();
      const before = (await rig.one("pid", [0])).document;
      for (let n = 0; n < 20; n++) {
        await rig.one("hold", [20_000_000]);
        if (rig.slots.includes("ended null")) break;
        await rig.one("pid", [60]);
      }
      assert.notEqual((await rig.one("pid", [0])).document, before);
    },
  );

  test("children that die under load lose only what they ran", {}, async (rig) => {
    await rig.pool.start();
    const jobs = Array.from(
      { length: 300 },
      (_, n) => rig.job(n % 3 ? "slowAdd" : "add", n % 3 ? [5, n, 0] : [n, 0]),
    );
    let kills = 0;
    // Kills follow finished work instead of time, so that the pool makes progress at any speed.
    const storm = setInterval(() => {
      const [pid] = rig.pool.info().pids;
      if (pid === undefined || rig.outcomes.size < (kills + 1) * 25) return;
      try {
        Deno.kill(pid, "SIGKILL");
        kills++;
      } catch (error) {
        // It was killed a turn ago, and the pool has not noticed yet.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }, 5);
    const outcomes = await rig.run(jobs).finally(() => clearInterval(storm));
    const lost = outcomes.filter(({ kind }) => kind === "lost").length;
    assert.ok(outcomes.every(({ kind }) => kind === "lost" || kind === "success"));
    assert.ok(kills > 5 && lost <= kills, `${lost} lost by ${kills} kills`);
  });

  test("nothing is left after closing: no child, no socket, no journal", {}, async (rig) => {
    const journals = () =>
      [...Deno.readDirSync("/dev/shm")].filter(({ name }) => name.startsWith(`lovage-${Deno.pid}-`));
    await rig.pool.start();
    await rig.one("add", [1, 1]);
    const { pids } = rig.pool.info();
    await rig.batching();
    await rig.one("add", [1, 1]);
    await rig.until(() => journals().length === 0);
    await rig.pool.close();
    for (const pid of pids) assert.throws(() => Deno.statSync(`/proc/${pid}`), Deno.errors.NotFound);
  });
}
