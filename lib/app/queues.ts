/**
 * The queues of an App: `task_queues`, those made when named, and which of them a worker consumes.
 *
 * Source: celery 5.2.6 app/amqp.py Queues (5.6.3 for queue types); kombu 5.2 entity.py Queue.from_dict,
 * Broadcast.
 */

import { nearest, UsageError } from "../base/mod.ts";
import { type Exchange, exchange, type ExchangeType, type Queue, queue } from "../transport/mod.ts";
import { isRecord } from "./setting_kinds.ts";

/** An exchange as written in settings. */
export interface ExchangeOptions {
  name?: string;
  type?: string;
  durable?: boolean;
  auto_delete?: boolean;
  arguments?: Record<string, unknown>;
}

/** A queue as written in settings; the names are kombu's. */
export interface QueueOptions {
  name?: string;
  exchange?: string | ExchangeOptions | Exchange | null;
  exchange_type?: string | null;
  routing_key?: string | null;
  binding_key?: string | null;
  durable?: boolean;
  exclusive?: boolean;
  auto_delete?: boolean;
  no_ack?: boolean;
  alias?: string | null;
  queue_arguments?: Record<string, unknown> | null;
  binding_arguments?: Record<string, unknown> | null;
  consumer_arguments?: Record<string, unknown> | null;
  /** Seconds until an unused queue goes. */
  expires?: number;
  /** Seconds that a message waits at most. */
  message_ttl?: number;
  max_length?: number;
  max_length_bytes?: number;
  max_priority?: number;
  /** Every consumer gets its own copy of every message (kombu's Broadcast). */
  broadcast?: boolean;
}

/** What `task_queues` may be. */
export type TaskQueues = readonly (Queue | QueueOptions)[] | Readonly<Record<string, QueueOptions>>;

/** What new queues are given. From settings. */
export interface QueueDefaults {
  readonly exchange: Exchange;
  readonly routingKey: string;
  readonly createMissing: boolean;
  readonly missingType: "classic" | "quorum";
  readonly missingExchangeType: string | null;
  readonly maxPriority: number | null;
  /** A fresh UUID, for the queues of broadcasts. */
  newId(): string;
}

const EXCHANGE_TYPES: ReadonlySet<string> = new Set(["direct", "topic", "fanout", "headers"]);

/** The type, checked. */
export function exchangeType(name: string): ExchangeType {
  if (!EXCHANGE_TYPES.has(name)) {
    throw new UsageError(`An exchange is direct, topic, fanout or headers, not "${name}"`);
  }
  return name as ExchangeType;
}

/** True for a `Queue` as the transports know it. */
export function isQueue(value: unknown): value is Queue {
  return isRecord(value) && isRecord(value.exchange) && typeof value.routingKey === "string" &&
    isRecord(value.queueArguments);
}

/** The queues by name. */
export class Queues {
  readonly #defaults: QueueDefaults;
  readonly #queues = new Map<string, Queue>();
  readonly #aliases = new Map<string, string>();
  #selected: Map<string, Queue> | null = null;

  constructor(defaults: QueueDefaults, given: readonly (Queue | QueueOptions)[]) {
    this.#defaults = defaults;
    for (const one of given) this.add(one);
  }

  /** A queue by name or alias; undefined where there is none. Nothing is made. */
  peek(name: string): Queue | undefined {
    return this.#queues.get(this.#aliases.get(name) ?? name);
  }

