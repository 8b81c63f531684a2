/**
 * Native delayed delivery, set up on a broker: exchanges, queues and bindings of delay.ts.
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

/** What is set up for whom. */
export interface AmqpDelaysOptions {
  readonly queueType: "classic" | "quorum";
  /** What the names of exchanges and queues begin with; "": nothing. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The delays of one connection. */
export class AmqpDelays {
  #control: AmqpControl;
  #options: AmqpDelaysOptions;
  #bound = new Set<string>();

  private constructor(control: AmqpControl, options: AmqpDelaysOptions) {
    this.#control = control;
    this.#options = options;
  }

  /**
   * Declares everything, again is not an error; null, with a line in the log, if the broker refuses: delayed tasks are
   * then held by the worker.
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
   * Binds a queue, once; `control` is of the connection that may: that of an exclusive queue. Never rejects: one that
   * cannot be bound does not keep the others from it.
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

  /** Where a message waits until `dueMs`, wall clock, to go into one queue; null if it cannot. */
  way(queueName: string, dueMs: number): { exchange: string; routingKey: string } | null {
    return this.#bound.has(queueName) ? this.#wait(parkedKey(queueName), dueMs) : null;
  }

  /** The same to go the way of its routing key; a direct exchange knows only whole keys, and cannot. */
  routedWay(
    queue: Queue,
    routingKey: string,
    dueMs: number,
  ): { exchange: string; routingKey: string } | null {
    if (!this.#bound.has(queue.name) || deliveryKeys(queue).routed === null) return null;
    return this.#wait(routingKey, dueMs);
  }

  #wait(key: string, dueMs: number): { exchange: string; routingKey: string } | null {
    const seconds = Math.floor((dueMs - this.#options.clock.wallMs()) / 1000);
    // The rest of a second is waited for in the worker.
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
  // All leave in one write; the first error is the cause of the others.
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
