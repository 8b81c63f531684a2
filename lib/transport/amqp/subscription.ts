/** Receiving without acknowledgement on AMQP: remote control, replies, events, rpc results. */

import type { AmqpChannel, AmqpMessage } from "../../amqp/mod.ts";
import { errorText, type Log } from "../../base/mod.ts";
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

/** A consumer with `no-ack` on a channel of its own. */
export class AmqpSubscription implements Subscription {
  #channel: AmqpChannel;
  #options: AmqpSubscriptionOptions;
  #tag: string | null = null;
  #closing: Promise<void> | null = null;

  private constructor(channel: AmqpChannel, options: AmqpSubscriptionOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  /** Declares the queue and begins. Rejects as the server says. */
  static async open(channel: AmqpChannel, options: AmqpSubscriptionOptions): Promise<AmqpSubscription> {
    const subscription = new AmqpSubscription(channel, options);
    try {
      await subscription.#start();
      return subscription;
    } catch (error) {
      await channel.close();
      throw error;
    }
  }

  /** Twice is once. A queue that is `autoDelete` goes with its last consumer. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    if (this.#tag !== null && !this.#channel.isLost) {
      await this.#channel.cancel(this.#tag).catch(() => {
        // The channel is gone: so is the consumer.
      });
    }
    await this.#channel.close();
    this.#options.onClosed();
  }

  async #start(): Promise<void> {
    const { queue, server } = this.#options;
    await declareQueue(this.#channel, queue, server);
    this.#tag = await this.#channel.consume(queue.name, {
      noAck: true,
      arguments: queue.consumerArguments,
    }, {
      onMessage: (message) => this.#onMessage(message),
      onCancelled: () => this.#onCancelled(),
    });
  }

  #onMessage(received: AmqpMessage): void {
    const { queue, log, onNote } = this.#options;
    if (this.#closing !== null) return;
    if (received.properties === null) {
      return log.warning(`Cannot read a message of queue "${queue.name}": ${errorText(received.error)}`);
    }
    onNote({ message: fromAmqp(received), info: infoOf(received, queue.name) });
  }

  /** The queue was deleted under us. */
  #onCancelled(): void {
    this.#tag = null;
    if (this.#closing !== null) return;
    this.#start().catch((error) => {
      if (this.#closing === null && !this.#channel.connection.isLost) {
        this.#options.log.warning(errorText(error));
      }
    });
  }
}
