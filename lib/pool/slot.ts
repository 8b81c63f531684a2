/**
 * One slot as the parent sees it: which jobs it has, which of them runs, what it may still be given, and
 * what to say of them when it dies.
 *
 * A sequential slot has at most two frames: the one it runs and one ahead. A concurrent slot (the async
 * pool) runs all it has. Its jobs stand in a Map in the order in which they begin, so of a sequential slot
 * the first one runs.
 */

import { assert, type Level, OperatingError, SeqMap, UsageError } from "../base/mod.ts";
import type { Outcome } from "../app/mod.ts";
import type { EncodedMessage } from "../wire/mod.ts";
import { BEHIND_MAX_MS } from "./feeding.ts";
import type { Job } from "./pool.ts";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "./frame.ts";
import type { Link, LinkFactory, SlotEnd } from "./link.ts";
import type { InterruptReason } from "./runner.ts";
import { endText, hardLimitOutcome, lostOutcome, terminatedOutcome } from "./slot_end.ts";
import {
  appendJobs,
  decodeOutcome,
  decodePublish,
  type JobToSend,
  type SlotInit,
  type SlotPublish,
  type StartFailure,
} from "./slot_message.ts";

/** retiring: finishes what it has. stopping: has nothing and was told to go. */
export type SlotState = "starting" | "ready" | "retiring" | "stopping" | "ended";

/** A job in a slot. */
export interface Held {
  readonly job: Job;
  readonly frame: number;
  /** Which job in the life of the slot it is, from 1. */
  readonly place: number;
  /** When it began, monotonic; of a sequential slot only the first one's counts. */
  beganMs: number;
  isNearSeen: boolean;
  isSoftSent: boolean;
  isHardSent: boolean;
}

/** Why the parent ended a slot: which job it was about. */
export interface Verdict {
  readonly seq: number;
  readonly kind: "timeout" | "terminated";
  readonly signal: string;
}

/** What a slot tells the pool. */
export interface SlotOwner {
  readonly nowMs: () => number;
  onReady(slot: Slot): void;
  /** Jobs that begin now. */
  onBegun(slot: Slot, jobs: Job[]): void;
  onOutcome(slot: Slot, outcome: Outcome): void;
  /** A job given back unbegun; `isAccepted`: `onBegun` had said otherwise. */
  onReturned(slot: Slot, job: Job, isAccepted: boolean): void;
  onState(job: Job, state: string, document: string | Uint8Array): void;
  onEvent(job: Job, type: string, fields: Record<string, unknown>): void;
  onLog(slot: Slot, level: Level, message: string, task: { name: string; id: string } | null): void;
  onPublish(slot: Slot, publish: SlotPublish): void;
  /** KiB. */
  onMemory(slot: Slot, kib: number): void;
  /** The slot is gone and a process group that it had started is not. */
  onOrphanGroup(pid: number): void;
  /** It is to be replaced as soon as its jobs allow. */
  onWorn(slot: Slot): void;
  /** After all frames of one read. */
  onRead(slot: Slot): void;
  /** It is gone, its unbegun jobs given back before; `outcomes` are those of jobs it had begun. */
  onEnded(slot: Slot, end: SlotEnd, outcomes: Outcome[]): void;
}

