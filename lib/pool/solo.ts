/**
 * The solo pool: tasks run in the worker's own isolate, one after the other.
 *
 * Jobs are taken in slices of about a millisecond; between slices the event loop turns, so that sockets are
 * served. A task that awaits delays the next task, but not the worker. A busy loop stops everything else in
 * this process: time limits, revokes, leases and heartbeats of the worker. A task that ends the process ends
 * the worker. For a task that awaits, limits hold: the soft one rejects the pending await, the hard one gives
 * the task up.
 *
 * Source: celery 5.2.6 concurrency/solo.py.
 */

import { assert, MAIN_PROCESS, Ring, SeqMap, TimerHeap, type World } from "../base/mod.ts";
import type { Outcome } from "../app/mod.ts";
import type { Job, Pool, PoolEvents, PoolInfo, PoolOptions } from "./pool.ts";
import { jobsForFrame, shortJobsPerFrame } from "./feeding.ts";
import { captureConsole, describeUncaught } from "./child/redirect.ts";
import type { OpenRunner, SlotRunner } from "./runner.ts";
import { hardLimitOutcome, returnedOutcome, terminatedOutcome, unknownOutcome } from "./link/slot_end.ts";

/** Slices of jobs that it accepts beyond the running one. */
const SLICES_AHEAD = 2;

/** The pool. `openRunner` loads the app, or uses the worker's own. */
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
  /** Jobs of the running slice, by number; and the awaited one. */
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
      // This process is the worker, which cannot be replaced as a slot would be.
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
    const onUncaught = (event: Event) => {
      event.preventDefault();
      const { text, task } = describeUncaught(
        event,
        label,
        (thrown) => this.#runner?.ofError?.(thrown) ?? null,
      );
      log.emit("ERROR", text, task === null ? {} : { task });
    };
    globalThis.addEventListener("error", onUncaught);
    globalThis.addEventListener("unhandledrejection", onUncaught);
    this.#restoreConsole = () => {
      restoreConsole?.();
      globalThis.removeEventListener("error", onUncaught);
      globalThis.removeEventListener("unhandledrejection", onUncaught);
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
    // The event loop has just turned to deliver these jobs, so the first slice follows in the same turn,
    // after the last job.
    this.#schedule(queueMicrotask);
  }

  /** Ends only an awaited task, and sends no signal, since this process is the worker. */
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

  /** Does nothing: user code cannot be loaded twice into one isolate. */
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

  /** Runs one slice. In the common case all of it is synchronous, up to `onOutcomes`. */
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
        // A runner should not throw; if it does, the job must end all the same.
        outcome = unknownOutcome(job, error);
      }
      if (outcome instanceof Promise) {
        if (outcomes.length > 0) this.#reportSoon(outcomes);
        void this.#await(job, outcome).then((ended) => this.#run(jobs, n + 1, [ended]));
        return;
      }
      outcomes.push(outcome);
    }
    // Jobs submitted into the room that this report makes run in the next turn.
    this.#report(outcomes);
    this.#isScheduled = false;
    this.#schedule((fn) => this.#world.clock.defer(fn));
  }

  /**
   * Reports outcomes from before an awaiting task at the end of this turn, or when the slice ends, if that is
   * earlier.
   */
  #reportSoon(outcomes: Outcome[]): void {
    this.#world.clock.defer(() => this.#report(outcomes));
  }

  #await(job: Job, running: Promise<Outcome>): Promise<Outcome> {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#awaited = job;
    this.#settleAwaited = resolve;
    const { softTimeLimit: soft, timeLimit: hard } = job;
    const softAt = soft ? this.#timers.armIn(soft * 1000, () => this.#onSoftLimit(job, soft)) : null;
    const hardAt = hard
      ? this.#timers.armIn(hard * 1000, () => {
        resolve(hardLimitOutcome(job));
        this.#runner?.interrupt(job.seq, "hard", hard);
      })
      : null;
    void running.then(resolve, (error) => resolve(unknownOutcome(job, error)));
    return promise.finally(() => {
      this.#timers.disarm(softAt);
      this.#timers.disarm(hardAt);
      this.#awaited = null;
      this.#settleAwaited = null;
    });
  }

  #onSoftLimit(job: Job, seconds: number): void {
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
