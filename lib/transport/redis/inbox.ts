/**
 * Consuming queues on fanout exchanges: each consumer gets its own copy of every message, as with Python's
 * workers.
 *
 * Redis sends a published message to the current subscribers and does not keep it. So each received message
 * is pushed to a list of this consumer's own, its inbox, and is fetched, held, parked and settled from there
 * like any other message. An inbox is named after its process: a new connection of the process finds the
 * messages of the one before, and the inbox of a dead worker expires.
 *
 * Source: kombu 5.2.4 transport/redis.py Channel.basic_consume, _subscribe, _receive_one.
 */

import { type ReplySink, toOperatingError } from "../../redis/mod.ts";
import { envelopePriority, type Reply, RespError } from "../../wire/mod.ts";
import type { Queue } from "../entity.ts";
import type { ConsumerBase } from "./unacked.ts";

/** Seconds that an inbox lasts after the last message was put into it. */
const INBOX_SECONDS = 86_400;
const HEAD = "lovage:fanout:";

/** Whether a queue's name is that of an inbox. */
function isInbox(queueName: string): boolean {
  return queueName.startsWith(HEAD);
}

/** Options of `Inboxes`. */
export interface InboxOptions {
  /** Names the process; unique per process start. */
  readonly owner: string;
  /** Listens to a channel pattern until the function that it resolves with is called. */
  listen(pattern: string, onPayload: (payload: string) => void): Promise<() => Promise<void>>;
  /** Called when this connection has pushed to an inbox, which tracking does not report. */
  onPut(): void;
}

interface Inbox {
  readonly queue: Queue;
  readonly name: string;
  stop: (() => Promise<void>) | null;
}

/** The inboxes of one consumer. */
export class Inboxes {
  #base: ConsumerBase;
  #options: InboxOptions;
  /** By the name of the inbox. */
  #byName = new Map<string, Inbox>();
  #sink: ReplySink;

  constructor(base: ConsumerBase, options: InboxOptions) {
    this.#base = base;
    this.#options = options;
    this.#sink = {
      onReply: (reply) => this.#onPut(reply),
      // Messages published without a subscriber are lost in any case.
      onLost: () => {},
    };
  }

  /** Returns the name of a queue's inbox. */
  nameOf(queueName: string): string {
    return `${HEAD}${queueName}:${this.#options.owner}`;
  }

  /** Returns the queue of an inbox; any other name unchanged. */
  queueOf(name: string): string {
    return this.#byName.size === 0 ? name : this.#byName.get(name)?.queue.name ?? name;
  }

  /** Subscribes for a queue. Once it has resolved, no message is missed. */
  async open(queue: Queue): Promise<void> {
    const name = this.nameOf(queue.name);
    const inbox: Inbox = { queue, name, stop: null };
    this.#byName.set(name, inbox);
    inbox.stop = await this.#options.listen(
      this.#base.keys.channelPattern(queue),
      (payload) => this.#put(name, payload),
    );
  }

  /** Unsubscribes for a queue; its inbox stays until `drop`. */
  async close(queueName: string): Promise<void> {
    const inbox = this.#byName.get(this.nameOf(queueName));
    const stop = inbox?.stop;
    if (!inbox || !stop) return;
    inbox.stop = null;
    await stop();
  }

  /** Unsubscribes for all queues. */
  async closeAll(): Promise<void> {
    for (const { queue } of this.#byName.values()) await this.close(queue.name);
  }

  /** Deletes the inboxes with their messages, and the bindings of `autoDelete` queues. */
  async drop(): Promise<void> {
    const { connection, keys } = this.#base;
    for (const { queue, name } of this.#byName.values()) {
      await connection.call(["DEL", ...keys.lists(name)]);
      if (queue.autoDelete) {
        await connection.call(["SREM", keys.bindings(queue.exchange.name), keys.bindingMember(queue)]);
      }
    }
  }

  #put(name: string, payload: string): void {
    const { connection, keys } = this.#base;
    // An empty payload is how listeners are counted.
    if (payload === "" || connection.isLost) return;
    const list = keys.listFor(name, envelopePriority(payload));
    connection.send(["LPUSH", list, payload], this.#sink);
    connection.send(["EXPIRE", list, INBOX_SECONDS], null);
  }

  #onPut(reply: Reply): void {
    if (reply instanceof RespError) {
      this.#base.log.error(toOperatingError(reply, "keep a broadcast message").message);
    } else this.#options.onPut();
  }
}

/** Sets an inbox to expire after a message was restored to it: its worker may be gone. */
export function expireInbox(base: ConsumerBase, list: string, queueName: string): void {
  if (isInbox(queueName)) base.connection.send(["EXPIRE", list, INBOX_SECONDS], null);
}

/** Whether a queue is consumed through an inbox. */
export function needsInbox(queue: Queue): boolean {
  return queue.exchange.type === "fanout";
}
