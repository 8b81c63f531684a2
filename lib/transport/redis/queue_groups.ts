/** Which queues of a cluster have a hash tag of their own: `queue_groups` in `broker_transport_options`. */

import { isRecord, UsageError } from "../../base/mod.ts";
import type { OptionReader } from "../../redis/mod.ts";
import type { Queue } from "../entity.ts";

/**
 * The groups of one broker. A queue that no group names is in the broker's own group, whose tag is `main`.
 */
export class QueueGroups {
  readonly main: string;
  /** The tags of all groups, `main` first. */
  readonly tags: readonly string[];
  #tagByQueue: ReadonlyMap<string, string>;

  constructor(main: string, tagByQueue: ReadonlyMap<string, string>) {
    this.main = main;
    this.tags = [...new Set([main, ...tagByQueue.values()])];
    this.#tagByQueue = tagByQueue;
  }

  /** Returns the tag of a queue's group. */
  tagOf(queueName: string): string {
    return this.#tagByQueue.get(queueName) ?? this.main;
  }
}

/** Reads `queue_groups`, `{ TAG: [QUEUE, …] }`; null: there are none. Throws UsageError. */
export function readQueueGroups(given: OptionReader, main: string): QueueGroups | null {
  const value = given.value("queue_groups");
  if (value === undefined) return null;
  if (!isRecord(value)) {
    throw given.wrong("queue_groups", "an object of hash tags, each with its list of queues");
  }
  const tagByQueue = new Map<string, string>();
  for (const [tag, queues] of Object.entries(value)) {
    if (tag === "" || /[{}]/.test(tag)) {
      throw given.wrong("queue_groups", "an object whose hash tags have no braces");
    }
    if (!Array.isArray(queues) || queues.some((name) => typeof name !== "string" || name === "")) {
      throw given.wrong("queue_groups", `an object of lists of queue names, for "${tag}" too`);
    }
    for (const name of queues as string[]) {
      if ((tagByQueue.get(name) ?? tag) !== tag) {
        throw given.wrong("queue_groups", `an object in which each queue has one tag; "${name}" has two`);
      }
      tagByQueue.set(name, tag);
    }
  }
  return tagByQueue.size === 0 ? null : new QueueGroups(main, tagByQueue);
}

/** Throws UsageError for a queue of another group than `own`; broadcast queues belong to every group. */
export function refuseForeign(groups: QueueGroups | null, own: string, queue: Queue): void {
  if (groups === null || queue.exchange.type === "fanout") return;
  const tag = groups.tagOf(queue.name);
  if (tag === own) return;
  throw new UsageError(
    `Cannot consume queue "${queue.name}": it is in queue group "${tag}", and this worker consumes group "${own}"; ` +
      "start a worker for each group, with -Q",
  );
}
