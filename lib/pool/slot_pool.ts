/**
 * The pool of slots: the pools processes, threads and async, which differ in their links.
 *
 * This file opens, replaces and ends slots and enforces their time limits; feeder.ts gives them jobs.
 */

import { assert, errorText, type Level, MAIN_PROCESS, TimerHeap, type World } from "../base/mod.ts";
import { type Outcome, signals } from "../app/mod.ts";
import type { Job, Pool, PoolEvents, PoolInfo, PoolOptions } from "./pool.ts";
import { Feeder } from "./feeder.ts";
import type { TaskLabel } from "./runner.ts";
import type { LinkFactory, SlotEnd } from "./link/link.ts";
import type { Verdict } from "./held.ts";
import { Slot, type SlotOwner } from "./slot.ts";
import { endText, returnedOutcome } from "./link/slot_end.ts";
import type { SlotInit, SlotPublish } from "./link/slot_message.ts";
import { SlotStarts } from "./slot_starts.ts";
import { Standby } from "./standby.ts";
import { enforceLimits, nextCheckMs } from "./time_limits.ts";
import { Waiters } from "./waiters.ts";

/** Maximum slots opened in one turn of the event loop. */
const OPENED_AT_ONCE = 16;
/** Milliseconds that a task which handles a signal has to clean up before its slot is killed. */
const SIGNAL_GRACE_MS = 1000;
/** Milliseconds after its start at which a slot gets its journal, unless it has had a result before. */
const JOURNAL_AFTER_MS = 100;
/** Milliseconds that a slot has to end after it was sent `stop`. */
const STOP_GRACE_MS = 5000;
/** Milliseconds that an isolate of the async pool has to give up one task before the isolate is ended. */
const GIVE_UP_GRACE_MS = 300;
/**
 * A slot that dies younger than this, in milliseconds, and without having had a job, counts as one that could
 * not start.
 */
const EARLY_DEATH_MS = 1000;
/** Milliseconds of silence after which a slot whose job is near its limit is taken to be in a busy loop. */
const SILENT_MS = 200;
/** Milliseconds for which a standby slot is kept for a slot that may have to be replaced. */
const STAND_BY_MS = 3000;

/** The differences between the pools. */
export interface SlotPoolKind {
  readonly name: "processes" | "threads" | "async";
  /** Celery's prefix of process names; null: slots are part of the main process. */
  readonly processPrefix: string | null;
  /** True if one slot runs all jobs at once; false if each of `concurrency` slots runs one job at a time. */
  readonly isConcurrent: boolean;
}

/** A pool of slots. */
export class SlotPool implements Pool, SlotOwner {
  readonly name: "processes" | "threads" | "async";
  readonly nowMs: () => number;
  #world: World;
  #kind: SlotPoolKind;
  #options: PoolOptions;
  #events: PoolEvents;
  #links: LinkFactory;
  #timers: TimerHeap;
  #slots: Slot[] = [];
  #standby: Standby;
  #feeder: Feeder;
  /** Jobs that were given back after they had been accepted; they are not reported as accepted again. */
  #acceptedBefore = new Set<number>();
  #gathered: Outcome[] = [];
  #concurrency: number;
  #busy = 0;
  #slotNumber = 0;
  readonly #starts = new SlotStarts();
  #isOpen = false;
  #isClosing = false;
  #waiters = new Waiters();

