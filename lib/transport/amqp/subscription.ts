/**
 * Receiving what nobody settles on AMQP: remote control, replies, events, rpc results.
 *
 * With `noAck` a message is gone once the broker has written it. Without, it is acknowledged when it was heard, and the
 * queue is there for the next connection of its process: declared without auto-delete, it goes when the subscription is
 * closed, or when nobody came back before its `x-expires`.
 */

import type { AmqpChannel, AmqpMessage } from "../../amqp/mod.ts";
import { ConnectionLost, errorText, type Log } from "../../base/mod.ts";
import { declareQueue } from "./control.ts";
import { fromAmqp, infoOf } from "./message.ts";
import type { AmqpServer } from "./server.ts";
import type { Queue } from "../entity.ts";
import type { Note } from "../message.ts";
import type { Subscription } from "../transport.ts";

/** What a subscription is opened with. */
export interface AmqpSubscriptionOptions {
  readonly queue: Queue;
  readonly server: AmqpServer;
  readonly log: Log;
  onNote(note: Note): void;
  onClosed(): void;
}

/** A consumer on a channel of its own. */
export class AmqpSubscription implements Subscription {
  #channel: AmqpChannel;
  #options: AmqpSubscriptionOptions;
  #queue: Queue;
  #tag: string | null = null;
  /** The delivery tag up to which all was heard, and is to be acknowledged. */
  #heard = 0;
  #closing: Promise<void> | null = null;

  private constructor(channel: AmqpChannel, options: AmqpSubscriptionOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#queue = options.queue.noAck ? options.queue : lasting(options.queue);
  }

  /** Declares the queue and begins. Rejects as the server says. */
  static async open(channel: AmqpChannel, options: AmqpSubscriptionOptions): Promise<AmqpSubscription> {
    const subscription = new AmqpSubscription(channel, options);
    try {
      await subscription.#start();
      channel.onLost = (error) => subscription.#onLost(error);
      return subscription;
    } catch (error) {
      await channel.close();
      throw error;
    }
  }

  /** Twice is once. A queue that is `autoDelete` goes with it. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    if (this.#tag !== null && !this.#channel.isLost) {
      await this.#end(this.#tag).catch(() => {
        // The channel is gone: so is the consumer.
      });
    }
    await this.#channel.close();
    this.#options.onClosed();
  }

  async #end(tag: string): Promise<void> {
    await this.#channel.cancel(tag);
    const { name, autoDelete } = this.#options.queue;
    if (!autoDelete || this.#queue.autoDelete) return;
    await this.#channel.call("queue.delete", { queue: name }, `delete queue "${name}"`);
  }

  async #start(): Promise<void> {
    const queue = this.#queue;
    await declareQueue(this.#channel, queue, this.#options.server);
    this.#tag = await this.#channel.consume(queue.name, {
      noAck: queue.noAck,
      arguments: queue.consumerArguments,
    }, {
      onMessage: (message) => this.#onMessage(message),
      onCancelled: () => this.#onCancelled(),
    });
  }

  #onMessage(received: AmqpMessage): void {
    const { queue, log, onNote } = this.#options;
    if (this.#closing !== null) return;
    if (!queue.noAck) this.#ackSoon(Number(received.call.args["delivery-tag"]));
    if (received.properties === null) {
      return log.warning(`Cannot read a message of queue "${queue.name}": ${errorText(received.error)}`);
    }
    onNote({ message: fromAmqp(received), info: infoOf(received, queue.name) });
  }

  /** What one chunk brought is acknowledged together, when it was heard. */
  #ackSoon(tag: number): void {
    const isPlanned = this.#heard > 0;
    this.#heard = tag;
    if (isPlanned) return;
    queueMicrotask(() => {
      this.#channel.ack(this.#heard, true);
      this.#heard = 0;
    });
  }

  /** The queue was deleted under us. */
  #onCancelled(): void {
    this.#tag = null;
    if (this.#closing !== null) return;
    this.#start().catch(() => {
      // That ended the channel, which tells of it.
    });
  }

  /** The channel is gone by itself, and nobody would hear: so the connection goes, and its owner makes another. */
  #onLost(error: Error): void {
    const { connection } = this.#channel;
    if (this.#closing !== null || connection.isLost) return;
    const why = `Lost the subscription to queue "${this.#queue.name}": ${errorText(error)}`;
    connection.fail(new ConnectionLost(why, { cause: error, isRetryable: true }));
  }
}

/** A queue that is there for the next connection. It is for one process: nothing is gained by replicas. */
function lasting(queue: Queue): Queue {
  return {
    ...queue,
    autoDelete: false,
    queueArguments: { ...queue.queueArguments, "x-queue-type": "classic" },
  };
}