  /** A queue by name or alias, made where it is missing and that is allowed; else `UsageError`. */
  get(name: string): Queue {
    const found = this.peek(name);
    if (found) return found;
    if (!this.#defaults.createMissing) {
      const near = nearest(name, this.#queues.keys());
      throw new UsageError(
        `Queue "${name}" missing from task_queues${near ? `: did you mean "${near}"?` : ""}`,
      );
    }
    return this.add(this.#missing(name));
  }

  has(name: string): boolean {
    return this.peek(name) !== undefined;
  }

  /** Adds a queue, completed by the defaults, in place of one of its name. */
  add(given: Queue | QueueOptions): Queue {
    let made = isQueue(given) ? given : this.#fromOptions(given);
    if (made.exchange.name === "" && made.exchange.type === "direct") {
      made = { ...made, exchange: this.#defaults.exchange };
    }
    const max = this.#defaults.maxPriority;
    if (max !== null && !("x-max-priority" in made.queueArguments)) {
      made = { ...made, queueArguments: { ...made.queueArguments, "x-max-priority": max } };
    }
    this.#queues.set(made.name, made);
    if (made.alias) this.#aliases.set(made.alias, made.name);
    return made;
  }

  /** Adds a queue that is consumed from, even where a subset was selected. */
  selectAdd(given: Queue | QueueOptions): Queue {
    const made = this.add(given);
    this.#selected?.set(made.name, made);
    return made;
  }

  /** Consumes from these only (`-Q`); missing ones are made, or refused with `UsageError`. */
  select(names: readonly string[]): void {
    if (names.length === 0) return;
    const chosen = names.map((name) => this.get(name));
    this.#selected = new Map(chosen.map((one) => [one.name, one]));
  }

  /** Does not consume from these (`-X`, `cancel_consumer`). */
  deselect(names: readonly string[]): void {
    if (names.length === 0) return;
    const left = new Map(this.consumeFrom);
    for (const name of names) left.delete(this.#aliases.get(name) ?? name);
    this.#selected = left;
  }

  /** The queues a worker consumes from. */
  get consumeFrom(): ReadonlyMap<string, Queue> {
    return this.#selected ?? this.#queues;
  }

  get size(): number {
    return this.#queues.size;
  }

  names(): string[] {
    return [...this.#queues.keys()];
  }

  [Symbol.iterator](): IterableIterator<Queue> {
    return this.#queues.values();
  }

  #missing(name: string): Queue {
    const { missingType, missingExchangeType } = this.#defaults;
    return queue(name, {
      exchange: exchange(name, { type: exchangeType(missingExchangeType ?? "direct") }),
      queueArguments: missingType === "quorum" ? { "x-queue-type": "quorum" } : {},
    });
  }

  #fromOptions(given: QueueOptions): Queue {
    const name = given.name ?? "";
    if (typeof name !== "string" || (name === "" && !given.broadcast)) {
      throw new UsageError("task_queues: every queue needs a name");
    }
    const type = given.exchange_type ? exchangeType(given.exchange_type) : undefined;
    const queueArguments: Record<string, unknown> = { ...given.queue_arguments };
    if (given.expires !== undefined) queueArguments["x-expires"] = Math.trunc(given.expires * 1000);
    if (given.message_ttl !== undefined) {
      queueArguments["x-message-ttl"] = Math.trunc(given.message_ttl * 1000);
    }
    if (given.max_length !== undefined) queueArguments["x-max-length"] = given.max_length;
    if (given.max_length_bytes !== undefined) queueArguments["x-max-length-bytes"] = given.max_length_bytes;
    if (given.max_priority !== undefined) queueArguments["x-max-priority"] = given.max_priority;
    const routingKey = given.routing_key ?? given.binding_key;
    const isBroadcast = given.broadcast === true;
    return queue(isBroadcast ? `bcast.${this.#defaults.newId()}` : name, {
      exchange: this.#exchange(given.exchange ?? (isBroadcast ? name : null), isBroadcast ? "fanout" : type),
      routingKey: isBroadcast ? "" : routingKey ?? (given.exchange ? name : this.#routingKeyOf(name)),
      durable: given.durable ?? !isBroadcast,
      exclusive: given.exclusive ?? false,
      autoDelete: given.auto_delete ?? isBroadcast,
      noAck: given.no_ack ?? false,
      alias: given.alias ?? (isBroadcast ? name : null),
      queueArguments,
      bindingArguments: given.binding_arguments ?? {},
      consumerArguments: given.consumer_arguments ?? {},
    });
  }

  /** A queue without a routing key of its own is bound by its name. Source: app/amqp.py Queues.add_compat. */
  #routingKeyOf(name: string): string {
    return name || this.#defaults.routingKey;
  }

  #exchange(given: string | ExchangeOptions | Exchange | null, type: ExchangeType | undefined): Exchange {
    if (given === null || given === "") {
      return type && type !== this.#defaults.exchange.type
        ? exchange(this.#defaults.exchange.name, { type })
        : this.#defaults.exchange;
    }
    if (typeof given === "string") return exchange(given, type ? { type } : {});
    const options = given as ExchangeOptions & Partial<Exchange>;
    return exchange(options.name ?? "", {
      type: type ?? exchangeType(options.type ?? "direct"),
      durable: options.durable ?? true,
      autoDelete: options.auto_delete ?? options.autoDelete ?? false,
      arguments: options.arguments ?? {},
    });
  }
}

/** `task_queues` as a list; an object's keys are the names. */
export function listQueues(given: TaskQueues | null): (Queue | QueueOptions)[] {
  if (given === null) return [];
  if (Array.isArray(given)) return [...given as readonly (Queue | QueueOptions)[]];
  return Object.entries(given as Record<string, QueueOptions>).map(([name, one]) => ({ ...one, name }));
}

/** The queue that a node alone consumes (`worker_direct`). Source: celery 5.2.6 utils/nodenames.py. */
export function workerDirectQueue(nodename: string): Queue {
  return queue(`${nodename}.dq2`, { exchange: exchange("C.dq2"), routingKey: nodename });
}
