/**
 * The names of Redis keys: kombu's layout, and keys of our own under `lovage:`.
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
  /** String, expires: the lock of the sweep. */
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

  /** String, expires: the probe by which consumer `id` tests whether the server announces pushes. */
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

  /**
   * Set, expires: the tag numbers of lease `id` whose tasks have begun, of messages that a process died with
   * before.
   */
  begun(id: string): string {
    return `${this.#options.keyPrefix}lovage:begun:${id}`;
  }

  /** The list of a queue at one step; step 0 is the queue's own name. */
  list(queueName: string, step: number): string {
    return this.#options.keyPrefix + (step === 0 ? queueName : queueName + this.#options.sep + step);
  }

  /** Returns the list for a message of this priority, which is clamped to 0 to 9. */
  listFor(queueName: string, priority: number): string {
    const clamped = Math.max(0, Math.min(9, priority));
    return this.list(queueName, priorityStep(clamped, this.#options.steps));
  }

  /** Returns the queue that a list's key belongs to. */
  queueOf(list: string): string {
    const name = list.slice(this.#options.keyPrefix.length);
    const at = name.lastIndexOf(this.#options.sep);
    return at > 0 && /^\d$/.test(name.slice(at + this.#options.sep.length)) ? name.slice(0, at) : name;
  }

  /** Returns every list of a queue, in the order in which they are read. */
  lists(queueName: string): string[] {
    return this.#options.steps.map((step) => this.list(queueName, step));
  }

  /** Set: the bindings of an exchange. */
  bindings(exchangeName: string): string {
    return `${this.#options.keyPrefix}_kombu.binding.${exchangeName}`;
  }

  /** Returns the exchange of a binding set's key; null for another key. */
  exchangeOf(key: string): string | null {
    const head = this.bindings("");
    return key.startsWith(head) ? key.slice(head.length) : null;
  }

  /** Returns a queue's member in its exchange's binding set. */
  bindingMember(queue: Queue): string {
    const pattern = queue.exchange.type === "topic" ? pythonTopicPattern(queue.routingKey) : "";
    return [queue.routingKey, pattern, queue.name].join(this.#options.sep);
  }

  /** Parses a member of a binding set; null if it is not a binding. */
  readMember(member: string): { routingKey: string; pattern: string; queue: string } | null {
    const parts = member.split(this.#options.sep);
    const [routingKey, pattern, queue] = parts;
    if (parts.length !== 3 || !queue) return null;
    return { routingKey: routingKey!, pattern: pattern!, queue };
  }

  /** Returns the channel that a message to a fanout exchange is published to. */
  channel(exchangeName: string, routingKey: string): string {
    const isKeyed = routingKey !== "" && this.#options.fanoutPatterns;
    return this.#fanoutPrefix + exchangeName + (isKeyed ? `/${routingKey}` : "");
  }

  /** Returns the channel pattern of a queue on a fanout exchange. */
  channelPattern(queue: Queue): string {
    return this.channel(queue.exchange.name, queue.routingKey.replaceAll("#", "*"));
  }
}

/** Parses one of our tags; null for a foreign tag. */
export function readTag(tag: string): { owner: string; number: number } | null {
  const match = OUR_TAG.exec(tag);
  return match ? { owner: match[1]!, number: Number(match[2]) } : null;
}

/**
 * Returns the text after the envelope in a value of `unacked`: the default exchange and the queue as routing
 * key, so that a restore needs no binding. The value is `[` + envelope + this text.
 */
export function unackedTail(queueName: string): string {
  return `,"",${quoted(queueName)}]`;
}

/** Returns a binding as `list bindings` shows it. */
export function toBinding(exchange: string, member: { routingKey: string; queue: string }): Binding {
  return { queue: member.queue, exchange, routingKey: member.routingKey };
}

/**
 * Returns a topic's routing key as the regular expression that kombu stores and Python workers match with.
 */
function pythonTopicPattern(key: string): string {
  const words = key.split(".").map((word) => {
    if (word === "*") return ".*?[^\\.]";
    if (word === "#") return ".*?";
    return [...word].map((letter) => /[\p{L}\p{N}*#]/u.test(letter) ? letter : `\\${letter}`).join("");
  });
  return `^${words.join("\\.")}$`;
}
