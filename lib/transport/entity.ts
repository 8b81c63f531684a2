/** Exchanges and queues as Celery names them. Plain data; defaults are Celery's. */

/** What an exchange does with a message. */
export type ExchangeType = "direct" | "topic" | "fanout" | "headers";

/** An exchange. Name "" is the default exchange: the routing key is the queue's name. */
export interface Exchange {
  readonly name: string;
  readonly type: ExchangeType;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
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
  /** A name people use for it (`-Q alias`), or null. */
  readonly alias: string | null;
}

/** An exchange with Celery's defaults: direct, durable. */
export function exchange(name: string, options: Partial<Omit<Exchange, "name">> = {}): Exchange {
  return { name, type: "direct", durable: true, autoDelete: false, arguments: {}, ...options };
}

/** A queue with Celery's defaults: exchange and routing key named as the queue. */
export function queue(name: string, options: Partial<Omit<Queue, "name">> = {}): Queue {
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
