/**
 * The solo pool: tasks run in the worker's own isolate, one after the other.
 *
 * Jobs are taken in slices of about a millisecond; between slices the event loop turns, so that sockets are
 * served. A task that awaits holds up the next task, not the worker. What solo cannot do: while a task runs
 * a busy loop nothing else happens in this process, so neither time limit, nor revoke, nor the worker's
 * leases and heartbeats are kept, and a task that ends the process ends the worker. The limits of tasks
 * that await are kept: the soft one rejects the pending await, the hard one gives the task up.
 *
 * Source: celery 5.2.6 concurrency/solo.py.
 */

import { assert, MAIN_PROCESS, Ring, SeqMap, TimerHeap, type World } from "../base/mod.ts";
import type { Outcome } from "../app/mod.ts";
import type { Job, Pool, PoolEvents, PoolInfo, PoolOptions } from "./pool.ts";
import { jobsForFrame, shortJobsPerFrame } from "./feeding.ts";
import { captureConsole, describeStray } from "./child/redirect.ts";
import type { OpenRunner, SlotRunner } from "./runner.ts";
import { hardLimitOutcome, returnedOutcome, terminatedOutcome, untoldOutcome } from "./link/slot_end.ts";

/** Slices' worth of jobs it takes beyond the one that runs. */
const SLICES_AHEAD = 2;

/** The pool. `openRunner` loads the app; the worker's own app may be handed on by it. */
export class SoloPool implements Pool {
  readonly name = "solo";
  readonly size = 1;
  #world: World;
  #options: PoolOptions;
  #events: PoolEvents;
  #openRunner: OpenRunner;
  #runner: SlotRunner | null = null;
  #timers: TimerHeap;
  #queue = new Ring<Job>();
  #expectedMs = Infinity;
  #busy = 0;
  #isScheduled = false;
  #isClosing = false;
  /** Jobs of the slice that runs, by number; and the one that is awaited. */
  #inSlice = new SeqMap<Job>();
  #awaited: Job | null = null;
  #settleAwaited: ((outcome: Outcome) => void) | null = null;
  #idle: (() => void)[] = [];
  #restoreConsole: (() => void) | null = null;

  constructor(world: World, options: PoolOptions, events: PoolEvents, openRunner: OpenRunner) {
    this.#world = world;
    this.#options = options;
    this.#events = events;
    this.#openRunner = openRunner;
    this.#timers = new TimerHeap(world.clock);
  }

