/**
 * Receiving without settlement on AMQP: remote control, replies, events, rpc results.
 *
 * With `noAck` the broker forgets a message once it has written it. Otherwise a message is acknowledged after
 * it was received, and the queue is kept for the next connection of the process: it is declared without
 * auto-delete, and is deleted when the subscription is closed, or by its `x-expires` if the process does not
 * return.
 */

import type { AmqpChannel, AmqpMessage } from "../../amqp/mod.ts";
import { ConnectionLost, errorText, type Log } from "../../base/mod.ts";
import { declareQueue } from "./control.ts";
import { fromAmqp, infoOf } from "./message.ts";
import type { AmqpServer } from "./server.ts";
import type { Queue } from "../entity.ts";
import type { Note } from "../message.ts";
import type { Subscription } from "../transport.ts";

/** Options of `AmqpSubscription.open`. */
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
  /** The delivery tag up to which received messages are to be acknowledged; 0: none. */
  #receivedTag = 0;
  #closing: Promise<void> | null = null;

  private constructor(channel: AmqpChannel, options: AmqpSubscriptionOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#queue = options.queue.noAck ? options.queue : lasting(options.queue);
  }

  /** Declares the queue and begins to receive. Rejects with the server's refusal. */
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

  /** Idempotent. An `autoDelete` queue is deleted. */
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

  /** Acknowledges the messages of one chunk together, after they were received. */
  #ackSoon(tag: number): void {
    const isPlanned = this.#receivedTag > 0;
    this.#receivedTag = tag;
    if (isPlanned) return;
    queueMicrotask(() => {
      this.#channel.ack(this.#receivedTag, true);
      this.#receivedTag = 0;
    });
  }

  /** Handles a queue that somebody deleted: declares and consumes it again. */
  #onCancelled(): void {
    this.#tag = null;
    if (this.#closing !== null) return;
    this.#start().catch(() => {
      // The error has ended the channel, and `#onLost` reports it.
    });
  }

  /**
   * Ends the connection if the channel alone is lost, which its owner would not notice: the owner connects
   * again.
   */
  #onLost(error: Error): void {
    const { connection } = this.#channel;
    if (this.#closing !== null || connection.isLost) return;
    const why = `Lost the subscription to queue "${this.#queue.name}": ${errorText(error)}`;
    connection.fail(new ConnectionLost(why, { cause: error, isRetryable: true }));
  }
}

/**
 * Returns a queue that is kept for the next connection. It is a classic queue: replicas are of no use to one
 * process.
 */
function lasting(queue: Queue): Queue {
  return {
    ...queue,
    autoDelete: false,
    queueArguments: { ...queue.queueArguments, "x-queue-type": "classic" },
  };
}
