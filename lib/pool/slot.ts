/**
 * One slot as the pool sees it: which jobs it has, which one runs, and how many it can still take.
 *
 * A sequential slot has at most two frames: the one it runs and one ahead. A concurrent slot (the async pool)
 * runs all its jobs. Jobs are kept in the order in which they begin, so the first job of a sequential slot is
 * the running one.
 */

import { assert, type Level, type LogTask, OperatingError, SeqMap, UsageError } from "../base/mod.ts";
import type { Outcome } from "../app/mod.ts";
import { isWorkerSignal } from "../platform/mod.ts";
import type { EncodedMessage } from "../wire/mod.ts";
import { fromTypedJson, toJson } from "../wire/mod.ts";
import { BEHIND_MAX_MS } from "./feeding.ts";
import { type Held, judgeDeath, type Verdict } from "./held.ts";
import type { Job } from "./pool.ts";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "./link/frame.ts";
import type { Link, LinkFactory, SlotEnd } from "./link/link.ts";
import type { InterruptReason } from "./runner.ts";
import { endText, hardLimitOutcome, terminatedOutcome } from "./link/slot_end.ts";
import {
  appendJobs,
  decodeOutcome,
  decodePublish,
  type JobToSend,
  labelFromJson,
  type LabelJson,
  type SlotInit,
  type SlotPublish,
  type StartFailure,
} from "./link/slot_message.ts";

/** retiring: finishes its jobs. stopping: has no jobs and was sent `stop`. */
export type SlotState = "starting" | "ready" | "retiring" | "stopping" | "ended";

/** What a slot reports to the pool. */
export interface SlotOwner {
  readonly nowMs: () => number;
  onReady(slot: Slot): void;
  /** These jobs begin now. */
  onBegun(slot: Slot, jobs: Job[]): void;
  onOutcome(slot: Slot, outcome: Outcome): void;
  /** A job came back without having begun. `isAccepted`: `onBegun` was called for it. */
  onReturned(slot: Slot, job: Job, isAccepted: boolean): void;
  onState(job: Job, state: string, document: string | Uint8Array): void;
  onEvent(job: Job, type: string, fields: Record<string, unknown>): void;
  onLog(slot: Slot, level: Level, message: string, task: LogTask | null): void;
  onPublish(slot: Slot, publish: SlotPublish): void;
  /** Memory of the slot's process, KiB. */
  onMemory(slot: Slot, kib: number): void;
  /** The slot has ended, but a process group that it started has not. */
  onOrphanGroup(pid: number): void;
  /** The slot must be replaced when its jobs have ended. */
  onDraining(slot: Slot): void;
  /** Called after all frames of one read. */
  onRead(slot: Slot): void;
  /**
   * The slot has ended. Jobs that it had not begun were returned before; `outcomes` are of the jobs it had
   * begun.
   */
  onEnded(slot: Slot, end: SlotEnd, outcomes: Outcome[]): void;
}

/** One slot of a pool. */
export class Slot {
  readonly name: string;
  readonly isConcurrent: boolean;
  /** When it was opened, monotonic. */
  readonly openedMs: number;
  /** When bytes last came from it, monotonic. */
  heardMs = 0;
  state: SlotState = "starting";
  /** True after it was sent a signal: it gets no more jobs, whatever it reports until it ends. */
  isDoomed = false;
  /** True while it is on standby (standby.ts) and gets no jobs yet. */
  isStandby = false;
  /** Since when it may be given jobs, monotonic. */
  inServiceMs = 0;
  /** Its jobs, by number. */
  readonly held: SeqMap<Held> = new SeqMap();
  /** Number of jobs sent to it, and ended in it. */
  sent = 0;
  done = 0;
  /** When the first job of `held` began (sequential), monotonic. */
  beganMs = 0;
  /**
   * True if the jobs of the running frame are known to be short, so that one more frame may be sent ahead.
   */
  isShort = false;
  /** True after it was sent a job with a time limit. */
  hasLimits = false;
  /** When the pool checks its time limits next, monotonic; Infinity: no check is armed. */
  checkAtMs = Infinity;
  /** The running job behind which the others were recalled; 0: none. */
  recalledBehind = 0;
  verdict: Verdict | null = null;
  /** Why its start failed, as reported by the slot. */
  failure: StartFailure | null = null;
  readonly #owner: SlotOwner;
  readonly #link: Link;
  readonly #reader = new FrameReader();
  readonly #writer = new FrameWriter();
  /** Process groups of commands that its tasks run. */
  readonly #groups = new Set<number>();
  /** The worker's signals that its tasks handle. */
  readonly #listens = new Set<string>();
  /**
   * Messages published as the last act of a task and not confirmed yet, with the ids of their publishes. The
   * slot keeps these messages.
   */
  readonly #kept = new Map<EncodedMessage, number>();
  #takeKept = ({ message }: JobToSend): number | undefined => {
    if (message === undefined || this.#kept.size === 0) return undefined;
    const id = this.#kept.get(message);
    this.#kept.delete(message);
    return id;
  };
  #isJournalAsked = false;
  #frameNumber = 0;
  #runningFrame = 0;
  #runningLeft = 0;
  /** The jobs of the running frame, and the index of the first that may not have ended. */
  #running: readonly Held[] = [];
  #runningAt = 0;
  #aheadFrame = 0;
  #aheadLeft = 0;
  #ahead: readonly Held[] = [];
  /** `isShort` of the frame ahead. */
  #isAheadShort = false;
  /** Whether `takeBack` may take back the frame ahead. */
  #isAheadOpen = false;
  /** Jobs taken back by `takeBack`, once for each time that the slot will return them as well. */
  readonly #takenBack: number[] = [];
  #onFrame = (frame: Frame): void => this.#take(frame);

