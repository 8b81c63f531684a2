/**
 * Where tasks run: what solo, processes, threads and async all are.
 *
 * The worker submits batches of jobs and hears of them through PoolEvents, synchronously and in batches. A
 * job is in exactly one place: with the worker until `submit`, then with the pool (queued or in one slot)
 * until its outcome.
 */

import type { World } from "../base/mod.ts";
import type { Outcome } from "../app/mod.ts";
import type { OutgoingMessage } from "../transport/mod.ts";
import type { DeliveryInfo, EncodedMessage, TaskHeaders } from "../wire/mod.ts";

/** One task to run. */
export interface Job {
  /** The worker's own number, increasing. */
  readonly seq: number;
  readonly name: string;
  readonly id: string;
  /** The message in kombu's JSON envelope; the slot decodes its body. */
  readonly envelope: string;
  /** The same decoded, where the worker has it: solo then decodes nothing again. */
  readonly message?: EncodedMessage;
  readonly info?: DeliveryInfo;
  readonly headers?: TaskHeaders;
  /** The queue it came from, and whether it was delivered before. */
  readonly queue: string;
  readonly redelivered: boolean;
  /** Seconds, or null: none. From the message, the task or the worker's settings, already merged. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /**
   * How long this type of task is expected to take, in milliseconds; Infinity: unknown. Slots are given
   * several jobs at once only where their sum stays about a millisecond.
   */
  readonly expectedMs: number;
}

/** What a pool tells the worker. Called synchronously; none may throw. */
export interface PoolEvents {
  /**
   * A live slot has begun these jobs (or will within about a millisecond): early acknowledgement, STARTED.
   */
  onAccepted(jobs: readonly Job[], pid: number): void;
  /**
   * In the order they ended. Each submitted job gets exactly one. `process` is the name under which Celery
   * logs the lines of these tasks: "ForkPoolWorker-1", or "MainProcess" for threads, async and solo.
   */
  onOutcomes(batch: readonly Outcome[], process: string): void;
  /** A running task stored a state of its own; `document` is to be stored. */
  onState(job: Job, state: string, document: string | Uint8Array): void;
  /** A running task sent an event (`self.sendEvent`). */
  onEvent(job: Job, type: string, fields: Record<string, unknown>): void;
  /** `submit` may take more (`free` grew). */
  onFree(): void;
  /** A slot ended or began; for the log, signals and stats. */
  onSlot(change: "started" | "ended", slot: { name: string; pid: number; reason: string | null }): void;
}

/** How to build a pool. */
export interface PoolOptions {
  readonly concurrency: number;
  readonly maxTasksPerChild: number | null;
  /** KiB, as Celery's setting. */
  readonly maxMemoryPerChild: number | null;
  /** Seconds a new child has to report. */
  readonly procAliveTimeout: number;
  /** What a slot needs to load the user's app again: see pool/child.ts. */
  readonly child: ChildInit;
  /** Publishes for tasks that run in slots; `isOver` as `RunnerHost.publish`. */
  publish(batch: readonly OutgoingMessage[], isOver: boolean): Promise<void>;
}

/** What every slot is told at its start. Plain data. */
export interface ChildInit {
  /** The `-A` argument, absolute, or null. */
  readonly app: string | null;
  /** Module paths of `imports`, `include` and `-I`, absolute. */
  readonly include: readonly string[];
  /** Settings that win over the module's (command line, environment, `--config`), as JSON values. */
  readonly overrides: Readonly<Record<string, unknown>>;
  /** Node name. */
  readonly hostname: string;
  readonly logLevel: string;
  readonly logFile: string | null;
  readonly isTaskEvents: boolean;
  /** No task of the app declares a sandbox: their processes are started with less loaded. Default false. */
  readonly hasNoSandbox?: boolean;
}

/** For `inspect stats`. */
export interface PoolInfo {
  readonly implementation: string;
  readonly concurrency: number;
  readonly pids: readonly number[];
  readonly maxTasksPerChild: number | null;
  /** Soft and hard limit of the worker, seconds; 0 none. */
  readonly timeouts: readonly [number, number];
  /** Jobs given to each slot there is; none where there are no slots. */
  readonly writes: readonly number[];
}

/** A pool. */
export interface Pool {
  readonly name: "solo" | "processes" | "threads" | "async";
  /**
   * Starts all slots; resolves when at least one can take jobs, rejects where none can start (with its
   * error).
   */
  start(): Promise<void>;
  /** How many more jobs it takes now without queueing behind long ones. */
  readonly free: number;
  /** Slots there are. */
  readonly size: number;
  /** Jobs submitted and not ended. */
  readonly busy: number;
  /** Data lane. At most `free` jobs. */
  submit(jobs: readonly Job[]): void;
  /**
   * Ends a running job by ending its slot with a signal. False where it is not running here or cannot be
   * ended.
   */
  terminate(seq: number, signal: string): boolean;
  grow(by: number): Promise<void>;
  /** Ends `by` slots, idle ones first; jobs not begun come back as "returned". */
  shrink(by: number): Promise<void>;
  /** Replaces every slot; running jobs end first. */
  restart(): Promise<void>;
  info(): PoolInfo;
  /** Takes no more; resolves when every submitted job has its outcome. */
  drain(): Promise<void>;
  /** Ends all slots at once; jobs begun end as "lost", others as "returned". Idempotent. */
  terminateAll(): Promise<void>;
  /** After `drain` or `terminateAll`: frees everything. Idempotent. */
  close(): Promise<void>;
}

/** Makes a pool; nothing runs before `start`. */
export type PoolFactory = (world: World, options: PoolOptions, events: PoolEvents) => Pool;
