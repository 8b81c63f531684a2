/**
 * Tasks that failed for good, kept with their messages next to the dead letters, so that they can be found and sent
 * again. Workers keep them; people list, retry and drop them (`lovage failed`).
 */

import type { World } from "../base/mod.ts";
import type { DeadLetter } from "./message.ts";

/** How many characters of a random id name a failed task. */
const ID_CHARS = 8;

/** A task that failed for good, as its worker reports it. */
export type FailedEntry = Omit<DeadLetter, "id">;

/** What is kept at most. */
export interface FailedLimits {
  /** How many; beyond that the oldest are deleted. RabbitMQ keeps 10,000 in any case. */
  readonly count: number;
  /** For how long. */
  readonly seconds: number;
}

/** The failed tasks of one broker. `retry` and `drop` take a task that this connection's `list` gave. */
export interface FailedTasks {
  /** Keeps some, and deletes what is beyond the limits. */
  keep(tasks: readonly FailedEntry[], limits: FailedLimits): Promise<void>;
  /** How many there are. */
  count(): Promise<number>;
  /** The newest first, at most `limit` of them. */
  list(limit: number): Promise<DeadLetter[]>;
  /** Removes one and puts `envelope` at the back of a queue, in one step. False: it is not there any more. */
  retry(task: DeadLetter, queueName: string, envelope: string): Promise<boolean>;
  /** Deletes one for good. False: it is not there any more. */
  drop(task: DeadLetter): Promise<boolean>;
}

/** An entry under the id that it gets. */
export function withId(world: World, entry: FailedEntry): DeadLetter {
  return { ...entry, id: world.random.id().slice(0, ID_CHARS) };
}
