/**
 * Where tasks run: the interface of the pools solo, processes, threads and async.
 *
 * The worker submits batches of jobs, and the pool reports on them through PoolEvents, synchronously and in
 * batches. One side owns a job at any time: the worker until `submit`, then the pool (queued or in one slot)
 * until its outcome.
 */

import type { Level, World } from "../base/mod.ts";
import type { EndedTask, Outcome } from "../app/mod.ts";
import type { OutgoingMessage } from "../transport/mod.ts";
import type { DeliveryInfo, EncodedMessage, TaskHeaders } from "../wire/mod.ts";

/** One task to run. */
export interface Job {
  /** The worker's number for this job; numbers increase. */
  readonly seq: number;
  readonly name: string;
  readonly id: string;
  /** The message in kombu's JSON envelope. The slot decodes its body. */
  readonly envelope: string;
  /** The decoded message, if the worker has it. Solo uses it instead of decoding the envelope again. */
  readonly message?: EncodedMessage;
  readonly info?: DeliveryInfo;
  readonly headers?: TaskHeaders;
  /** The queue that the message came from. */
  readonly queue: string;
  /** True if the broker has delivered the message before. */
  readonly redelivered: boolean;
  /** Seconds; null: no limit. Merged from the message, the task and the worker's settings. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /**
   * How long this type of task is expected to take, in milliseconds; Infinity: unknown. A slot gets several
   * jobs at once only if they take about a millisecond together.
   */
  readonly expectedMs: number;
  /**
   * Set if the worker has already ended the task. The task is not run; the slot only calls its hooks for that
   * end.
   */
  readonly ended?: EndedTask | undefined;
}

/** Reports of a pool to the worker. All are called synchronously; none may throw. */
export interface PoolEvents {
  /**
   * These jobs have begun in a live slot (or will within about a millisecond). The worker acknowledges early
   * and stores STARTED.
   */
  onAccepted(jobs: readonly Job[], pid: number): void;
  /**
   * Outcomes in the order in which the jobs ended; exactly one for each submitted job. `process` is the
   * process name in log lines about these tasks: "ForkPoolWorker-1", or "MainProcess" for threads, async and
   * solo.
   */
  onOutcomes(batch: readonly Outcome[], process: string): void;
  /** A running task stored a custom state; `document` is to be stored. */
  onState(job: Job, state: string, document: string | Uint8Array): void;
  /** A running task sent an event (`self.sendEvent`). */
  onEvent(job: Job, type: string, fields: Record<string, unknown>): void;
  /** `free` has grown: more jobs may be submitted. */
  onFree(): void;
  /** A slot started or ended; for the log, signals and stats. */
  onSlot(change: "started" | "ended", slot: { name: string; pid: number; reason: string | null }): void;
}

/** Options of a pool. */
export interface PoolOptions {
  readonly concurrency: number;
  readonly maxTasksPerChild: number | null;
  /** KiB, as Celery's setting. */
  readonly maxMemoryPerChild: number | null;
  /** Seconds within which a new child must be ready. */
  readonly procAliveTimeout: number;
  /** What a slot needs to load the user's app again: see pool/child/child.ts. */
  readonly child: ChildInit;
  /**
   * Publishes for tasks that run in slots; `handOn` as in `RunnerHost.publish`. Rejects with the broker's
   * error.
   */
  publish(batch: readonly OutgoingMessage[], handOn: boolean): Promise<void>;
}

/** What every slot receives at its start. Plain data. */
export interface ChildInit {
  /** The `-A` argument, absolute, or null. */
  readonly app: string | null;
  /** Module paths of `imports`, `include` and `-I`, absolute. */
  readonly include: readonly string[];
  /** Settings that override the module's (command line, environment, `--config`), as JSON values. */
  readonly overrides: Readonly<Record<string, unknown>>;
  /** Node name. */
  readonly hostname: string;
  readonly logLevel: string;
  /** The level at which output of tasks is logged; null: it goes to the worker's own output. */
  readonly printLevel: Level | null;
  /** True if no task of the app declares a sandbox: children then load less at their start. Default false. */
  readonly hasNoSandbox?: boolean;
}

/** The pool's part of `inspect stats`. */
export interface PoolInfo {
  readonly implementation: string;
  readonly concurrency: number;
  readonly pids: readonly number[];
  readonly maxTasksPerChild: number | null;
  /** Soft and hard limit of the worker, seconds; 0: none. */
  readonly timeouts: readonly [number, number];
  /** Jobs sent to each slot so far; empty for pools without slots. */
  readonly writes: readonly number[];
}

/** A pool. */
export interface Pool {
  readonly name: "solo" | "processes" | "threads" | "async";
  /**
   * Starts all slots; resolves when one of them can take jobs. Rejects with a slot's error if none can start.
   */
  start(): Promise<void>;
  /** How many more jobs can start soon, without waiting behind long ones. */
  readonly free: number;
  /** The pool's concurrency. */
  readonly size: number;
  /** Submitted jobs that have not ended. */
  readonly busy: number;
  /** Takes at most `free` jobs. Data lane, per batch. */
  submit(jobs: readonly Job[]): void;
  /**
   * Ends a running job by sending its slot a signal. Returns false if it does not run here or cannot be
   * ended.
   */
  terminate(seq: number, signal: string): boolean;
  /** Adds `by` slots; resolves when each of them is ready or has failed. Never rejects. */
  grow(by: number): Promise<void>;
  /** Ends `by` slots, idle ones first; jobs that they have not begun go to other slots. Never rejects. */
  shrink(by: number): Promise<void>;
  /** Replaces every slot when its running jobs have ended. Never rejects. */
  restart(): Promise<void>;
  info(): PoolInfo;
  /** Resolves when every submitted job has its outcome. Never rejects. */
  drain(): Promise<void>;
  /**
   * Kills all slots; jobs that had begun end as "lost", the others as "returned". Idempotent; never rejects.
   */
  terminateAll(): Promise<void>;
  /** Frees all resources; called after `drain` or `terminateAll`. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** Makes a pool. Nothing runs before `start`. */
export type PoolFactory = (world: World, options: PoolOptions, events: PoolEvents) => Pool;