/** The slot. */
export class Slot {
  readonly name: string;
  readonly isConcurrent: boolean;
  /** When it was opened, monotonic. */
  readonly openedMs: number;
  /** When it said something last, monotonic. */
  heardMs = 0;
  state: SlotState = "starting";
  /** It was sent a signal: whatever it says until it is gone, it gets no job that would be lost with it. */
  isDoomed = false;
  /** It waits to stand in for another one (spares.ts), and gets no job before. */
  isSpare = false;
  /** Since when it may be given jobs, monotonic. */
  inServiceMs = 0;
  /** Jobs in it, by their number. */
  readonly held: SeqMap<Held> = new SeqMap();
  /** Jobs ever sent to it, and ended in it. */
  sent = 0;
  done = 0;
  /** When the first of `held` began (sequential). */
  beganMs = 0;
  /** True where the running frame is of known short jobs, so that one more may be sent ahead. */
  isShort = false;
  /** True once it was sent a job with a time limit. */
  hasLimits = false;
  /** When the pool looks at its limits next, monotonic; Infinity: no look is armed. */
  lookAtMs = Infinity;
  /** The job behind which others were recalled already, or 0. */
  recalledBehind = 0;
  verdict: Verdict | null = null;
  /** What it said of its failed start. */
  failure: StartFailure | null = null;
  readonly #owner: SlotOwner;
  readonly #link: Link;
  readonly #reader = new FrameReader();
  readonly #writer = new FrameWriter();
  /** Process groups of commands that its tasks run. */
  readonly #groups = new Set<number>();
  /** Messages that its tasks have published with nothing else left to do, and that are not answered: it keeps them. */
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
  /** The jobs of the running frame as they were sent, and the first of them that may not have ended. */
  #running: readonly Held[] = [];
  #runningAt = 0;
  #aheadFrame = 0;
  #aheadLeft = 0;
  #ahead: readonly Held[] = [];
  /** What `isShort` becomes with it. */
  #isAheadShort = false;
  /** The frame ahead can be taken back by `takeBack`. */
  #isAheadOpen = false;
  /** Jobs that were: the slot will say so too. */
  readonly #takenBack = new Set<number>();
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
      onWorn: () => this.#owner.onWorn(this),
    });
  }

  get pid(): number {
    return this.#link.pid;
  }

  /** True where several jobs may be sent as one frame: were it killed, its journal would tell them apart. */
  get mayTakeSeveral(): boolean {
    return this.#link.journal !== null;
  }

  /** See Link. */
  askJournal(): void {
    if (this.#isJournalAsked || this.state !== "ready" || this.isConcurrent) return;
    this.#isJournalAsked = true;
    this.#link.askJournal();
  }

  /** True where it may be given jobs. */
  get isFeedable(): boolean {
    return this.state === "ready" && !this.isDoomed && !this.isSpare;
  }

  /** True where a frame is being run and none waits behind it. */
  get mayTakeAhead(): boolean {
    return this.isFeedable && !this.isConcurrent && this.isShort && this.#runningLeft > 0 &&
      this.#aheadLeft === 0;
  }

  /** True where one job may wait behind the only one it has: it could be taken back at any time. */
  get mayTakeBehind(): boolean {
    if (!this.isFeedable || this.isConcurrent || this.isShort || this.held.size !== 1) return false;
    if (this.#runningLeft !== 1 || this.#link.journal?.recall === undefined) return false;
    const { job } = this.first()!;
    return job.expectedMs <= BEHIND_MAX_MS && job.seq !== this.recalledBehind;
  }

  /** Whether `takeBack` may give a job. */
  get hasOpenAhead(): boolean {
    return this.#isAheadOpen;
  }

  /** The job that waits behind the running one, for another slot; null where it may have begun. Uses a file. */
  takeBack(): Job | null {
    if (!this.#isAheadOpen) return null;
    this.#isAheadOpen = false;
    if (this.#link.journal?.recall?.(this.#aheadFrame) !== true) return null;
    for (const { job, frame } of this.held.values()) {
      if (frame !== this.#aheadFrame) continue;
      this.held.delete(job.seq);
      this.#takenBack.add(job.seq);
      this.#aheadFrame = 0;
      this.#aheadLeft = 0;
      this.sent--;
      return job;
    }
    return null;
  }

  /** Sends one frame. `isShort`: all of it ends in about a millisecond; `isOpen`: behind another, see `takeBack`. */
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

  /** Whether it keeps the job's message, of a task that has nothing else to do, and has room for it. */
  isHomeOf(job: Job): boolean {
    if (this.#kept.size === 0 || job.message === undefined || !this.#kept.has(job.message)) return false;
    return this.isFeedable && (this.isConcurrent || this.held.size === 1 && this.#aheadLeft === 0);
  }

  #publish(publish: SlotPublish): void {
    const { id, batch, isOver } = publish;
    if (isOver) this.#kept.set(batch[0]!.message, id);
    this.#owner.onPublish(this, publish);
  }

  /** The job a sequential slot runs now. */
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
   * The job a sequential slot runs now by its journal: outcomes of the same frame may be on the way. Reads
   * a file.
   */
  running(): Held | null {
    if (this.held.size <= 1) return this.first();
    const record = this.#link.journal?.read() ?? null;
    if (record === null || record.frameNumber !== this.#runningFrame) return this.first();
    const ended = new Set(record.outcomes.map(({ seq }) => seq));
    for (const held of this.#inOrder()) if (!ended.has(held.job.seq)) return held;
    return null;
  }

  /** Interrupts a job in the slot's own code. */
  interrupt(seq: number, reason: InterruptReason, seconds: number): void {
    this.#link.send(encodeFrame(FRAME.interrupt, JSON.stringify({ seq, reason, seconds })));
  }

  /** Asks for every job not begun. */
  recall(): void {
    this.#link.send(encodeFrame(FRAME.recall, ""));
  }

  /** Answers a publish, unless the job of its message has been sent, which says the same. */
  answerPublish({ id, batch, isOver }: SlotPublish, error: Error | null): void {
    if (isOver && !this.#kept.delete(batch[0]!.message)) return;
    const text = error === null ? null : { name: error.name, message: error.message };
    this.#link.send(encodeFrame(FRAME.published, JSON.stringify([id, text])));
  }

  /** Tells it to go once its jobs have ended; it takes no more. */
  retire(): void {
    if (this.state === "ready" || this.state === "starting") this.state = "retiring";
    if (this.state === "retiring" && this.held.size === 0) {
      this.state = "stopping";
      this.#link.send(encodeFrame(FRAME.stop, ""));
    }
  }

  /** Ends it by a signal. `verdict`: because of which job. */
  kill(signal: string, verdict: Verdict | null): void {
    if (this.state === "ended") return;
    this.isDoomed = true;
    if (verdict !== null) this.verdict = verdict;
    this.#link.kill(signal);
  }

  /** The error of a start that failed. */
  startError(end: SlotEnd): Error {
    const failure = this.failure;
    if (failure !== null && failure.exitCode !== null) {
      return new UsageError(failure.text, { exitCode: failure.exitCode });
    }
    const text = failure?.text || end.lastWords;
    return new OperatingError(
      text || `Process '${this.name}' exited with '${endText(end)}' before it was ready`,
    );
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case FRAME.outcome:
        return this.#onOutcome(decodeOutcome(frame));
      case FRAME.state: {
        const [seq, state, form] = JSON.parse(frame.head) as [number, string, number];
        const held = this.held.get(seq);
        const document = form === 1 ? frame.text : frame.tail ?? new Uint8Array(0);
        return held && this.#owner.onState(held.job, state, document);
      }
      case FRAME.event: {
        const [seq, type, fields] = JSON.parse(frame.head) as [number, string, Record<string, unknown>];
        const held = this.held.get(seq);
        return held && this.#owner.onEvent(held.job, type, fields);
      }
      case FRAME.log: {
        const [level, task] = JSON.parse(frame.head) as [Level, [string, string] | null];
        return this.#owner.onLog(this, level, frame.text, task && { name: task[0], id: task[1] });
      }
      case FRAME.publish: {
        return this.#publish(decodePublish(frame));
      }
      case FRAME.memory:
        return this.#owner.onMemory(this, Number(frame.head));
      case FRAME.ready:
        // Too late: it is being ended for not having said so in time.
        if (this.isDoomed) return;
        if (this.state === "starting") this.state = "ready";
        this.inServiceMs = this.#owner.nowMs();
        this.#owner.onReady(this);
        return;
      case FRAME.group: {
        const [pid, isAlive] = JSON.parse(frame.head) as [number, boolean];
        if (isAlive) this.#groups.add(pid);
        else this.#groups.delete(pid);
        return;
      }
      case FRAME.worn:
        this.#link.wear?.();
        return this.#owner.onWorn(this);
      case FRAME.journalled:
        return this.#link.openJournal(frame.head);
      case FRAME.failed:
        this.failure = JSON.parse(frame.head) as StartFailure;
        return;
    }
  }

  #onOutcome(outcome: Outcome): void {
    // Once for each: it may have been sent here again since.
    if (outcome.kind === "returned" && this.#takenBack.delete(outcome.seq)) return;
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
    // Where there is one job there are more: from now on they may come several at a time.
    if (this.done === 1) this.askJournal();
    this.beganMs = this.heardMs;
    this.#owner.onOutcome(this, named(outcome, held.job));
    this.#frameShrinks(held);
  }

  /** A frame's last job ended: the one ahead runs now. */
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
    // What has ended is known from the journal; what is asked for a job counts whether it had begun or not.
    const record = hadStarted && !this.isConcurrent ? this.#link.journal?.read() ?? null : null;
    this.#link.release();
    for (const pid of this.#groups) this.#owner.onOrphanGroup(pid);
    const outcomes: Outcome[] = [];
    const unbegun: Held[] = [];
    if (record !== null) {
      for (const outcome of record.outcomes) {
        const held = this.held.get(outcome.seq);
        if (held === undefined || held.frame !== record.frameNumber) continue;
        this.held.delete(outcome.seq);
        this.done++;
        outcomes.push(outcome);
      }
    }
    // The one after the last journalled outcome had begun; without a journal all of the running frame may
    // have.
    let isFirst = true;
    for (const held of this.#inOrder()) {
      const { job, frame, place } = held;
      let hasBegun: boolean;
      if (!hadStarted) hasBegun = false;
      else if (this.verdict?.seq === job.seq) hasBegun = true;
      else if (this.isConcurrent) hasBegun = end.begun === undefined || place <= end.begun;
      else if (record === null) hasBegun = frame === this.#runningFrame;
      else hasBegun = isFirst && frame === record.frameNumber;
      isFirst = false;
      if (hasBegun) outcomes.push(this.#deathOutcome(job, end));
      else unbegun.push(held);
    }
    this.held.clear();
    // Backwards: each goes to the head of the queue.
    for (const { job, frame } of unbegun.reverse()) {
      this.#owner.onReturned(this, job, this.isConcurrent || frame === this.#runningFrame);
    }
    this.#owner.onEnded(this, end, outcomes);
  }

  #deathOutcome(job: Job, end: SlotEnd): Outcome {
    const verdict = this.verdict;
    if (verdict === null || verdict.seq !== job.seq) return lostOutcome(job, end);
    return verdict.kind === "timeout" ? hardLimitOutcome(job) : terminatedOutcome(job, verdict.signal);
  }
}

/** The slot says only the kind of what the parent asked for; the words are the parent's. */
function named(outcome: Outcome, job: Job): Outcome {
  if (outcome.kind === "timeout") return hardLimitOutcome(job);
  if (outcome.kind === "terminated" && outcome.summary === "") return terminatedOutcome(job, "SIGTERM");
  return outcome;
}
