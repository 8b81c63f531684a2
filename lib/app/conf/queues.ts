/**
 * The queues of an App: `task_queues`, queues created on first use, and which of them a worker consumes.
 *
 * Source: celery 5.2.6 app/amqp.py Queues (5.6.3 for queue types); kombu 5.2 entity.py Queue.from_dict,
 * Broadcast.
 */

import { isRecord, namesOf, nearest, refuseUnknown, UsageError } from "../../base/mod.ts";
import { type Exchange, exchange, type ExchangeType, type Queue, queue } from "../../transport/mod.ts";

/** An exchange as written in settings. */
export interface ExchangeOptions {
  /** Its name. */
  name?: string;
  /** direct, topic, fanout or headers. Default "direct". */
  type?: string;
  /** Survives a restart of the broker. Default true. */
  durable?: boolean;
  /** Deleted when its last queue is unbound. Default false. */
  auto_delete?: boolean;
  /** Arguments of the declaration. */
  arguments?: Record<string, unknown>;
  /** True: the exchange exists and is not declared. */
  no_declare?: boolean;
}

/** A queue as written in settings; the names are kombu's. */
export interface QueueOptions {
  /** Its name; required unless it is the key of an object. */
  name?: string;
  /** Its exchange: a name, options or an exchange. Default: `task_default_exchange`. */
  exchange?: string | ExchangeOptions | Exchange | null;
  /** Type of the exchange, if only its name is given. */
  exchange_type?: string | null;
  /** Key of the binding, and of messages. Default: the queue's name. */
  routing_key?: string | null;
  /** Another name of `routing_key`. */
  binding_key?: string | null;
  /** Survives a restart of the broker. Default true. */
  durable?: boolean;
  /** Used by one connection only. Default false. */
  exclusive?: boolean;
  /** Deleted when its last consumer has left. Default false. */
  auto_delete?: boolean;
  /** Messages count as acknowledged when delivered. Default false. */
  no_ack?: boolean;
  /** A second name for the queue. */
  alias?: string | null;
  /** Arguments of the declaration, such as `x-queue-type`. */
  queue_arguments?: Record<string, unknown> | null;
  /** Arguments of the binding. */
  binding_arguments?: Record<string, unknown> | null;
  /** Arguments of consumers. */
  consumer_arguments?: Record<string, unknown> | null;
  /** Seconds after which an unused queue is deleted. */
  expires?: number;
  /** Maximum seconds that a message waits. */
  message_ttl?: number;
  /** Maximum number of messages. */
  max_length?: number;
  /** Maximum total size of messages, bytes. */
  max_length_bytes?: number;
  /** Maximum priority of messages. */
  max_priority?: number;
  /** True: the queue and its bindings exist and are not declared. */
  no_declare?: boolean;
  /** Every consumer gets its own copy of every message (kombu's Broadcast). */
  broadcast?: boolean;
  /** kombu's names of options that apply to the queue alone, or to the exchange alone. */
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

/** The type of `task_queues`. */
export type TaskQueues = readonly (Queue | QueueOptions)[] | Readonly<Record<string, QueueOptions>>;

/** Defaults of new queues, from settings. */
export interface QueueDefaults {
  readonly exchange: Exchange;
  readonly routingKey: string;
  readonly createMissing: boolean;
  readonly missingType: "classic" | "quorum";
  readonly missingExchangeType: string | null;
  readonly maxPriority: number | null;
  /** Returns a new UUID, for names of broadcast queues. */
  newId(): string;
}

const EXCHANGE_TYPES: ReadonlySet<string> = new Set(["direct", "topic", "fanout", "headers"]);

/** Returns the type of an exchange. Throws UsageError for an unknown one. */
export function exchangeType(name: string): ExchangeType {
  if (!EXCHANGE_TYPES.has(name)) {
    throw new UsageError(`The type of an exchange must be direct, topic, fanout or headers, not "${name}"`);
  }
  return name as ExchangeType;
}

/** Returns true for a `Queue` of the transports, as opposed to options. */
export function isQueue(value: unknown): value is Queue {
  return isRecord(value) && isRecord(value.exchange) && typeof value.routingKey === "string" &&
    isRecord(value.queueArguments);
}

/** The queues by name. */
export class Queues {
  readonly #defaults: QueueDefaults;
  readonly #queues = new Map<string, Queue>();
  readonly #aliases = new Map<string, string>();
  /**
   * Names of queues that are known only because something is sent to them; a worker does not consume them.
   */
  readonly #sentTo = new Set<string>();
  #selected: Map<string, Queue> | null = null;