  constructor(
    world: World,
    kind: SlotPoolKind,
    links: LinkFactory,
    options: PoolOptions,
    events: PoolEvents,
  ) {
    assert(options.concurrency >= 1, "a pool has at least one slot");
    this.name = kind.name;
    this.#world = world;
    this.#kind = kind;
    this.#links = links;
    this.#options = options;
    this.#events = events;
    this.#concurrency = options.concurrency;
    this.#timers = new TimerHeap(world.clock);
    this.nowMs = () => world.clock.monoMs();
    this.#standby = new Standby(options.maxTasksPerChild, () => this.#openSlot(), this.nowMs);
    this.#feeder = new Feeder({
      slots: this.#slots,
      size: () => this.#concurrency,
      maxTasksPerChild: options.maxTasksPerChild,
      onSent: (slot, isBehind) => this.#onSent(slot, isBehind),
    });
  }

  start(): Promise<void> {
    assert(!this.#isOpen && !this.#isClosing, "a pool is started once");
    this.#isOpen = true;
    const count = this.#kind.isConcurrent ? 1 : this.#concurrency;
    const { promise, reject } = Promise.withResolvers<never>();
    this.#starts.begin(count, reject);
    this.#openSlots(count).catch((error: unknown) => {
      this.#world.log.error(`Cannot start a slot: ${errorText(error)}`);
      reject(error);
    });
    const isUp = this.#waiters.until(() => this.#slots.some((slot) => slot.state === "ready"));
    return Promise.race([isUp, promise]);
  }

  get size(): number {
    return this.#concurrency;
  }

  get busy(): number {
    return this.#busy;
  }

  get free(): number {
    return this.#isClosing ? 0 : this.#feeder.free;
  }

  submit(jobs: readonly Job[]): void {
    assert(!this.#isClosing, "a closed pool takes no jobs");
    this.#busy += jobs.length;
    this.#feeder.add(jobs);
    this.#feeder.feed();
  }

  terminate(seq: number, signal: string): boolean {
    const slot = this.#slots.find((one) => one.held.has(seq));
    if (slot === undefined || slot.state === "ended" || slot.isDoomed) return false;
    if (signal === "SIGUSR1") {
      // Celery's prefork raises SoftTimeLimitExceeded in the task on this signal.
      slot.interrupt(seq, "soft", 0);
      return true;
    }
    if (slot.isConcurrent) {
      slot.interrupt(seq, "terminated", 0);
      this.#killLater(slot, { seq, kind: "terminated", signal });
      return true;
    }
    if (slot.running()?.job.seq !== seq) return false;
    slot.kill(signal, { seq, kind: "terminated", signal });
    // The SIGKILL follows even if the job has ended by itself meanwhile: a doomed slot gets no other job.
    if (signal !== "SIGKILL") {
      this.#timers.armIn(SIGNAL_GRACE_MS, () => slot.kill("SIGKILL", { seq, kind: "terminated", signal }));
    }
    return true;
  }

  async grow(by: number): Promise<void> {
    this.#concurrency += by;
    if (this.#kind.isConcurrent) {
      this.#afterChange();
      return;
    }
    const opened = Array.from({ length: by }, () => this.#openSlot());
    await this.#waiters.until(() => opened.every((slot) => slot.state !== "starting"));
  }

  async shrink(by: number): Promise<void> {
    const leaving = Math.min(by, this.#concurrency - 1);
    this.#concurrency -= leaving;
    if (this.#kind.isConcurrent) return;
    const live = this.#live().sort((a, b) => a.held.size - b.held.size);
    const chosen = live.slice(0, Math.max(0, live.length - this.#concurrency));
    for (const slot of chosen) this.#release(slot);
    await this.#waiters.until(() => chosen.every((slot) => slot.state === "ended"));
  }

  async restart(): Promise<void> {
    for (let standby = this.#standby.take(); standby !== null; standby = this.#standby.take()) {
      this.#release(standby);
    }
    const old = this.#live();
    for (const slot of old) {
      this.#release(slot);
      this.#openSlot();
    }
    await this.#waiters.until(() => old.every((slot) => slot.state === "ended"));
    await this.#waiters.until(() => this.#isClosing || this.#slots.some((slot) => slot.state === "ready"));
  }

  info(): PoolInfo {
    return {
      implementation: `lovage.pool:${this.name}`,
      concurrency: this.#concurrency,
      pids: this.#slots.filter((one) => one.state !== "starting" && !one.isStandby).map(({ pid }) => pid),
      maxTasksPerChild: this.#options.maxTasksPerChild,
      timeouts: [0, 0],
      writes: this.#slots.map((slot) => slot.sent),
    };
  }

  drain(): Promise<void> {
    return this.#waiters.until(() => this.#busy === 0);
  }

  async terminateAll(): Promise<void> {
    this.#isClosing = true;
    for (const job of this.#feeder.clear()) this.#gathered.push(returnedOutcome(job));
    for (const slot of this.#slots) slot.kill("SIGKILL", null);
    this.#deliver(MAIN_PROCESS);
    await this.#waiters.until(() => this.#slots.length === 0);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#starts.cancel();
    for (const slot of [...this.#slots]) {
      this.#retire(slot);
      if (slot.held.size > 0) slot.kill("SIGKILL", null);
    }
    await this.#waiters.until(() => this.#slots.length === 0);
    this.#timers.close();
    await this.#links.close();
  }

  onReady(slot: Slot): void {
    if (slot.state === "retiring") return this.#retire(slot);
    this.#starts.onReady();
    this.#standby.onReady(slot);
    this.#timers.armIn(JOURNAL_AFTER_MS, () => slot.askJournal());
    this.#events.onSlot("started", { name: slot.name, pid: slot.pid, reason: null });
  }

  onBegun(slot: Slot, jobs: Job[]): void {
    let accepted = jobs;
    if (this.#acceptedBefore.size > 0) accepted = jobs.filter((job) => !this.#acceptedBefore.delete(job.seq));
    if (accepted.length > 0) this.#events.onAccepted(accepted, slot.pid);
    this.#watch(slot, nextCheckMs(slot));
  }

  onOutcome(slot: Slot, outcome: Outcome): void {
    this.#gathered.push(outcome);
    if (slot.state === "retiring" && slot.held.size === 0) this.#retire(slot);
  }

  onReturned(slot: Slot, job: Job, isAccepted: boolean): void {
    if (this.#isClosing) this.#gathered.push(returnedOutcome(job));
    else {
      if (isAccepted) this.#acceptedBefore.add(job.seq);
      this.#feeder.giveBack(job);
    }
    if (slot.state === "retiring" && slot.held.size === 0) this.#retire(slot);
  }

  onState(job: Job, state: string, document: string | Uint8Array): void {
    this.#events.onState(job, state, document);
  }

  onEvent(job: Job, type: string, fields: Record<string, unknown>): void {
    this.#events.onEvent(job, type, fields);
  }

  onLog(slot: Slot, level: Level, message: string, task: TaskLabel | null): void {
    const pid = this.#kind.processPrefix === null ? 0 : slot.pid;
    this.#world.log.emit(level, message, { process: this.#processName(slot), pid, task });
  }

  onPublish(slot: Slot, publish: SlotPublish): void {
    this.#options.publish(publish.batch, publish.handOn).then(
      () => slot.answerPublish(publish, null),
      (error: unknown) =>
        slot.answerPublish(publish, error instanceof Error ? error : new Error(errorText(error))),
    );
  }

  onMemory(slot: Slot, kib: number): void {
    const max = this.#options.maxMemoryPerChild;
    if (max === null || kib <= max || slot.state !== "ready") return;
    // Source: billiard pool.py, Worker._ensure_messages_consumed and its memory check.
    this.#world.log.warning(`child process exiting after exceeding memory limit (${kib}KiB / ${max}KiB)`);
    this.#replace(slot);
  }

  onDraining(slot: Slot): void {
    if (slot.isStandby) this.#standby.drop(slot, false);
    if (slot.state === "starting") slot.kill("SIGKILL", null);
    else if (slot.isStandby) this.#retire(slot);
    else this.#replace(slot);
    this.#afterChange();
  }

  onOrphanGroup(pid: number): void {
    this.#world.spawner.killGroup?.(pid);
  }

  onRead(slot: Slot): void {
    if (slot.held.size > 0) this.#watch(slot, nextCheckMs(slot));
    this.#deliver(this.#processName(slot));
    this.#afterChange();
  }

  onEnded(slot: Slot, end: SlotEnd, outcomes: Outcome[]): void {
    const { state } = slot;
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    for (const outcome of outcomes) this.#gathered.push(outcome);
    const isExpected = state === "stopping" && end.code === 0;
    if (state !== "starting") {
      const reason = isExpected ? null : endText(end);
      this.#events.onSlot("ended", { name: slot.name, pid: slot.pid, reason });
    }
    this.#deliver(this.#processName(slot));
    // A slot that was sent `stop` has been replaced already.
    if (slot.isStandby) this.#standby.drop(slot, state === "starting");
    else if ((state === "starting" || state === "ready") && !this.#isClosing) this.#afterDeath(slot, end);
    slot.state = "ended";
    this.#afterChange();
  }

  /**
   * Opens the first slots. Yields to the event loop between groups of them, so that signals are handled and
   * can end this.
   */
  async #openSlots(count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      if (n > 0 && n % OPENED_AT_ONCE === 0) await new Promise<void>((next) => this.#world.clock.defer(next));
      if (this.#isClosing) return;
      this.#openSlot();
    }
  }

  #openSlot(): Slot {
    const number = ++this.#slotNumber;
    const { processPrefix } = this.#kind;
    if (processPrefix !== null) signals.workerBeforeCreateProcess.send(this, {}, this.#world.log);
    const slot = new Slot(this.#links, this.#slotInit(`${processPrefix ?? this.#kind.name}-${number}`), this);
    this.#slots.push(slot);
    this.#timers.armIn(this.#starts.patience * this.#options.procAliveTimeout * 1000, () => {
      if (slot.state !== "starting") return;
      this.#starts.onSlow();
      this.#world.log.error(`Timed out waiting for UP message from <${slot.name}>`);
      slot.kill("SIGKILL", null);
    });
    return slot;
  }

  #slotInit(name: string): Omit<SlotInit, "watchParent"> {
    return {
      child: this.#options.child,
      name,
      reportMemory: this.#options.maxMemoryPerChild !== null,
      isConcurrent: this.#kind.isConcurrent,
    };
  }

  #afterDeath(slot: Slot, end: SlotEnd): void {
    const isEarlyDeath = slot.state === "starting" ||
      (slot.sent === 0 && this.nowMs() - slot.openedMs < EARLY_DEATH_MS);
    if (!isEarlyDeath) return this.#openSuccessor();
    // A slot that was too slow, or that was killed, does not show a fault of the program.
    const isCutOff = slot.isDoomed || (end.signal !== null && slot.failure === null);
    const isFault = slot.state === "starting" && !isCutOff;
    const delayMs = this.#starts.onFailure(isFault, isCutOff);
    if (delayMs === null) return;
    if (delayMs === Infinity) {
      this.#isClosing = true;
      this.#starts.fail(slot.startError(end));
      return;
    }
    if (isFault) {
      const seconds = (delayMs / 1000).toFixed(1);
      this.#world.log.error(
        `Cannot start a pool slot: ${slot.startError(end).message}\nTrying again in ${seconds} seconds`,
      );
    }
    this.#timers.armIn(delayMs, () => {
      if (!this.#isClosing && this.#live().length < (this.#kind.isConcurrent ? 1 : this.#concurrency)) {
        this.#openSlot();
      }
    });
  }

  /** Retires a slot and opens its successor, which starts while the last jobs of the old one end. */
  #replace(slot: Slot): void {
    if (slot.state !== "ready") return;
    this.#retire(slot);
    if (!this.#isClosing) this.#openSuccessor();
  }

  /** Puts another slot in the place of one that has ended or will end. */
  #openSuccessor(): void {
    if (this.#standby.take() === null) this.#openSlot();
    this.#standby.consider(this.#slots);
  }

  /** The slots that are in service, or starting. */
  #live(): Slot[] {
    return this.#slots.filter(({ state, isStandby }) =>
      (state === "ready" || state === "starting") && !isStandby
    );
  }

  /** Gives the slot no more jobs, and ends it when its jobs have ended. */
  #retire(slot: Slot): void {
    if (slot.state === "stopping" || slot.state === "ended") return;
    if (slot.state === "starting") return slot.kill("SIGKILL", null);
    slot.retire();
    if (slot.held.size === 0) this.#timers.armIn(STOP_GRACE_MS, () => slot.kill("SIGKILL", null));
  }

  /** Retires a slot and takes back the jobs that it has not begun. */
  #release(slot: Slot): void {
    this.#retire(slot);
    if (slot.held.size <= 1 || slot.isConcurrent) return;
    const behind = slot.takeBack();
    if (behind === null) slot.recall();
    else this.#feeder.giveBack(behind);
  }

  #onSent(slot: Slot, isBehind: boolean): void {
    const max = this.#options.maxTasksPerChild;
    if (isBehind) this.#watch(slot, nextCheckMs(slot));
    if (slot.sent >= (max ?? Infinity)) this.#replace(slot);
    else if (max !== null) this.#standby.consider(this.#slots);
  }

  /** Arms the next check of a slot's limits, unless an earlier check is armed. */
  #watch(slot: Slot, nextMs: number): void {
    if (nextMs >= slot.checkAtMs || nextMs === Infinity) return;
    slot.checkAtMs = nextMs;
    this.#timers.arm(nextMs, () => {
      if (slot.state === "ended") return;
      // A check that was armed later for an earlier time may have reset `checkAtMs` already.
      if (slot.checkAtMs === nextMs) slot.checkAtMs = Infinity;
      if (slot.held.size > 0) this.#watch(slot, this.#enforce(slot));
    });
  }

  #enforce(slot: Slot): number {
    return enforceLimits(slot, this.nowMs(), {
      onSoft: ({ job }) => {
        const task = `${job.name}[${job.id}]`;
        this.#world.log.warning(`Soft time limit (${job.softTimeLimit}s) exceeded for ${task}`);
        slot.interrupt(job.seq, "soft", job.softTimeLimit!);
      },
      onNear: () => this.#standBy(slot),
      onHard: ({ job: { seq, timeLimit } }) => {
        const verdict = { seq, kind: "timeout", signal: "SIGKILL" } as const;
        if (!slot.isConcurrent) return slot.kill("SIGKILL", verdict);
        slot.interrupt(seq, "hard", timeLimit!);
        this.#killLater(slot, verdict);
      },
      onRecall: () => this.#recall(slot),
    });
  }

  /** Opens a standby slot if the slot is silent: it is probably in a busy loop and will have to be killed. */
  #standBy(slot: Slot): void {
    if (this.nowMs() - slot.heardMs <= SILENT_MS || this.#standby.size > 0 || slot.state !== "ready") return;
    this.#links.prepare?.(this.#slotInit(slot.name));
    const standby = this.#standby.standBy();
    this.#timers.armIn(STAND_BY_MS, () => {
      if (standby === null || !standby.isStandby || standby.state === "ended") return;
      this.#standby.drop(standby, false);
      this.#retire(standby);
    });
  }

  #recall(slot: Slot): void {
    const job = slot.takeBack();
    if (job === null) return slot.recall();
    // The worker may meanwhile have a reason not to run it, unless the job was accepted.
    if (this.#acceptedBefore.has(job.seq)) this.#feeder.giveBack(job);
    else this.#gathered.push(returnedOutcome(job));
    this.#deliver(this.#processName(slot));
    this.#feeder.feed();
  }

  #killLater(slot: Slot, verdict: Verdict): void {
    this.#timers.armIn(GIVE_UP_GRACE_MS, () => slot.held.has(verdict.seq) && slot.kill("SIGKILL", verdict));
  }

  #deliver(process: string): void {
    if (this.#gathered.length === 0) return;
    const batch = this.#gathered;
    this.#gathered = [];
    this.#busy -= batch.length;
    if (this.#acceptedBefore.size > 0) { for (const { seq } of batch) this.#acceptedBefore.delete(seq); }
    this.#events.onOutcomes(batch, process);
  }

  #afterChange(): void {
    if (!this.#isClosing) {
      this.#feeder.feed();
      if (this.free > 0) this.#events.onFree();
    }
    this.#waiters.check();
  }

  #processName(slot: Slot): string {
    return this.#kind.processPrefix === null ? MAIN_PROCESS : slot.name;
  }
}
