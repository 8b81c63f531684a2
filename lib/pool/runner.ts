/**
 * What a slot runs its jobs with. child.ts implements it on the tracer of app/; tests may bring their own.
 *
 * The slot's engine owns order, batching and reporting; the runner owns what running one task means.
 */

import type { Level, LogTask, World } from "../base/mod.ts";
import type { EndedTask, Outcome } from "../app/mod.ts";
import type { OutgoingMessage } from "../transport/mod.ts";
import type { DeliveryInfo, EncodedMessage, TaskHeaders } from "../wire/mod.ts";
import type { ChildInit } from "./pool.ts";

/** One job as it reaches a slot. */
export interface SlotJob {
  readonly seq: number;
  /** kombu's JSON envelope. */
  readonly envelope: string;
  readonly queue: string;
  readonly redelivered: boolean;
  /** Seconds, or null. The parent enforces them; the runner only shows them to the task. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /** The envelope decoded, where the job did not cross a pipe (solo) and the worker had it. */
  readonly message?: EncodedMessage;
  readonly info?: DeliveryInfo;
  readonly headers?: TaskHeaders;
  /** As Job.ended. */
  readonly ended?: EndedTask | undefined;
}

/** Why a running job is interrupted. "stop": the slot goes away. */
export type InterruptReason = "soft" | "hard" | "terminated" | "stop";

/** A task as log lines name it. */
export type TaskLabel = LogTask;

/** Runs jobs. Several may be running at once only where the pool is "async". */
export interface SlotRunner {
  /**
   * Runs one job. An outcome at once where nothing is awaited, else a promise. Never throws, never rejects.
   */
  run(job: SlotJob): Outcome | Promise<Outcome>;
  /**
   * Interrupts a running job's pending await; nothing happens where it is not running. `seconds`: the
   * limit.
   */
  interrupt(seq: number, reason: InterruptReason, seconds: number): void;
  /**
   * The task that the calling code runs in, or that started it (a timer's, a promise's); null where
   * unknown.
   */
  current(): TaskLabel | null;
  /** The task whose timer threw this error, where that is known. */
  ofError?(error: unknown): TaskLabel | null;
  /** Frees what the user's app holds open. Never rejects. */
  close(): Promise<void>;
}

/** What the slot gives its runner. All but `publish` only append. */
export interface RunnerHost {
  onState(seq: number, state: string, document: string | Uint8Array): void;
  onEvent(seq: number, type: string, fields: Record<string, unknown>): void;
  log(level: Level, message: string, task: TaskLabel | null): void;
  /** Something that cannot be stopped goes on in this process: it is to be left soon. */
  draining(): void;
  /**
   * Through the worker's own broker connection. Rejects with what went wrong there. `handOn`: it is one message, by a
   * task that has nothing else to do, so that its slot is about to be free.
   */
  publish(batch: readonly OutgoingMessage[], handOn: boolean): Promise<void>;
}

/** Loads the user's app and makes its runner. Rejects with what the app's module threw, or UsageError. */
export type OpenRunner = (world: World, init: ChildInit, host: RunnerHost) => Promise<SlotRunner>;
