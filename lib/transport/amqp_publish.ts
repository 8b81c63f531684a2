/**
 * Publishing to AMQP: a channel with confirms, whole batches, and what becomes of a message that comes back.
 *
 * A task message to a queue that this connection has declared is sent `mandatory`: if the queue was deleted since, the
 * message comes back, the queue is declared again and the message sent again, once.
 *
 * Source: RabbitMQ "Consumer Acknowledgements and Publisher Confirms"; protocol.md 3.3.
 */

import type { AmqpChannel, AmqpConnection, AmqpMessage, ConfirmBatch } from "../amqp/mod.ts";
import { OperatingError, ServerError } from "../base/mod.ts";
import { toAmqpBody, toAmqpProperties } from "./amqp_message.ts";
import type { Queue } from "./entity.ts";
import type { OutgoingMessage } from "./transport.ts";

/** Bytes that may wait for the socket before a batch is appended. */
const OUTBOX_BYTES_MAX = 4 * 1024 * 1024;

/** What a publisher needs of its transport. */
export interface AmqpPublisherOptions {
  /** Whether a publish waits until the broker has taken it. */
  readonly confirms: boolean;
  /** A queue that this connection has declared; undefined: not one of ours. */
  queueOf(name: string): Queue | undefined;
  declare(queue: Queue): Promise<unknown>;
}

/** Publishes over one connection. */
export class AmqpPublisher {
  #connection: AmqpConnection;
  #options: AmqpPublisherOptions;
  #channel: Promise<AmqpChannel> | null = null;
  #opened: AmqpChannel | null = null;
  /** Batches that are not settled, oldest first. */
  #open = new Set<PublishBatch>();

  constructor(connection: AmqpConnection, options: AmqpPublisherOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** As Connection.publish. What can leave at once has left when this returns. */
  async publish(batch: readonly OutgoingMessage[]): Promise<void> {
    if (batch.length === 0) return;
    const channel = this.#isReady ? this.#opened! : await this.#ready();
    if (this.#options.confirms) return await this.#publishConfirmed(channel, batch);
    try {
      for (const one of batch) this.#append(channel, one, false);
    } finally {
      this.#leave(batch.length);
    }
    await this.#connection.drained(OUTBOX_BYTES_MAX / 4);
    if (channel.isLost) await this.#ready();
  }

  /** Somebody waits for just one. In a burst of them the write that is under way gathers the next. */
  #leave(count: number): void {
    if (count === 1) this.#connection.flush();
    else this.#connection.touch();
  }

  /** Whether `#ready` has nothing to wait for. */
  get #isReady(): boolean {
    const { blockedReason, outbox } = this.#connection;
    return blockedReason === null && outbox.length <= OUTBOX_BYTES_MAX && this.#opened?.isLost === false;
  }

