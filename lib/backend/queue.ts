/**
 * The data lane of every store: results are appended here and leave in batches, one batch under way at a time.
 *
 * One batch at a time keeps the states of a task in order through every retry, and makes batches larger if
 * the store is slower. If a record cannot be stored, `done` gets the error, which is also logged: no result
 * is lost silently.
 */

import { type Clock, errorText, isRetryable, type Log, LogThrottle, OperatingError } from "../base/mod.ts";
import type { ResultRecord } from "./backend.ts";
import { replacementOf } from "./refused.ts";
import type { RetryPolicy } from "./retry.ts";

/** The callback of `store`: null when the result is stored for good, else the error why it never will be. */
export type StoreDone = (error: Error | null) => void;

/**
 * The result of writing a batch: null if all of it is stored, else an error or null for each record. If the
 * whole batch failed, the write throws or rejects; it is tried again after an OperatingError with
 * `isRetryable`.
 */
export type BatchResult = (Error | null)[] | null;

/** Options of `StoreQueue`. */
export interface StoreQueueOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: RetryPolicy;
  /** Runs `fn` once, soon: when a batch may begin. */
  schedule(fn: () => void): void;
  /** Writes records in order. It owns the array until its result is there. */
  write(records: readonly ResultRecord[]): Promise<BatchResult> | BatchResult;
  /** Returns true for an error after which writing is tried again without limit, whatever the policy says. */
  waitsFor?(error: Error): boolean;
  /** Encodes the replacement of a refused result (refused.ts). Absent: nothing is stored instead. */
  readonly serializer?: string;
  /** Called when a batch has failed and will be tried again. */
  onRetry?(error: Error, retry: number, delayMs: number): void;
  /** Most records of one batch. */
  readonly batchMax?: number;
  /** Most characters (or bytes) of one batch's documents; a larger document is written alone. */
  readonly batchBytesMax?: number;
  /** Most records that may wait; beyond that the oldest are given up. */
  readonly appendedMax?: number;
  readonly appendedBytesMax?: number;
}

const BATCH_MAX = 2048;
const BATCH_BYTES_MAX = 4 << 20;
const APPENDED_MAX = 65_536;
const APPENDED_BYTES_MAX = 256 << 20;
/** The queue is congested, and fetching stops, at this part of either maximum. */
const CONGESTED_SHARE = 1 / 4;
/** Least time between two lines about lost results, milliseconds. */
const LINE_EVERY_MS = 10_000;

interface Batch {
  records: ResultRecord[];
  dones: (StoreDone | null)[];
  bytes: number;
  /** Failed attempts so far. */
  retries: number;
}

