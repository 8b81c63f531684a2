/**
 * The slot's engine, the same in a child process and in an isolate: takes frames of jobs, runs them one after
 * the other (or all at once, for the async pool), and reports outcomes in batches.
 *
 * Outcomes are sent when a millisecond has passed since the last time, while a task is awaited, at the end of
 * a frame, and when the program exits. Output of tasks goes to the log with the task's id.
 */

import { assert, type Level, type World } from "../../base/mod.ts";
import { bareOutcome, type Outcome } from "../../app/mod.ts";
import type { OutgoingMessage } from "../../transport/mod.ts";
import { fromTypedJson, toJson } from "../../wire/mod.ts";
import { FRAME, type Frame, FrameReader, FrameWriter } from "../link/frame.ts";
import { createFileJournal, type JournalWriter } from "../link/journal.ts";
import type { RunnerHost, SlotJob, SlotRunner, TaskLabel } from "../runner.ts";
import { unknownOutcome } from "../link/slot_end.ts";
import {
  appendOutcome,
  appendPublish,
  decodeJobs,
  type Interruption,
  labelToJson,
  SentQueues,
} from "../link/slot_message.ts";

const FLUSH_MS = 1;
const MEMORY_REPORT_MS = 100;
/** Unsent bytes above which frames of a task that only prints or reports states are sent at once. */
const UNSENT_MAX_BYTES = 1 << 16;

/** The transport of an engine's bytes. */
export interface SlotPort {
  /** Sends the bytes; the port owns them afterwards. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  /** Resolves when all sent bytes have left this slot; null if they have already. Never rejects. */
  drained(): Promise<void> | null;
  /** The parent asked the slot to stop, and everything has been sent. */
  onStopped(): void;
}

/** Options of an engine. */
export interface EngineOptions {
  readonly isConcurrent: boolean;
  /**
   * Passed at the start, or created when the parent asks for it (journal.ts). The journal of a concurrent
   * slot, whose jobs have no order, keeps only the outcomes that are not sent yet.
   */
  readonly journal: JournalWriter | null;
  /** Measures memory in KiB, for `maxMemoryPerChild`; null: not reported. */
  readonly memoryKib: (() => number) | null;
  /**
   * Counts the jobs that have begun, for a parent that must end a concurrent slot which no longer answers.
   */
  readonly begun?: Int32Array;
}

/** A publish that is not confirmed yet. */
interface OpenPublish {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly kept: OutgoingMessage | null;
}

interface WaitingFrame {
  readonly frameNumber: number;
  readonly jobs: SlotJob[];
  /** The parent may take it back until it is begun. */
  readonly isOpen: boolean;
  next: number;
}

