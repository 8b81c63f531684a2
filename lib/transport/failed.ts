/**
 * Tasks that failed for good, kept with their messages next to the dead letters, so that they can be found and sent
 * again. Workers keep them; people list, retry and drop them (`lovage failed`).
 */

import type { World } from "../base/mod.ts";
import { type DeadLetter, letterId } from "./message.ts";

/** A task that failed for good, as its worker reports it. */
export type FailedEntry = Omit<DeadLetter, "id">;

/** How many failed tasks are kept, and for how long. */
export interface FailedLimits {
  /** Tasks; beyond that the oldest are deleted. RabbitMQ keeps at most 10,000. */
  readonly count: number;
  /** Seconds after which a task is deleted. */
  readonly seconds: number;
}

/** The failed tasks of one broker. `retry` and `drop` take a task that this connection's `list` gave. */
export interface FailedTasks {
  /** Stores failed tasks, and deletes those beyond the limits. */
  keep(tasks: readonly FailedEntry[], limits: FailedLimits): Promise<void>;
  /** Counts the failed tasks. */
  count(): Promise<number>;
  /** Lists the newest first, at most `limit` of them. */
  list(limit: number): Promise<DeadLetter[]>;
  /** Removes a task and puts `envelope` at the back of a queue, in one step. False: the task is gone. */
  retry(task: DeadLetter, queueName: string, envelope: string): Promise<boolean>;
  /** Deletes a task for good. False: the task is gone. */
  drop(task: DeadLetter): Promise<boolean>;
}

/** Returns an entry with a new random id. */
export function withId(world: World, entry: FailedEntry): DeadLetter {
  return { ...entry, id: letterId(world) };
}
