/**
 * Which key holds what: kombu's layout, and our own side keys under `lovage:`.
 *
 * Source: kombu 5.2.4 transport/redis.py Channel (_q_for_pri, keyprefix_queue, _get_publish_topic, _queue_bind) and
 * virtual/exchange.py; protocol.md 2.2.
 */

import { quoted } from "../../base/mod.ts";
import type { Binding, Queue } from "../entity.ts";
import type { RedisOptions } from "./options.ts";
import { priorityStep } from "../routing.ts";

/** A tag of ours: the lease's id, a colon, a number. Python's tags are UUIDs. */
const OUR_TAG = /^(l[0-9a-f]{12}):(\d+)$/;

/** The keys of one broker. */
export class RedisKeys {
  readonly unacked: string;
  readonly unackedIndex: string;
  readonly unackedMutex: string;
  /** Set: the id of every lease that ever held something. */
  readonly owners: string;
  /** String, expires: one sweep at a time. */
  readonly sweep: string;
  /** Sorted set: `parked:<uuid>` by due time in epoch seconds. */
  readonly parked: string;
  /** List of JSON documents, newest first: dead letters. */
  readonly dead: string;
  /** Sorted set of JSON documents by epoch seconds: tasks that failed for good. */
  readonly failed: string;
  #options: RedisOptions;
  #fanoutPrefix: string;

  constructor(options: RedisOptions, db: number) {
    const prefix = options.keyPrefix;
    this.#options = options;
    this.#fanoutPrefix = options.channelPrefix + options.fanoutPrefix.replaceAll("{db}", String(db));
    this.unacked = prefix + options.unackedKey;
    this.unackedIndex = prefix + options.unackedIndexKey;
    this.unackedMutex = prefix + options.unackedMutexKey;
    this.owners = `${prefix}lovage:owners`;
    this.sweep = `${prefix}lovage:sweep`;
    this.parked = `${prefix}lovage:parked`;
    this.dead = `${prefix}lovage:dead`;
    this.failed = `${prefix}lovage:failed`;
  }

  /** String, expires: the lease `id` is alive. */
  owner(id: string): string {
    return `${this.#options.keyPrefix}lovage:owner:${id}`;
  }

  /** String, expires: what consumer `id` looks by whether the server announces pushes. */
  probe(id: string): string {
    return `${this.#options.keyPrefix}lovage:probe:${id}`;
  }

  /** Hash, expires: who holds a lease of the ledger. */
  lease(name: string): string {
    return `${this.#options.keyPrefix}lovage:lease:${name}`;
  }

  /** String: how often a lease was taken. */
  leaseCounter(name: string): string {
    return `${this.#options.keyPrefix}lovage:leases:${name}`;
  }

  /** Hash: the records of a namespace of the ledger. */
  records(namespace: string): string {
    return `${this.#options.keyPrefix}lovage:book:${namespace}`;
  }

  /** Set, expires: the tag numbers of lease `id` that have begun, of messages that were there at a death before. */
  begun(id: string): string {
    return `${this.#options.keyPrefix}lovage:begun:${id}`;
  }

  /** The list of a queue at one step; step 0 is the queue's own name. */
  list(queueName: string, step: number): string {
    return this.#options.keyPrefix + (step === 0 ? queueName : queueName + this.#options.sep + step);
  }

  /** The list for a message of this priority; outside 0 to 9 counts as the nearer end. */
  listFor(queueName: string, priority: number): string {
    const clamped = Math.max(0, Math.min(9, priority));
    return this.list(queueName, priorityStep(clamped, this.#options.steps));
  }

  /** The queue that a list would be of. */
  queueOf(list: string): string {
    const name = list.slice(this.#options.keyPrefix.length);
    const at = name.lastIndexOf(this.#options.sep);
    return at > 0 && /^\d$/.test(name.slice(at + this.#options.sep.length)) ? name.slice(0, at) : name;
  }

  /** Every list of a queue, the one read first in front. */
  lists(queueName: string): string[] {
    return this.#options.steps.map((step) => this.list(queueName, step));
  }

  /** Set: the bindings of an exchange. */
  bindings(exchangeName: string): string {
    return `${this.#options.keyPrefix}_kombu.binding.${exchangeName}`;
  }

  /** The exchange of a binding set's key, or null for another key. */
  exchangeOf(key: string): string | null {
    const head = this.bindings("");
    return key.startsWith(head) ? key.slice(head.length) : null;
  }

  /** A queue's member in its exchange's binding set. */
  bindingMember(queue: Queue): string {
    const pattern = queue.exchange.type === "topic" ? pythonTopicPattern(queue.routingKey) : "";
    return [queue.routingKey, pattern, queue.name].join(this.#options.sep);
  }

  /** A binding set's member taken apart; null for what is not one. */
  readMember(member: string): { routingKey: string; pattern: string; queue: string } | null {
    const parts = member.split(this.#options.sep);
    const [routingKey, pattern, queue] = parts;
    if (parts.length !== 3 || !queue) return null;
    return { routingKey: routingKey!, pattern: pattern!, queue };
  }

  /** The channel that a message to a fanout exchange is published to. */
  channel(exchangeName: string, routingKey: string): string {
    const isKeyed = routingKey !== "" && this.#options.fanoutPatterns;
    return this.#fanoutPrefix + exchangeName + (isKeyed ? `/${routingKey}` : "");
  }

  /** The pattern that a queue on a fanout exchange listens to. */
  channelPattern(queue: Queue): string {
    return this.channel(queue.exchange.name, queue.routingKey.replaceAll("#", "*"));
  }
}

/** A tag of ours taken apart; null for a tag of somebody else's. */
export function readTag(tag: string): { owner: string; number: number } | null {
  const match = OUR_TAG.exec(tag);
  return match ? { owner: match[1]!, number: Number(match[2]) } : null;
}

/**
 * What follows the envelope in the value of `unacked`: the default exchange and the queue as routing key, so that
 * whoever restores it needs no binding. The value is `[` + envelope + this.
 */
export function unackedTail(queueName: string): string {
  return `,"",${quoted(queueName)}]`;
}

/** A binding as `list bindings` shows it. */
export function toBinding(exchange: string, member: { routingKey: string; queue: string }): Binding {
  return { queue: member.queue, exchange, routingKey: member.routingKey };
}

/** A topic's routing key as the regular expression that kombu stores, which Python workers match with. */
function pythonTopicPattern(key: string): string {
  const words = key.split(".").map((word) => {
    if (word === "*") return ".*?[^\\.]";
    if (word === "#") return ".*?";
    return [...word].map((letter) => /[\p{L}\p{N}*#]/u.test(letter) ? letter : `\\${letter}`).join("");
  });
  return `^${words.join("\\.")}$`;
}