/** The engine. Feed it bytes from the parent; it runs jobs after `start`. */
export class SlotEngine implements RunnerHost {
  #world: World;
  #port: SlotPort;
  #options: EngineOptions;
  #journal: JournalWriter | null;
  /**
   * A journal created while a frame runs lacks the beginning of that frame, so it is used from the next frame
   * on.
   */
  #nextJournal: JournalWriter | null = null;
  #runner: SlotRunner | null = null;
  #reader = new FrameReader();
  #writer = new FrameWriter();
  #frames: WaitingFrame[] = [];
  #framesTaken = 0;
  #running = new Set<number>();
  #isPumping = false;
  #isStopping = false;
  #isStopped = false;
  #flushedMs = 0;
  #isFlushArmed = false;
  #memoryMs = 0;
  #publishes = new Map<number, OpenPublish>();
  #sentQueues = new SentQueues();
  #publishId = 0;
  #takeKept = (id: number): OutgoingMessage => {
    const kept = this.#publishes.get(id)?.kept ?? null;
    assert(kept !== null, "a slot keeps the message of a job that comes without it");
    this.#answer(id, null);
    return kept;
  };
  #onFrame = (frame: Frame): void => this.#take(frame);

  constructor(world: World, port: SlotPort, options: EngineOptions) {
    this.#world = world;
    this.#port = port;
    this.#options = options;
    this.#journal = options.journal;
  }

  /** Starts running jobs, when everything is loaded. */
  start(runner: SlotRunner): void {
    this.#runner = runner;
    this.#flushedMs = this.#world.clock.monoMs();
    this.#writer.append(FRAME.ready, String(this.#options.memoryKib?.() ?? 0));
    this.flush();
    this.#pump();
  }

  /** Takes bytes from the parent. Throws ProtocolError if they are not frames. */
  feed(bytes: Uint8Array): void {
    this.#reader.feed(bytes, this.#onFrame);
    this.#pump();
  }

  /** Sends everything unsent. */
  flush(): void {
    if (this.#writer.length === 0) return;
    this.#port.send(this.#writer.take());
    if (this.#options.isConcurrent) this.#journal?.begin(1);
  }

  /** Number of jobs begun and not ended. */
  get busy(): number {
    return this.#running.size;
  }

  /** Number of frames of jobs received so far. */
  get framesTaken(): number {
    return this.#framesTaken;
  }

  onState(seq: number, state: string, document: string | Uint8Array): void {
    if (typeof document === "string") {
      this.#writer.append(FRAME.state, toJson([seq, state, 1]), document);
    } else this.#writer.append(FRAME.state, toJson([seq, state, 2]), "", document);
    this.#flushSoon();
  }

  onEvent(seq: number, type: string, fields: Record<string, unknown>): void {
    this.#writer.append(FRAME.event, toJson([seq, type, fields]));
    this.#flushSoon();
  }

  log(level: Level, message: string, task: TaskLabel | null): void {
    this.#writer.append(
      FRAME.log,
      toJson([level, task === null ? null : labelToJson(task)]),
      message,
    );
    this.#flushSoon();
  }

  /**
   * Reports that a process group was started in this slot (`isAlive`) or has ended. It must not outlive the
   * slot.
   */
  group(pid: number, isAlive: boolean): void {
    this.#writer.append(FRAME.group, toJson([pid, isAlive]));
    this.flush();
  }

  draining(): void {
    this.#writer.append(FRAME.draining, "");
    this.#flushSoon();
  }

  publish(batch: readonly OutgoingMessage[], handOn: boolean): Promise<void> {
    const id = ++this.#publishId;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // The next step of a chain may come back to this slot as a job: keep it until then, or until the publish
    // is confirmed.
    this.#publishes.set(id, { resolve, reject, kept: handOn ? batch[0]! : null });
    appendPublish(this.#writer, { id, batch, handOn }, this.#sentQueues);
    this.flush();
    return promise;
  }

  #take(frame: Frame): void {
    if (frame.type === FRAME.jobs) {
      const { frameNumber, jobs, isOpen } = decodeJobs(frame, this.#takeKept);
      this.#framesTaken++;
      this.#frames.push({ frameNumber, jobs, isOpen, next: 0 });
    } else if (frame.type === FRAME.interrupt) this.#interrupt(fromTypedJson(frame.head) as Interruption);
    else if (frame.type === FRAME.recall) this.#recall();
    else if (frame.type === FRAME.journal) this.#makeJournal(fromTypedJson(frame.head) as string[]);
    else if (frame.type === FRAME.stop) this.#isStopping = true;
    else if (frame.type === FRAME.published) {
      const [id, error] = fromTypedJson(frame.head) as [number, { name: string; message: string } | null];
      this.#answer(id, error);
    }
  }

  #answer(id: number, error: { name: string; message: string } | null): void {
    const waiting = this.#publishes.get(id);
    this.#publishes.delete(id);
    if (error === null) waiting?.resolve();
    else waiting?.reject(Object.assign(new Error(error.message), { name: error.name }));
  }

  #makeJournal(paths: readonly string[]): void {
    const made = createFileJournal(paths);
    if (made === null) return;
    this.#nextJournal = made.writer;
    this.#writer.append(FRAME.journalled, made.path);
    this.flush();
  }

  #interrupt({ seq, reason, seconds }: Interruption): void {
    if (!this.#running.has(seq)) return;
    if (reason === "hard" || reason === "terminated") {
      // One of many awaiting tasks is given up: report its outcome now, and drop whatever it does afterwards.
      this.#running.delete(seq);
      const kind = reason === "hard" ? "timeout" : "terminated";
      appendOutcome(this.#writer, bareOutcome(seq, kind));
      this.flush();
    }
    this.#runner!.interrupt(seq, reason, seconds);
  }

  /**
   * Returns every job that has not begun, the last one first, because each goes to the head of the parent's
   * queue.
   */
  #recall(): void {
    for (const frame of this.#frames.toReversed()) this.#giveBack(frame);
    this.flush();
  }

  #giveBack(frame: WaitingFrame): void {
    for (let n = frame.jobs.length - 1; n >= frame.next; n--) {
      appendOutcome(this.#writer, bareOutcome(frame.jobs[n]!.seq, "returned"));
    }
    frame.jobs.length = frame.next;
  }

  /** Runs waiting jobs until a task is awaited or no job is left. */
  #pump(): void {
    if (this.#isPumping || this.#runner === null) return;
    this.#isPumping = true;
    for (;;) {
      const frame = this.#frames[0];
      if (frame === undefined) break;
      if (frame.next === 0) {
        // The outcomes of the previous frame must have been sent, since the journal discards them now.
        const drained = this.#port.drained();
        if (drained !== null) {
          void drained.then(() => {
            this.#isPumping = false;
            this.#pump();
          });
          return;
        }
        if (this.#nextJournal !== null) {
          this.#journal = this.#nextJournal;
          this.#nextJournal = null;
        }
        if (!this.#options.isConcurrent) {
          this.#journal?.begin(frame.frameNumber);
          if (frame.isOpen && this.#journal?.isRecalled?.(frame.frameNumber) !== false) this.#giveBack(frame);
        }
      }
      if (this.#options.isConcurrent) this.#beginAll(frame);
      else if (!this.#runInOrder(frame)) return;
      this.#frames.shift();
      this.#reportMemory();
      this.flush();
    }
    this.#isPumping = false;
    if (this.#isStopping && this.#running.size === 0) this.#stop();
  }

  #runInOrder(frame: WaitingFrame): boolean {
    const clock = this.#world.clock;
    while (frame.next < frame.jobs.length) {
      const job = frame.jobs[frame.next++]!;
      this.#running.add(job.seq);
      const outcome = this.#run(job);
      if (outcome instanceof Promise) {
        // Not at once: an async function that awaits no real work ends before the turn does.
        this.#flushSoon();
        const end = (ended: Outcome) => {
          this.#ended(ended);
          this.#isPumping = false;
          this.#pump();
        };
        void outcome.then(end, (error) => end(unknownOutcome(job, error)));
        return false;
      }
      this.#ended(outcome);
      const now = clock.monoMs();
      if (now - this.#flushedMs >= FLUSH_MS) {
        this.#flushedMs = now;
        this.flush();
      }
    }
    return true;
  }

  #beginAll(frame: WaitingFrame): void {
    const { begun } = this.#options;
    while (frame.next < frame.jobs.length) {
      const job = frame.jobs[frame.next++]!;
      this.#running.add(job.seq);
      if (begun !== undefined) Atomics.add(begun, 0, 1);
      const outcome = this.#run(job);
      if (outcome instanceof Promise) {
        const end = (ended: Outcome) => {
          this.#ended(ended);
          this.#flushSoon();
          if (this.#isStopping) this.#pump();
        };
        void outcome.then(end, (error) => end(unknownOutcome(job, error)));
      } else this.#ended(outcome);
    }
  }

  /** Runs one job. A runner should not throw; if it does, the job ends all the same, and the slot goes on. */
  #run(job: SlotJob): Outcome | Promise<Outcome> {
    try {
      return this.#runner!.run(job);
    } catch (error) {
      return unknownOutcome(job, error);
    }
  }

  #ended(outcome: Outcome): void {
    if (!this.#running.delete(outcome.seq)) return; // Given up before; its outcome was reported then.
    let bytes: Uint8Array;
    try {
      bytes = appendOutcome(this.#writer, outcome);
    } catch (error) {
      // The outcome is larger than a frame, or than the memory available.
      bytes = appendOutcome(this.#writer, unknownOutcome(outcome, error));
    }
    const journal = this.#journal;
    if (journal !== null && !journal.append(bytes)) this.flush();
  }

  #flushSoon(): void {
    if (this.#writer.length >= UNSENT_MAX_BYTES) return this.flush();
    if (this.#isFlushArmed) return;
    this.#isFlushArmed = true;
    this.#world.clock.defer(() => {
      this.#isFlushArmed = false;
      this.#reportMemory();
      this.flush();
    });
  }

  #reportMemory(): void {
    if (this.#options.memoryKib === null) return;
    const now = this.#world.clock.monoMs();
    if (now - this.#memoryMs < MEMORY_REPORT_MS) return;
    this.#memoryMs = now;
    this.#writer.append(FRAME.memory, String(this.#options.memoryKib()));
  }

  #stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    void this.#runner!.close().then(() => {
      this.flush();
      const drained = this.#port.drained();
      if (drained === null) this.#port.onStopped();
      else void drained.then(() => this.#port.onStopped());
    });
  }
}