  /** A channel to publish on, when the broker takes messages and the socket has taken what was sent. */
  async #ready(): Promise<AmqpChannel> {
    const connection = this.#connection;
    await connection.unblocked();
    await connection.drained(OUTBOX_BYTES_MAX);
    if (this.#opened?.isLost === false) return this.#opened;
    return await (this.#channel ??= this.#openChannel());
  }

  async #openChannel(): Promise<AmqpChannel> {
    try {
      const channel = await this.#connection.openChannel();
      if (this.#options.confirms) await channel.selectConfirms();
      channel.onReturn = (message) => this.#onReturn(message);
      return this.#opened = channel;
    } finally {
      this.#channel = null;
    }
  }

  #publishConfirmed(channel: AmqpChannel, batch: readonly OutgoingMessage[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const first = channel.confirms.next;
      let count = 0;
      let error: Error | null = null;
      const mandatory = new Set<string>();
      try {
        for (; count < batch.length; count++) this.#append(channel, batch[count]!, true, mandatory);
      } catch (thrown) {
        // What was appended before is on its way.
        error = thrown instanceof Error ? thrown : new OperatingError(String(thrown));
      }
      if (count === 0) return reject(error);
      this.#leave(count);
      const settle = (failure: Error | null): void => {
        if (error ?? failure) reject(error ?? failure);
        else resolve();
      };
      this.#expect(channel, first, first + count - 1, mandatory, settle);
    });
  }

  #expect(
    channel: AmqpChannel,
    first: number,
    last: number,
    mandatory: ReadonlySet<string>,
    settle: (failure: Error | null) => void,
  ): void {
    const batch = new PublishBatch(first, last, mandatory, (failure) => {
      this.#open.delete(batch);
      if (failure !== null || batch.returned.length === 0) return settle(failure);
      this.#again(batch.returned).then(() => settle(null), settle);
    });
    this.#open.add(batch);
    channel.confirms.expect(batch);
    this.#connection.waits();
  }

  #append(channel: AmqpChannel, out: OutgoingMessage, confirms: boolean, mandatory?: Set<string>): void {
    const { exchange, routingKey, message } = out;
    const isMandatory = confirms && exchange === "" && message.properties.deliveryMode === 2 &&
      this.#options.queueOf(routingKey) !== undefined;
    channel.append(
      { exchange, routingKey, mandatory: isMandatory },
      toAmqpProperties(message),
      toAmqpBody(message),
    );
    if (isMandatory) mandatory!.add(routingKey);
  }

  /** A message has come back: it belongs to the oldest open batch that sent to its queue. */
  #onReturn(message: AmqpMessage): void {
    const routingKey = message.call.args["routing-key"] as string;
    for (const batch of this.#open) {
      if (!batch.mandatory.has(routingKey)) continue;
      batch.returned.push(message);
      return;
    }
  }

  /** Declares the queues that are gone, and sends what came back once more. */
  async #again(returned: readonly AmqpMessage[]): Promise<void> {
    const names = new Set(returned.map(({ call }) => call.args["routing-key"] as string));
    for (const name of names) {
      const queue = this.#options.queueOf(name);
      if (queue === undefined) throw unroutable(returned[0]!);
      await this.#options.declare(queue);
    }
    const channel = await this.#ready();
    await new Promise<void>((resolve, reject) => {
      const first = channel.confirms.next;
      for (const { call, properties, body } of returned) {
        const routingKey = call.args["routing-key"] as string;
        channel.publish({ exchange: "", routingKey, mandatory: true }, properties!, body);
      }
      const batch = new PublishBatch(first, first + returned.length - 1, names, (failure) => {
        this.#open.delete(batch);
        const error = failure ?? (batch.returned.length > 0 ? unroutable(batch.returned[0]!) : null);
        if (error !== null) reject(error);
        else resolve();
      });
      this.#open.add(batch);
      channel.confirms.expect(batch);
    });
  }
}

/** One batch on its way. */
class PublishBatch implements ConfirmBatch {
  readonly first: number;
  readonly last: number;
  readonly refused: number[] = [];
  /** Queues that it must reach. */
  readonly mandatory: ReadonlySet<string>;
  readonly returned: AmqpMessage[] = [];
  #settle: (failure: Error | null) => void;

  constructor(
    first: number,
    last: number,
    mandatory: ReadonlySet<string>,
    settle: (failure: Error | null) => void,
  ) {
    this.first = first;
    this.last = last;
    this.mandatory = mandatory;
    this.#settle = settle;
  }

  onSettled(): void {
    const { refused, first, last } = this;
    if (refused.length === 0) return this.#settle(null);
    this.#settle(
      new OperatingError(
        `Cannot publish: the broker refused ${refused.length} of ${
          last - first + 1
        } messages (a full queue?)`,
        { isRetryable: true },
      ),
    );
  }

  onLost(error: Error): void {
    this.#settle(error);
  }
}

function unroutable(message: AmqpMessage): ServerError {
  const { args } = message.call;
  return new ServerError(
    `Cannot publish to queue "${args["routing-key"]}": ${args["reply-text"]} (${args["reply-code"]})`,
    { code: String(args["reply-code"]) },
  );
}
