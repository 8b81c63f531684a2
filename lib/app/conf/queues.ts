/**
 * The queues of an App: `task_queues`, those made when named, and which of them a worker consumes.
 *
 * Source: celery 5.2.6 app/amqp.py Queues (5.6.3 for queue types); kombu 5.2 entity.py Queue.from_dict,
 * Broadcast.
 */

import { isRecord, namesOf, nearest, refuseUnknown, UsageError } from "../../base/mod.ts";
import { type Exchange, exchange, type ExchangeType, type Queue, queue } from "../../transport/mod.ts";

/** An exchange as written in settings. */
export interface ExchangeOptions {
  name?: string;
  type?: string;
  durable?: boolean;
  auto_delete?: boolean;
  arguments?: Record<string, unknown>;
  /** True: used as it is (somebody else has declared it). */
  no_declare?: boolean;
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
  /** True: used as it is, with what it is bound to (somebody else has declared it). */
  no_declare?: boolean;
  /** Every consumer gets its own copy of every message (kombu's Broadcast). */
  broadcast?: boolean;
  /** kombu's names of what holds for the queue, or the exchange, alone. */
  queue_durable?: boolean;
  queue_exclusive?: boolean;
  queue_auto_delete?: boolean;
  exchange_durable?: boolean;
  exchange_auto_delete?: boolean;
  exchange_arguments?: Record<string, unknown> | null;
}

const EXCHANGE_NAMES = namesOf<ExchangeOptions & Pick<Exchange, "autoDelete" | "noDeclare">>({
  name: true,
  no_declare: true,
  noDeclare: true,
  type: true,
  durable: true,
  auto_delete: true,
  autoDelete: true,
  arguments: true,
});
const QUEUE_NAMES = namesOf<QueueOptions>({
  name: true,
  exchange: true,
  exchange_type: true,
  routing_key: true,
  binding_key: true,
  durable: true,
  exclusive: true,
  auto_delete: true,
  no_ack: true,
  no_declare: true,
  alias: true,
  queue_arguments: true,
  binding_arguments: true,
  consumer_arguments: true,
  expires: true,
  message_ttl: true,
  max_length: true,
  max_length_bytes: true,
  max_priority: true,
  broadcast: true,
  queue_durable: true,
  queue_exclusive: true,
  queue_auto_delete: true,
  exchange_durable: true,
  exchange_auto_delete: true,
  exchange_arguments: true,
});

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
    throw new UsageError(`The type of an exchange must be direct, topic, fanout or headers, not "${name}"`);
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
  /** Names of queues that are known because something is sent to them: nobody said to consume from them. */
  readonly #sentTo = new Set<string>();
  #selected: Map<string, Queue> | null = null;

  constructor(defaults: QueueDefaults, given: readonly (Queue | QueueOptions)[]) {
    this.#defaults = defaults;
    for (const one of given) this.add(one);
  }

  /** A queue by name or alias; undefined if there is none. Nothing is made. */
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
    return this.addSentTo(this.#missing(name));
  }

  /** The queue that `get` would give, without adding it; null: it would refuse. */
  wouldBe(name: string): Queue | null {
    return this.peek(name) ?? (this.#defaults.createMissing ? this.#completed(this.#missing(name)) : null);
  }

  has(name: string): boolean {
    return this.peek(name) !== undefined;
  }

  /** Adds a queue that is sent to and, unless it was said elsewhere, not consumed from. */
  addSentTo(given: Queue | QueueOptions): Queue {
    const isNew = !this.#queues.has(given.name ?? "");
    const made = this.add(given);
    if (isNew) this.#sentTo.add(made.name);
    return made;
  }

  /** Adds a queue, completed by the defaults, in place of one of its name. */
  add(given: Queue | QueueOptions): Queue {
    const made = this.#completed(isQueue(given) ? given : this.#fromOptions(given));
    this.#queues.set(made.name, made);
    this.#sentTo.delete(made.name);
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
    if (this.#selected !== null) return this.#selected;
    return new Map([...this.#queues].filter(([name]) => !this.#sentTo.has(name)));
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

  #completed(given: Queue): Queue {
    let made = given;
    if (made.exchange.name === "" && made.exchange.type === "direct") {
      made = { ...made, exchange: this.#defaults.exchange };
    }
    // A queue that is bound by no key has the default one, a broadcast too: Celery publishes to it by that.
    if (made.routingKey === "") made = { ...made, routingKey: this.#defaults.routingKey };
    const max = this.#defaults.maxPriority;
    if (max !== null && !("x-max-priority" in made.queueArguments)) {
      made = { ...made, queueArguments: { ...made.queueArguments, "x-max-priority": max } };
    }
    return made;
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
    refuseUnknown(given, QUEUE_NAMES, `queue "${name}" of task_queues`);
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
      exchange: withOwn(
        this.#exchange(given.exchange ?? (isBroadcast ? name : null), isBroadcast ? "fanout" : type),
        given,
      ),
      routingKey: isBroadcast ? "" : routingKey ?? (given.exchange ? name : this.#routingKeyOf(name)),
      durable: given.queue_durable ?? given.durable ?? !isBroadcast,
      exclusive: given.queue_exclusive ?? given.exclusive ?? false,
      autoDelete: given.queue_auto_delete ?? given.auto_delete ?? isBroadcast,
      noAck: given.no_ack ?? false,
      alias: given.alias ?? (isBroadcast ? name : null),
      queueArguments,
      bindingArguments: given.binding_arguments ?? {},
      consumerArguments: given.consumer_arguments ?? {},
      ...(given.no_declare ? { noDeclare: true } : {}),
      ...(isBroadcast && (given.queue_exclusive ?? given.exclusive) === undefined
        ? { isPersonal: true }
        : {}),
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
    refuseUnknown(given, EXCHANGE_NAMES, "an exchange of task_queues");
    const options = given as ExchangeOptions & Partial<Exchange>;
    return exchange(options.name ?? "", {
      type: type ?? exchangeType(options.type ?? "direct"),
      durable: options.durable ?? true,
      autoDelete: options.auto_delete ?? options.autoDelete ?? false,
      arguments: options.arguments ?? {},
      ...(options.no_declare ?? options.noDeclare ? { noDeclare: true } : {}),
    });
  }
}

/** An exchange with what a queue's options say of it alone. Source: kombu 5.2 entity.py Queue.from_dict. */
function withOwn(made: Exchange, given: QueueOptions): Exchange {
  const { exchange_durable, exchange_auto_delete, exchange_arguments } = given;
  return {
    ...made,
    durable: exchange_durable ?? made.durable,
    autoDelete: exchange_auto_delete ?? made.autoDelete,
    arguments: exchange_arguments ?? made.arguments,
  };
}

/** `task_queues` as a list; an object's keys are the names. */
export function listQueues(given: TaskQueues | null): (Queue | QueueOptions)[] {
  if (given === null) return [];
  if (Array.isArray(given)) return [...given as readonly (Queue | QueueOptions)[]];
  return Object.entries(given as Record<string, QueueOptions>).map(([name, one]) => ({ ...one, name }));
}
