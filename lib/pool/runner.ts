/**
 * The code with which a slot runs its jobs. child.ts implements it with the tracer of app/; tests may pass
 * their own.
 *
 * The slot's engine decides order, batching and reporting; the runner runs one task.
 */

import type { Level, LogTask, World } from "../base/mod.ts";
import type { EndedTask, Outcome } from "../app/mod.ts";
import type { OutgoingMessage } from "../transport/mod.ts";
import type { DeliveryInfo, EncodedMessage, TaskHeaders } from "../wire/mod.ts";
import type { ChildInit } from "./pool.ts";

/** One job as a slot receives it. */
export interface SlotJob {
  readonly seq: number;
  /** kombu's JSON envelope. */
  readonly envelope: string;
  readonly queue: string;
  readonly redelivered: boolean;
  /** Seconds, or null. The parent enforces the limits; the runner only shows them to the task. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /** The decoded envelope, if the job did not cross a pipe (solo) and the worker had decoded it. */
  readonly message?: EncodedMessage;
  readonly info?: DeliveryInfo;
  readonly headers?: TaskHeaders;
  /** As in Job.ended. */
  readonly ended?: EndedTask | undefined;
}

/** Why a running job is interrupted. "stop": the slot is ending. */
export type InterruptReason = "soft" | "hard" | "terminated" | "stop";

/** A task as log lines show it. */
export type TaskLabel = LogTask;

/** Runs jobs. Several run at once only in the pool "async". */
export interface SlotRunner {
  /**
   * Runs one job. Returns the outcome at once if the task awaits nothing, else a promise. Never throws, never
   * rejects.
   */
  run(job: SlotJob): Outcome | Promise<Outcome>;
  /**
   * Rejects the pending await of a running job; no effect if the job is not running. `seconds`: the limit.
   */
  interrupt(seq: number, reason: InterruptReason, seconds: number): void;
  /**
   * Returns the task in which the calling code runs, or which started it (through a timer or promise); null
   * if unknown.
   */
  current(): TaskLabel | null;
  /** Returns the task whose timer threw this error, or null if unknown. */
  ofError?(error: unknown): TaskLabel | null;
  /** Frees what the user's app holds open. Never rejects. */
  close(): Promise<void>;
}

/** What the slot offers its runner. All methods except `publish` only append to a buffer. */
export interface RunnerHost {
  onState(seq: number, state: string, document: string | Uint8Array): void;
  onEvent(seq: number, type: string, fields: Record<string, unknown>): void;
  log(level: Level, message: string, task: TaskLabel | null): void;
  /** Reports that this process contains something that cannot be stopped, and must be replaced soon. */
  draining(): void;
  /**
   * Publishes through the worker's own broker connection. Rejects with the broker's error. `handOn`: the
   * batch is one message, sent by a task as its last act, so that its slot is about to be free.
   */
  publish(batch: readonly OutgoingMessage[], handOn: boolean): Promise<void>;
}

/** Loads the user's app and makes its runner. Rejects with the error of the app's module, or UsageError. */
export type OpenRunner = (world: World, init: ChildInit, host: RunnerHost) => Promise<SlotRunner>;
