/**
 * The data lane of every store: results are appended here and leave in batches, one batch under way at a time.
 *
 * One at a time keeps the states of one task in order through every retry, and makes the batches as large as the
 * store is slow. For a record that cannot be stored, `done` gets the error, and it is logged once; nothing vanishes in
 * silence.
 */

import { type Clock, errorText, isRetryable, type Log, LogThrottle, OperatingError } from "../base/mod.ts";
import type { ResultRecord } from "./backend.ts";
import { inPlaceOf } from "./refused.ts";
import type { RetryPolicy } from "./retry.ts";

/** What a caller of `store` hears: null when stored for good, else why it never will be. */
export type StoreDone = (error: Error | null) => void;

/**
 * What writing a batch came to: null when all of it is stored, else for each record its own error or null. Throws
 * (or rejects) where the whole batch failed; an OperatingError with `isRetryable` is tried again.
 */
export type BatchResult = (Error | null)[] | null;

/** How a store uses its queue. */
export interface StoreQueueOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: RetryPolicy;
  /** Runs `fn` once, soon: when a batch may begin. */
  schedule(fn: () => void): void;
  /** Writes records in order. The array is the store's until it settles. */
  write(records: readonly ResultRecord[]): Promise<BatchResult> | BatchResult;
  /** True for an error that is waited for as long as it takes, however few retries the policy allows. */
  waitsFor?(error: Error): boolean;
  /** Of what is stored in place of a result that was refused (refused.ts). Default: nothing is. */
  readonly serializer?: string;
  /** Says that a batch failed and will be tried again. */
  onRetry?(error: Error, retry: number, delayMs: number): void;
  /** Records of one batch. */
  readonly batchMax?: number;
  /** Characters (or bytes) of documents of one batch; one larger document goes alone. */
  readonly batchBytesMax?: number;
  /** Records that may wait; past it the oldest are given up. */
  readonly appendedMax?: number;
  readonly appendedBytesMax?: number;
}

const BATCH_MAX = 2048;
const BATCH_BYTES_MAX = 4 << 20;
const APPENDED_MAX = 65_536;
const APPENDED_BYTES_MAX = 256 << 20;
/** Fetching stops at this part of either maximum. */
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
  /** Being written, or waiting for its retry. */
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

  /** Appends one. Data lane, per message. */
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

  /** Records that are not settled, but for those under way right now. */
  get waiting(): number {
    return this.#records.length - this.#head +
      (this.#batch && !this.#isWriting ? this.#batch.records.length : 0);
  }

  /** True where a quarter of what may wait does. */
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

  /** Gives up what waits; later records are refused. Twice is once. */
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

  /** The next batch: all that waits where it fits, without copying. */
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
    // Shifting costs the length of what stays, so it waits until half is behind.
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
    const isOver = !isWaitedFor && (!isRetryable(error) || batch.retries >= policy.maxRetries);
    if (isOver || this.#isClosed) {
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
          this.#sayLost(records[n]!, own);
          this.appendInPlaceOf(records[n]!, own);
        }
        dones[n]?.(own);
      }
    }
    this.#resolveFlushes();
  }

  #settleOne(record: ResultRecord, done: StoreDone | null, error: Error): void {
    this.#settled++;
    this.#sayLost(record, error);
    done?.(error);
    this.#resolveFlushes();
  }

  #resolveFlushes(): void {
    while (this.#flushes.length > 0 && this.#flushes[0]!.upTo <= this.#settled) {
      this.#flushes.shift()!.resolve();
    }
  }

  #giveUpOldest(): void {
    const error = new OperatingError(`More than ${this.#appendedMax} results wait for the result store`);
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

  /** Appends what stands in place of a record that never will be stored, if anything does. */
  appendInPlaceOf(record: ResultRecord, error: Error): void {
    const { clock, serializer } = this.#options;
    if (this.#isClosed || serializer === undefined) return;
    const instead = inPlaceOf(record, error, { clock, serializer });
    if (instead !== null) this.append(instead, null);
  }

  #sayLost(record: ResultRecord, error: Error): void {
    this.#losses.log("ERROR", `Cannot store the result of task ${record.taskId}: ${errorText(error)}`);
  }
}
