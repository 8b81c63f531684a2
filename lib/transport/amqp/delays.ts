/**
 * Sets up native delayed delivery on a broker: the exchanges, queues and bindings of delay.ts.
 *
 * Source: protocol.md 3.5; celery 5.6.3 worker/consumer/delayed_delivery.py.
 */

import type { AmqpChannel } from "../../amqp/mod.ts";
import { type Clock, errorText, type Log } from "../../base/mod.ts";
import { type AmqpControl, declareExchange } from "./control.ts";
import {
  delayExchange,
  delayKey,
  delayLevels,
  deliveryExchange,
  deliveryKeys,
  entryExchange,
  isDelayable,
  parkedKey,
} from "./delay.ts";
import type { Queue } from "../entity.ts";

/** Options of `AmqpDelays`. */
export interface AmqpDelaysOptions {
  readonly queueType: "classic" | "quorum";
  /** The prefix of the names of exchanges and queues; "": none. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Delayed delivery on one connection. */
export class AmqpDelays {
  #control: AmqpControl;
  #options: AmqpDelaysOptions;
  #bound = new Set<string>();

  private constructor(control: AmqpControl, options: AmqpDelaysOptions) {
    this.#control = control;
    this.#options = options;
  }

  /**
   * Declares everything; idempotent. If the broker refuses, logs that and resolves with null: then workers
   * hold delayed tasks.
   */
  static async setUp(control: AmqpControl, options: AmqpDelaysOptions): Promise<AmqpDelays | null> {
    try {
      await control.run((channel) => declareLevels(channel, options));
    } catch (error) {
      options.log.warning(`Cannot set up native delayed delivery: ${errorText(error)}`);
      return null;
    }
    return new AmqpDelays(control, options);
  }

  /**
   * Binds a queue, once. `control` must belong to the connection that owns the queue, if it is exclusive.
   * Never rejects: a queue that cannot be bound is logged, so that the others are still bound.
   */
  async bind(queue: Queue, control: AmqpControl = this.#control): Promise<void> {
    if (this.#bound.has(queue.name) || !isDelayable(queue)) return;
    const delivery = deliveryExchange(this.#options.prefix);
    try {
      await control.run((channel) => bindQueue(channel, queue, delivery));
      this.#bound.add(queue.name);
    } catch (error) {
      this.#options.log.warning(`Cannot delay messages for queue "${queue.name}": ${errorText(error)}`);
    }
  }

  /**
   * Returns where a message is published to reach one queue at `dueMs`, wall clock; null if it cannot wait.
   */
  routeTo(queueName: string, dueMs: number): { exchange: string; routingKey: string } | null {
    return this.#bound.has(queueName) ? this.#wait(parkedKey(queueName), dueMs) : null;
  }

  /**
   * As `routeTo`, for a message that is routed by its key. Null for a direct exchange, which matches whole
   * keys only.
   */
  routeBy(
    queue: Queue,
    routingKey: string,
    dueMs: number,
  ): { exchange: string; routingKey: string } | null {
    if (!this.#bound.has(queue.name) || deliveryKeys(queue).routed === null) return null;
    return this.#wait(routingKey, dueMs);
  }

  #wait(key: string, dueMs: number): { exchange: string; routingKey: string } | null {
    const seconds = Math.floor((dueMs - this.#options.clock.wallMs()) / 1000);
    // The worker waits for the remaining fraction of a second.
    return seconds < 1 ? null : {
      exchange: entryExchange(this.#options.prefix),
      routingKey: delayKey(seconds, key),
    };
  }
}

async function declareLevels(channel: AmqpChannel, { queueType, prefix }: AmqpDelaysOptions): Promise<void> {
  const levels = delayLevels(queueType, prefix);
  const calls = [declareExchange(channel, delayExchange(deliveryExchange(prefix)))];
  for (const { name } of levels) calls.push(declareExchange(channel, delayExchange(name)));
  for (const { name, queueArguments, waitKey, passKey, next } of levels) {
    calls.push(
      call(channel, "queue.declare", { queue: name, durable: true, arguments: queueArguments }),
      call(channel, "queue.bind", { queue: name, exchange: name, "routing-key": waitKey }),
      call(channel, "exchange.bind", { destination: next, source: name, "routing-key": passKey }),
    );
  }
  // All calls leave in one write; the first error causes the others.
  const ended = await Promise.allSettled(calls);
  const failed = ended.find((one) => one.status === "rejected");
  if (failed) throw failed.reason;
}

async function bindQueue(channel: AmqpChannel, queue: Queue, delivery: string): Promise<void> {
  const { parked, routed } = deliveryKeys(queue);
  const { name, exchange } = queue;
  const calls = [
    call(channel, "queue.bind", { queue: name, exchange: delivery, "routing-key": parked }),
  ];
  if (routed !== null) {
    calls.push(
      call(channel, "exchange.bind", {
        destination: exchange.name,
        source: delivery,
        "routing-key": routed,
      }),
      call(channel, "queue.bind", { queue: name, exchange: exchange.name, "routing-key": routed }),
    );
  }
  const ended = await Promise.allSettled(calls);
  const failed = ended.find((one) => one.status === "rejected");
  if (failed) throw failed.reason;
}

async function call(channel: AmqpChannel, method: string, args: Record<string, unknown>): Promise<void> {
  await channel.call(method, args, `set up delayed delivery (${method})`);
}