  async start(): Promise<void> {
    const { log } = this.#world;
    this.#runner = await this.#openRunner(this.#world, this.#options.child, {
      onState: (seq, state, document) => {
        const job = this.#inSlice.get(seq);
        if (job) this.#events.onState(job, state, document);
      },
      onEvent: (seq, type, fields) => {
        const job = this.#inSlice.get(seq);
        if (job) this.#events.onEvent(job, type, fields);
      },
      log: (level, message, task) => log.emit(level, message, task === null ? {} : { task }),
      // Its process is the worker, which is left for nothing.
      draining: () => log.warning("A sandboxed task could not be stopped and goes on: solo cannot end it"),
      publish: (batch, handOn) => this.#options.publish(batch, handOn),
    });
    const label = () => this.#runner?.current() ?? null;
    const { printLevel } = this.#options.child;
    const restoreConsole = printLevel === null ? null : captureConsole(
      label,
      (text, task) => log.emit(printLevel, text, task === null ? {} : { task }),
      false,
    );
    const onStray = (event: Event) => {
      event.preventDefault();
      const { text, task } = describeStray(event, label, (thrown) => this.#runner?.ofError?.(thrown) ?? null);
      log.emit("ERROR", text, task === null ? {} : { task });
    };
    globalThis.addEventListener("error", onStray);
    globalThis.addEventListener("unhandledrejection", onStray);
    this.#restoreConsole = () => {
      restoreConsole?.();
      globalThis.removeEventListener("error", onStray);
      globalThis.removeEventListener("unhandledrejection", onStray);
    };
    this.#events.onSlot("started", { name: MAIN_PROCESS, pid: this.#world.host.pid, reason: null });
  }

  get free(): number {
    if (this.#isClosing || this.#runner === null) return 0;
    const perSlice = shortJobsPerFrame(this.#expectedMs);
    const room = perSlice > 1 ? perSlice * SLICES_AHEAD : 1;
    return Math.max(0, room - this.#busy);
  }

  get busy(): number {
    return this.#busy;
  }

  submit(jobs: readonly Job[]): void {
    assert(this.#runner !== null && !this.#isClosing, "an open pool takes jobs");
    for (const job of jobs) this.#queue.push(job);
    this.#busy += jobs.length;
    if (jobs.length > 0) this.#expectedMs = jobs[jobs.length - 1]!.expectedMs;
    // The loop has turned to bring them: the first slice follows in the same turn, once all of them are here.
    this.#schedule(queueMicrotask);
  }

  /** Only what is awaited can be ended, and no signal is sent: this process is the worker. */
  terminate(seq: number, signal: string): boolean {
    if (this.#awaited?.seq !== seq) return false;
    const job = this.#awaited;
    if (signal === "SIGUSR1") this.#runner!.interrupt(seq, "soft", 0);
    else {
      this.#settleAwaited!(terminatedOutcome(job, signal));
      this.#runner!.interrupt(seq, "terminated", 0);
    }
    return true;
  }

  grow(): Promise<void> {
    return Promise.resolve();
  }

  shrink(): Promise<void> {
    return Promise.resolve();
  }

  /** User code cannot be loaded twice into one isolate: nothing happens. */
  restart(): Promise<void> {
    return Promise.resolve();
  }

  info(): PoolInfo {
    return {
      implementation: "lovage.pool:solo",
      concurrency: 1,
      pids: [this.#world.host.pid],
      maxTasksPerChild: null,
      timeouts: [0, 0],
      writes: [],
    };
  }

  drain(): Promise<void> {
    if (this.#busy === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  terminateAll(): Promise<void> {
    this.#isClosing = true;
    const returned = this.#queue.toArray().map(returnedOutcome);
    this.#queue.clear();
    if (returned.length > 0) this.#report(returned);
    if (this.#awaited !== null) {
      const job = this.#awaited;
      this.#settleAwaited!(lostInSolo(job));
      this.#runner!.interrupt(job.seq, "stop", 0);
    }
    return this.drain();
  }

  async close(): Promise<void> {
    if (this.#isClosing && this.#runner === null) return;
    this.#isClosing = true;
    this.#timers.close();
    this.#restoreConsole?.();
    this.#restoreConsole = null;
    const runner = this.#runner;
    this.#runner = null;
    await runner?.close();
  }

  #schedule(soon: (fn: () => void) => void): void {
    if (this.#isScheduled || this.#queue.length === 0) return;
    this.#isScheduled = true;
    soon(() => this.#slice());
  }

  /** One slice. The common one is synchronous from here to `onOutcomes`. */
  #slice(): void {
    if (this.#queue.length === 0 || this.#runner === null) {
      this.#isScheduled = false;
      return;
    }
    const jobs = jobsForFrame(this.#queue, Infinity);
    this.#events.onAccepted(jobs, this.#world.host.pid);
    for (const job of jobs) this.#inSlice.set(job.seq, job);
    this.#run(jobs, 0, []);
  }

  #run(jobs: readonly Job[], from: number, outcomes: Outcome[]): void {
    const runner = this.#runner;
    if (runner === null) return;
    for (let n = from; n < jobs.length; n++) {
      const job = jobs[n]!;
      if (this.#isClosing) {
        outcomes.push(returnedOutcome(job));
        continue;
      }
      let outcome: Outcome | Promise<Outcome>;
      try {
        outcome = runner.run(job);
      } catch (error) {
        // A runner should not; where it does, the job is to end nonetheless.
        outcome = untoldOutcome(job, error);
      }
      if (outcome instanceof Promise) {
        if (outcomes.length > 0) this.#reportSoon(outcomes);
        void this.#await(job, outcome).then((ended) => this.#run(jobs, n + 1, [ended]));
        return;
      }
      outcomes.push(outcome);
    }
    // What is handed over for the room that this makes has the next turn.
    this.#report(outcomes);
    this.#isScheduled = false;
    this.#schedule((fn) => this.#world.clock.defer(fn));
  }

  /** What ended before an awaiting task is told by the end of this turn, unless that ends the slice first. */
  #reportSoon(outcomes: Outcome[]): void {
    this.#world.clock.defer(() => this.#report(outcomes));
  }

  #await(job: Job, running: Promise<Outcome>): Promise<Outcome> {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#awaited = job;
    this.#settleAwaited = resolve;
    const { softTimeLimit: soft, timeLimit: hard } = job;
    const softAt = soft ? this.#timers.armIn(soft * 1000, () => this.#soften(job, soft)) : null;
    const hardAt = hard
      ? this.#timers.armIn(hard * 1000, () => {
        resolve(hardLimitOutcome(job));
        this.#runner?.interrupt(job.seq, "hard", hard);
      })
      : null;
    void running.then(resolve, (error) => resolve(untoldOutcome(job, error)));
    return promise.finally(() => {
      this.#timers.disarm(softAt);
      this.#timers.disarm(hardAt);
      this.#awaited = null;
      this.#settleAwaited = null;
    });
  }

  #soften(job: Job, seconds: number): void {
    this.#world.log.warning(`Soft time limit (${seconds}s) exceeded for ${job.name}[${job.id}]`);
    this.#runner?.interrupt(job.seq, "soft", seconds);
  }

  #report(outcomes: readonly Outcome[]): void {
    for (const { seq } of outcomes) this.#inSlice.delete(seq);
    this.#busy -= outcomes.length;
    if (outcomes.length > 0) this.#events.onOutcomes(outcomes, MAIN_PROCESS);
    if (this.free > 0) this.#events.onFree();
    if (this.#busy > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

function lostInSolo(job: Job): Outcome {
  return { ...returnedOutcome(job), kind: "lost", summary: "Worker was terminated", exception: "" };
}