/** The queue. `append` costs two array pushes. */
export class StoreQueue {
  readonly #options: StoreQueueOptions;
  readonly #batchMax: number;
  readonly #batchBytesMax: number;
  readonly #appendedMax: number;
  readonly #appendedBytesMax: number;
  readonly #losses: LogThrottle;
  #records: ResultRecord[] = [];
  #dones: (StoreDone | null)[] = [];
  /** Where the oldest record is in the arrays. */
  #head = 0;
  #bytes = 0;
  /** The batch that is being written or waits for its retry. */
  #batch: Batch | null = null;
  #isWriting = false;
  #isScheduled = false;
  #isClosed = false;
  #disarm: (() => void) | null = null;
  #appended = 0;
  #settled = 0;
  #flushes: { upTo: number; resolve: () => void }[] = [];
  readonly #start = () => {
    this.#isScheduled = false;
    this.#pump();
  };

  constructor(options: StoreQueueOptions) {
    this.#options = options;
    this.#batchMax = options.batchMax ?? BATCH_MAX;
    this.#batchBytesMax = options.batchBytesMax ?? BATCH_BYTES_MAX;
    this.#appendedMax = options.appendedMax ?? APPENDED_MAX;
    this.#appendedBytesMax = options.appendedBytesMax ?? APPENDED_BYTES_MAX;
    this.#losses = new LogThrottle(options, { everyMs: LINE_EVERY_MS });
  }

  /** Appends a record. Data lane, per message. */
  append(record: ResultRecord, done: StoreDone | null): void {
    this.#appended++;
    if (this.#isClosed) {
      this.#settleOne(record, done, new OperatingError("The result store is closed"));
      return;
    }
    this.#records.push(record);
    this.#dones.push(done);
    this.#bytes += record.document.length;
    if (this.waiting > this.#appendedMax || this.#bytes > this.#appendedBytesMax) this.#giveUpOldest();
    if (this.#batch === null && !this.#isScheduled) {
      this.#isScheduled = true;
      this.#options.schedule(this.#start);
    }
  }

  /** The number of records that wait, without those that are being written. */
  get waiting(): number {
    return this.#records.length - this.#head +
      (this.#batch && !this.#isWriting ? this.#batch.records.length : 0);
  }

  /** True once the queue is a quarter full. */
  get isCongested(): boolean {
    return this.waiting > this.#appendedMax * CONGESTED_SHARE ||
      this.#bytes > this.#appendedBytesMax * CONGESTED_SHARE;
  }

  /** Resolves when everything appended so far is stored or given up. */
  flush(): Promise<void> {
    if (this.#settled === this.#appended) return Promise.resolve();
    return new Promise((resolve) => this.#flushes.push({ upTo: this.#appended, resolve }));
  }

  /** Tries a waiting batch again at once: the store is back. */
  wake(): void {
    if (this.#batch === null || this.#isWriting) return;
    this.#disarm?.();
    this.#disarm = null;
    this.#attempt(this.#batch);
    this.#pump();
  }

  /** Gives up the waiting records and refuses later ones. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#disarm?.();
    this.#disarm = null;
    const closed = new OperatingError("The result store is closed");
    const batch = this.#batch;
    if (batch !== null && !this.#isWriting) {
      this.#batch = null;
      this.#bytes -= batch.bytes;
      this.#settle(batch, closed, null);
    }
    while (this.#head < this.#records.length) this.#dropHead(closed);
  }

  #pump(): void {
    while (this.#batch === null && this.#head < this.#records.length) {
      this.#batch = this.#take();
      this.#attempt(this.#batch);
    }
  }

  /** Returns the next batch: all waiting records if they fit, without copying. */
  #take(): Batch {
    const records = this.#records;
    const count = records.length - this.#head;
    if (this.#head === 0 && count <= this.#batchMax && this.#bytes <= this.#batchBytesMax) {
      const batch = { records, dones: this.#dones, bytes: this.#bytes, retries: 0 };
      this.#records = [];
      this.#dones = [];
      return batch;
    }
    let end = this.#head;
    let bytes = 0;
    while (end < records.length && end - this.#head < this.#batchMax) {
      const next = bytes + records[end]!.document.length;
      if (end > this.#head && next > this.#batchBytesMax) break;
      bytes = next;
      end++;
    }
    const batch = {
      records: records.slice(this.#head, end),
      dones: this.#dones.slice(this.#head, end),
      bytes,
      retries: 0,
    };
    this.#advance(end);
    return batch;
  }

  #advance(head: number): void {
    this.#head = head;
    // A shift costs the length of the rest, so it waits until half of the array is done.
    if (head === this.#records.length || head > 4096 && head * 2 > this.#records.length) {
      this.#records = this.#records.slice(head);
      this.#dones = this.#dones.slice(head);
      this.#head = 0;
    }
  }

  #attempt(batch: Batch): void {
    this.#isWriting = true;
    let result: Promise<BatchResult> | BatchResult;
    try {
      result = this.#options.write(batch.records);
    } catch (error) {
      this.#failed(batch, error);
      return;
    }
    if (result instanceof Promise) {
      result.then((errors) => {
        this.#written(batch, errors);
        this.#pump();
      }, (error) => {
        this.#failed(batch, error);
        this.#pump();
      });
    } else this.#written(batch, result);
  }

  #written(batch: Batch, errors: BatchResult): void {
    this.#isWriting = false;
    this.#batch = null;
    this.#bytes -= batch.bytes;
    this.#settle(batch, null, errors);
  }

  #failed(batch: Batch, thrown: unknown): void {
    this.#isWriting = false;
    const error = thrown instanceof Error ? thrown : new OperatingError(errorText(thrown));
    const { policy, clock } = this.#options;
    const isWaitedFor = this.#options.waitsFor?.(error) ?? false;
    const isFinal = !isWaitedFor && (!isRetryable(error) || batch.retries >= policy.maxRetries);
    if (isFinal || this.#isClosed) {
      this.#batch = null;
      this.#bytes -= batch.bytes;
      this.#settle(batch, error, null);
      return;
    }
    const delayMs = policy.delayMs(batch.retries);
    this.#options.onRetry?.(error, batch.retries, delayMs);
    batch.retries++;
    this.#disarm = clock.arm(clock.monoMs() + delayMs, () => {
      this.#disarm = null;
      this.#attempt(batch);
      this.#pump();
    });
  }

  #settle(batch: Batch, error: Error | null, errors: BatchResult): void {
    const { records, dones } = batch;
    this.#settled += records.length;
    if (error === null && errors === null) {
      for (let n = 0; n < dones.length; n++) {
        const done = dones[n];
        if (done) done(null);
      }
    } else {
      for (let n = 0; n < dones.length; n++) {
        const own = error ?? errors![n] ?? null;
        if (own !== null) {
          this.#logLost(records[n]!, own);
          this.appendReplacement(records[n]!, own);
        }
        dones[n]?.(own);
      }
    }
    this.#resolveFlushes();
  }

  #settleOne(record: ResultRecord, done: StoreDone | null, error: Error): void {
    this.#settled++;
    this.#logLost(record, error);
    done?.(error);
    this.#resolveFlushes();
  }

  #resolveFlushes(): void {
    while (this.#flushes.length > 0 && this.#flushes[0]!.upTo <= this.#settled) {
      this.#flushes.shift()!.resolve();
    }
  }

  #giveUpOldest(): void {
    const what = this.waiting > this.#appendedMax
      ? `${this.#appendedMax} results wait`
      : `${this.#appendedBytesMax >> 20} MiB of results wait`;
    const error = new OperatingError(`More than ${what} for the result store`);
    const batch = this.#batch;
    if (batch !== null && !this.#isWriting) {
      this.#disarm?.();
      this.#disarm = null;
      this.#batch = null;
      this.#bytes -= batch.bytes;
      this.#settle(batch, error, null);
    } else this.#dropHead(error);
  }

  #dropHead(error: Error): void {
    const record = this.#records[this.#head]!;
    const done = this.#dones[this.#head]!;
    this.#bytes -= record.document.length;
    this.#advance(this.#head + 1);
    this.#settleOne(record, done, error);
  }

  /** Appends the replacement of a record that will never be stored, if there is one. */
  appendReplacement(record: ResultRecord, error: Error): void {
    const { clock, serializer } = this.#options;
    if (this.#isClosed || serializer === undefined) return;
    const instead = replacementOf(record, error, { clock, serializer });
    if (instead !== null) this.append(instead, null);
  }

  #logLost(record: ResultRecord, error: Error): void {
    this.#losses.log("ERROR", `Cannot store the result of task ${record.taskId}: ${errorText(error)}`);
  }
}