  constructor(defaults: QueueDefaults, given: readonly (Queue | QueueOptions)[]) {
    this.#defaults = defaults;
    for (const one of given) this.add(one);
  }

  /** Returns a queue by name or alias, or undefined. Creates nothing. */
  peek(name: string): Queue | undefined {
    return this.#queues.get(this.#aliases.get(name) ?? name);
  }

  /**
   * Returns a queue by name or alias, and creates a missing one if that is allowed; else throws `UsageError`.
   */
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

  /** Returns the queue that `get` would return, without adding it; null if `get` would throw. */
  wouldBe(name: string): Queue | null {
    return this.peek(name) ?? (this.#defaults.createMissing ? this.#completed(this.#missing(name)) : null);
  }

  has(name: string): boolean {
    return this.peek(name) !== undefined;
  }

  /** Adds a queue for sending. It is not consumed, unless it is known as a queue to consume. */
  addSentTo(given: Queue | QueueOptions): Queue {
    const isNew = !this.#queues.has(given.name ?? "");
    const made = this.add(given);
    if (isNew) this.#sentTo.add(made.name);
    return made;
  }

  /** Adds a queue, completed by the defaults. It replaces a queue of the same name. */
  add(given: Queue | QueueOptions): Queue {
    const made = this.#completed(isQueue(given) ? given : this.#fromOptions(given));
    this.#queues.set(made.name, made);
    this.#sentTo.delete(made.name);
    if (made.alias) this.#aliases.set(made.alias, made.name);
    return made;
  }

  /** Adds a queue and consumes it, even if a subset was selected. */
  selectAdd(given: Queue | QueueOptions): Queue {
    const made = this.add(given);
    this.#selected?.set(made.name, made);
    return made;
  }

  /** Consumes only these queues (`-Q`). Missing ones are created, or refused with `UsageError`. */
  select(names: readonly string[]): void {
    if (names.length === 0) return;
    const chosen = names.map((name) => this.get(name));
    this.#selected = new Map(chosen.map((one) => [one.name, one]));
  }

  /** Stops consuming these queues (`-X`, `cancel_consumer`). */
  deselect(names: readonly string[]): void {
    if (names.length === 0) return;
    const left = new Map(this.consumeFrom);
    for (const name of names) left.delete(this.#aliases.get(name) ?? name);
    this.#selected = left;
  }

  /** The queues that a worker consumes. */
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
    // A queue without a binding key gets the default one, even a broadcast: Celery publishes with it.
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

  /** A queue without a routing key is bound by its name. Source: app/amqp.py Queues.add_compat. */
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

/**
 * Applies the options of a queue that concern only its exchange. Source: kombu 5.2 entity.py Queue.from_dict.
 */
function withOwn(made: Exchange, given: QueueOptions): Exchange {
  const { exchange_durable, exchange_auto_delete, exchange_arguments } = given;
  return {
    ...made,
    durable: exchange_durable ?? made.durable,
    autoDelete: exchange_auto_delete ?? made.autoDelete,
    arguments: exchange_arguments ?? made.arguments,
  };
}

/** Returns `task_queues` as a list; the keys of an object are the names. */
export function listQueues(given: TaskQueues | null): (Queue | QueueOptions)[] {
  if (given === null) return [];
  if (Array.isArray(given)) return [...given as readonly (Queue | QueueOptions)[]];
  return Object.entries(given as Record<string, QueueOptions>).map(([name, one]) => ({ ...one, name }));
}