  constructor(
    factory: LinkFactory,
    init: Omit<SlotInit, "watchParent">,
    owner: SlotOwner,
  ) {
    this.name = init.name;
    this.isConcurrent = init.isConcurrent;
    this.openedMs = owner.nowMs();
    this.#owner = owner;
    this.#link = factory.open(init, {
      onBytes: (bytes) => {
        this.heardMs = owner.nowMs();
        this.#reader.feed(bytes, this.#onFrame);
        this.#owner.onRead(this);
      },
      onEnded: (end) => this.#onEnded(end),
      onDraining: () => this.#owner.onDraining(this),
    });
  }

  get pid(): number {
    return this.#link.pid;
  }

  /** True if several jobs may be sent as one frame: its journal tells them apart if it is killed. */
  get mayTakeSeveral(): boolean {
    return this.#link.journal !== null;
  }

  /** See Link.askJournal. Asks once, and only a sequential slot. */
  askJournal(): void {
    if (this.#isJournalAsked || this.state !== "ready" || this.isConcurrent) return;
    this.#isJournalAsked = true;
    this.#link.askJournal();
  }

  /** True if it can be given jobs. */
  get isFeedable(): boolean {
    return this.state === "ready" && !this.isDoomed && !this.isStandby;
  }

  /** True if it runs a frame of short jobs and no frame waits behind that. */
  get mayTakeAhead(): boolean {
    return this.isFeedable && !this.isConcurrent && this.isShort && this.#runningLeft > 0 &&
      this.#aheadLeft === 0;
  }

  /** True if one job may wait behind its only one: it can be taken back at any time. */
  get mayTakeBehind(): boolean {
    if (!this.isFeedable || this.isConcurrent || this.isShort || this.held.size !== 1) return false;
    if (this.#runningLeft !== 1 || this.#link.journal?.recall === undefined) return false;
    const { job } = this.first()!;
    return job.expectedMs <= BEHIND_MAX_MS && job.seq !== this.recalledBehind;
  }

  /** True if `takeBack` may return a job. */
  get hasOpenAhead(): boolean {
    return this.#isAheadOpen;
  }

  /**
   * Takes back the job that waits behind the running one. Returns null if it may have begun. Writes to a
   * file.
   */
  takeBack(): Job | null {
    if (!this.#isAheadOpen) return null;
    this.#isAheadOpen = false;
    if (this.#link.journal?.recall?.(this.#aheadFrame) !== true) return null;
    for (const { job, frame } of this.held.values()) {
      if (frame !== this.#aheadFrame) continue;
      this.held.delete(job.seq);
      this.#takenBack.push(job.seq);
      this.#aheadFrame = 0;
      this.#aheadLeft = 0;
      this.sent--;
      return job;
    }
    return null;
  }

  /**
   * Sends one frame. `isShort`: it takes about a millisecond in total. `isOpen`: `takeBack` may take it back.
   */
  send(jobs: Job[], isShort: boolean, isOpen = false): void {
    assert(jobs.length > 0, "a frame has jobs");
    const now = this.#owner.nowMs();
    const frame = ++this.#frameNumber;
    const isIdle = this.held.size === 0;
    const all: Held[] = [];
    for (const job of jobs) {
      const place = ++this.sent;
      const unseen = { isNearSeen: false, isSoftSent: false, isHardSent: false };
      const held = { job, frame, place, beganMs: now, ...unseen };
      all.push(held);
      this.held.set(job.seq, held);
      if (job.timeLimit || job.softTimeLimit) this.hasLimits = true;
    }
    appendJobs(this.#writer, frame, jobs, this.#takeKept, isOpen);
    this.#link.send(this.#writer.take());
    if (this.isConcurrent) {
      this.#owner.onBegun(this, jobs);
    } else if (isIdle) {
      this.#runningFrame = frame;
      this.#runningLeft = jobs.length;
      this.#running = all;
      this.#runningAt = 0;
      this.isShort = isShort;
      this.beganMs = now;
      this.#owner.onBegun(this, jobs);
    } else {
      assert(this.#aheadLeft === 0, "one frame waits ahead at most");
      this.#aheadFrame = frame;
      this.#aheadLeft = jobs.length;
      this.#ahead = all;
      this.#isAheadShort = isShort;
      this.#isAheadOpen = isOpen;
    }
  }

  /**
   * Returns true if the slot keeps the job's message (a step of a chain that it published) and can take the
   * job.
   */
  keepsMessageOf(job: Job): boolean {
    if (this.#kept.size === 0 || job.message === undefined || !this.#kept.has(job.message)) return false;
    return this.isFeedable && (this.isConcurrent || this.held.size === 1 && this.#aheadLeft === 0);
  }

  #publish(publish: SlotPublish): void {
    const { id, batch, handOn } = publish;
    if (handOn) this.#kept.set(batch[0]!.message, id);
    this.#owner.onPublish(this, publish);
  }

  /** Returns the job that a sequential slot runs now, according to its reports. */
  first(): Held | null {
    const running = this.#running;
    while (this.#runningAt < running.length) {
      const held = running[this.#runningAt]!;
      if (this.held.get(held.job.seq) === held) return held;
      this.#runningAt++;
    }
    return null;
  }

  #inOrder(): Held[] {
    return this.held.values().sort((a, b) => a.place - b.place);
  }

  /**
   * Returns the job that a sequential slot runs according to its journal; outcomes of the same frame may not
   * have arrived yet. Reads a file.
   */
  running(): Held | null {
    if (this.held.size <= 1) return this.first();
    const record = this.#link.journal?.read() ?? null;
    if (record === null || record.frameNumber !== this.#runningFrame) return this.first();
    const ended = new Set(record.outcomes.map(({ seq }) => seq));
    for (const held of this.#inOrder()) if (!ended.has(held.job.seq)) return held;
    return null;
  }

  /** Interrupts a job by a message to the slot. */
  interrupt(seq: number, reason: InterruptReason, seconds: number): void {
    this.#link.send(encodeFrame(FRAME.interrupt, toJson({ seq, reason, seconds })));
  }

  /** Asks the slot to return every job that it has not begun. */
  recall(): void {
    this.#link.send(encodeFrame(FRAME.recall, ""));
  }

  /**
   * Confirms a publish, unless the job of its message was sent to this slot, which confirms the publish as
   * well.
   */
  answerPublish({ id, batch, handOn }: SlotPublish, error: Error | null): void {
    if (handOn && !this.#kept.delete(batch[0]!.message)) return;
    const text = error === null ? null : { name: error.name, message: error.message };
    this.#link.send(encodeFrame(FRAME.published, toJson([id, text])));
  }

  /** Accepts no more jobs, and ends the slot when its last job has ended. */
  retire(): void {
    if (this.state === "ready" || this.state === "starting") this.state = "retiring";
    if (this.state === "retiring" && this.held.size === 0) {
      this.state = "stopping";
      this.#link.send(encodeFrame(FRAME.stop, ""));
    }
  }

  /** Sends the slot a signal. `verdict`: the job that is the reason. */
  kill(signal: string, verdict: Verdict | null): void {
    if (this.state === "ended") return;
    this.isDoomed = true;
    if (verdict !== null) this.verdict = verdict;
    // A slot's process leaves the worker's signals to the worker, so they do not end it.
    const isIgnored = isWorkerSignal(signal) && !this.#listens.has(signal);
    this.#link.kill(isIgnored ? "SIGKILL" : signal);
  }

  /** Returns the error of a failed start. */
  startError(end: SlotEnd): Error {
    const failure = this.failure;
    if (failure !== null && failure.exitCode !== null) {
      return new UsageError(failure.text, { exitCode: failure.exitCode });
    }
    const text = failure?.text || end.lastOutput;
    return new OperatingError(
      text || `Process '${this.name}' exited with '${endText(end)}' before it was ready`,
    );
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case FRAME.outcome:
        return this.#onOutcome(decodeOutcome(frame));
      case FRAME.state: {
        const [seq, state, form] = fromTypedJson(frame.head) as [number, string, number];
        const held = this.held.get(seq);
        const document = form === 1 ? frame.text : frame.tail ?? new Uint8Array(0);
        return held && this.#owner.onState(held.job, state, document);
      }
      case FRAME.event: {
        const [seq, type, fields] = fromTypedJson(frame.head) as [number, string, Record<string, unknown>];
        const held = this.held.get(seq);
        return held && this.#owner.onEvent(held.job, type, fields);
      }
      case FRAME.log: {
        const [level, task] = fromTypedJson(frame.head) as [Level, LabelJson | null];
        const label = task && labelFromJson(task);
        return this.#owner.onLog(this, level, frame.text, label);
      }
      case FRAME.publish: {
        return this.#publish(decodePublish(frame));
      }
      case FRAME.memory:
        return this.#owner.onMemory(this, Number(frame.head));
      case FRAME.ready:
        // Too late: the slot is being killed because it was not ready in time.
        if (this.isDoomed) return;
        if (this.state === "starting") this.state = "ready";
        this.inServiceMs = this.#owner.nowMs();
        this.#owner.onReady(this);
        return;
      case FRAME.group: {
        const [pid, isAlive] = fromTypedJson(frame.head) as [number, boolean];
        if (isAlive) this.#groups.add(pid);
        else this.#groups.delete(pid);
        return;
      }
      case FRAME.listens:
        this.#listens.add(frame.head);
        return;
      case FRAME.draining:
        this.#link.drain?.();
        return this.#owner.onDraining(this);
      case FRAME.journalled:
        return this.#link.openJournal(frame.head);
      case FRAME.failed:
        this.failure = fromTypedJson(frame.head) as StartFailure;
        return;
    }
  }

  #onOutcome(outcome: Outcome): void {
    // The job may have been sent here again since it was taken back: ignore one return for each time.
    if (outcome.kind === "returned") {
      const at = this.#takenBack.indexOf(outcome.seq);
      if (at >= 0) return void this.#takenBack.splice(at, 1);
    }
    const held = this.held.get(outcome.seq);
    if (held === undefined) return;
    this.held.delete(outcome.seq);
    if (this.verdict?.seq === outcome.seq) this.verdict = null;
    if (outcome.kind === "returned") {
      const isAccepted = held.frame === this.#runningFrame;
      this.#frameShrinks(held);
      this.#owner.onReturned(this, held.job, isAccepted);
      return;
    }
    this.done++;
    // A slot that has had one job will probably get more: from now on it may get several at a time.
    if (this.done === 1) this.askJournal();
    this.beganMs = this.heardMs;
    this.#owner.onOutcome(this, named(outcome, held.job));
    this.#frameShrinks(held);
  }

  /** Counts a job of a frame as ended. After a frame's last job, the frame ahead becomes the running one. */
  #frameShrinks(held: Held): void {
    if (this.isConcurrent) return;
    if (held.frame === this.#aheadFrame) {
      this.#aheadLeft--;
      this.#isAheadOpen = false;
      return;
    }
    this.#runningLeft--;
    if (this.#runningLeft > 0) return;
    if (this.#aheadLeft === 0) {
      this.isShort = false;
      this.#running = [];
      return;
    }
    this.#runningFrame = this.#aheadFrame;
    this.#runningLeft = this.#aheadLeft;
    this.isShort = this.#isAheadShort;
    this.#running = this.#ahead;
    this.#runningAt = 0;
    this.#aheadFrame = 0;
    this.#aheadLeft = 0;
    this.#ahead = [];
    this.#isAheadOpen = false;
    const jobs: Job[] = [];
    for (const held of this.#running) if (this.held.get(held.job.seq) === held) jobs.push(held.job);
    this.#owner.onBegun(this, jobs);
  }

  #onEnded(end: SlotEnd): void {
    const hadStarted = this.state !== "starting";
    // The journal says which jobs have ended.
    const record = hadStarted && !this.isConcurrent ? this.#link.journal?.read() ?? null : null;
    this.#link.release();
    for (const pid of this.#groups) this.#owner.onOrphanGroup(pid);
    const { ended, outcomes, unbegun } = judgeDeath(this.#inOrder(), end, {
      hadStarted,
      isConcurrent: this.isConcurrent,
      runningFrame: this.#runningFrame,
      record,
      verdict: this.verdict,
    });
    this.done += ended;
    this.held.clear();
    // In reverse order, because each goes to the head of the queue.
    for (const { job, frame } of unbegun.reverse()) {
      this.#owner.onReturned(this, job, this.isConcurrent || frame === this.#runningFrame);
    }
    this.#owner.onEnded(this, end, outcomes);
  }
}

/** A slot reports only that a limit or signal ended a job; the parent makes the result. */
function named(outcome: Outcome, job: Job): Outcome {
  if (outcome.kind === "timeout") return hardLimitOutcome(job);
  if (outcome.kind === "terminated" && outcome.summary === "") return terminatedOutcome(job, "SIGTERM");
  return outcome;
}
