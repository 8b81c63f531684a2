/** Exchanges and queues as Celery names them. Plain data; defaults are Celery's. */

import { namesOf, refuseUnknown } from "../base/mod.ts";

/** What an exchange does with a message. */
export type ExchangeType = "direct" | "topic" | "fanout" | "headers";

/** An exchange. Name "" is the default exchange: the routing key is the queue's name. */
export interface Exchange {
  readonly name: string;
  readonly type: ExchangeType;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** True: the exchange exists, and is used as it is. Absent: it is declared. */
  readonly noDeclare?: boolean;
}

/** A queue and its binding. Arguments keep AMQP's names (`x-max-priority`). */
export interface Queue {
  readonly name: string;
  readonly exchange: Exchange;
  readonly routingKey: string;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly noAck: boolean;
  readonly queueArguments: Readonly<Record<string, unknown>>;
  readonly bindingArguments: Readonly<Record<string, unknown>>;
  readonly consumerArguments: Readonly<Record<string, unknown>>;
  /** Another name that people use for it (`-Q alias`), or null. */
  readonly alias: string | null;
  /** True: the queue and its bindings exist, and are used as they are. Absent: they are declared. */
  readonly noDeclare?: boolean;
  /**
   * True: a single process consumes the queue, which may be deleted when that process ends. Brokers without
   * shared transient queues (RabbitMQ from 4.0 on, LavinMQ) then declare it exclusive, unless it is durable.
   */
  readonly isPersonal?: boolean;
}

/** A binding as `list bindings` shows it. */
export interface Binding {
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
}

const EXCHANGE_NAMES = namesOf<Omit<Exchange, "name">>({
  type: true,
  durable: true,
  autoDelete: true,
  arguments: true,
  noDeclare: true,
});

/**
 * Returns an exchange with Celery's defaults: direct, durable.
 *
 * @example
 * ```ts
 * import { exchange } from "lovage";
 *
 * const images = exchange("images", { type: "topic" });
 * ```
 *
 * @throws {UsageError} For an unknown option.
 */
export function exchange(name: string, options: Partial<Omit<Exchange, "name">> = {}): Exchange {
  refuseUnknown(options, EXCHANGE_NAMES, `exchange "${name}"`);
  return { name, type: "direct", durable: true, autoDelete: false, arguments: {}, ...options };
}

const QUEUE_NAMES = namesOf<Omit<Queue, "name">>({
  exchange: true,
  routingKey: true,
  durable: true,
  exclusive: true,
  autoDelete: true,
  noAck: true,
  queueArguments: true,
  bindingArguments: true,
  consumerArguments: true,
  alias: true,
  noDeclare: true,
  isPersonal: true,
});

/**
 * Returns a queue with Celery's defaults: durable, its exchange and routing key named after the queue.
 *
 * @example
 * ```ts
 * import { App, exchange, queue } from "lovage";
 *
 * const images = exchange("images", { type: "topic" });
 * const all = queue("images", { exchange: images, routingKey: "image.#" });
 * const app = new App("shop", { task_queues: [all] });
 * ```
 *
 * @throws {UsageError} For an unknown option.
 */
export function queue(name: string, options: Partial<Omit<Queue, "name">> = {}): Queue {
  refuseUnknown(options, QUEUE_NAMES, `queue "${name}"`);
  return {
    name,
    exchange: exchange(name),
    routingKey: name,
    durable: true,
    exclusive: false,
    autoDelete: false,
    noAck: false,
    queueArguments: {},
    bindingArguments: {},
    consumerArguments: {},
    alias: null,
    ...options,
  };
}
