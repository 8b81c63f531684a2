/**
 * Publishing to AMQP: a channel with confirms, whole batches, and the handling of returned messages.
 *
 * A mandatory message that reaches no queue is returned (`basic.return`). The queues that it was meant for
 * are declared again and it is sent once more; if it is returned again, the publish rejects.
 *
 * RabbitMQ answers some messages (too large, or to an exchange that does not exist) by closing the channel,
 * which loses the messages sent after them. So the first message to an exchange, and a message larger than
 * all before it, are sent while nothing else is open on the channel: a refusal then affects only their
 * caller. If a channel with several open batches is closed, each of them is sent again alone.
 *
 * A token that expires before the next one comes makes a publish fail too. Then the login is renewed, and the
 * refused messages are sent once more.
 *
 * LavinMQ closes the channel too when its disk is nearly full, where RabbitMQ blocks the connection.
 * Publishers treat both alike: they wait, and unconfirmed messages are sent again.
 *
 * Source: RabbitMQ "Consumer Acknowledgements and Publisher Confirms"; protocol.md 3.3.
 */

import {
  type AmqpChannel,
  type AmqpConnection,
  type AmqpMessage,
  type ConfirmBatch,
  isLowOnDisk,
} from "../../amqp/mod.ts";
import { AccessRefused, type Log, OperatingError, ServerError } from "../../base/mod.ts";
import { toAmqpBody, toAmqpProperties } from "./message.ts";
import type { Queue } from "../entity.ts";
import { type OutgoingMessage, PublishError } from "../message.ts";

/** Bytes that may wait for the socket before a batch is appended. */
const OUTBOX_BYTES_MAX = 4 * 1024 * 1024;
/** Every broker accepts bodies up to this size. */
const SMALL_BODY_BYTES = 1024;
/** How long publishers wait for a broker that is low on disk space before one of them tries again, milliseconds. */
export const LOW_ON_DISK_MS = 1000;
/** The reason of that wait, for the log. */
export const LOW_ON_DISK = "low on disk space";
/** RabbitMQ's code for a message that reaches no queue. */
const NO_ROUTE = 312;

/** Options of `AmqpPublisher`. */
export interface AmqpPublisherOptions {
  /** Whether a publish waits for the broker's confirms. */
  readonly confirms: boolean;
  readonly log: Log;
  /** Returns the queues declared by this connection that a message may be meant for. */
  queuesOf(out: OutgoingMessage): Queue[];
  declare(queue: Queue): Promise<unknown>;
}

/** The retries that a refused batch has left. */
interface Retries {
  /** Returned messages are sent again after their queues are declared. */
  readonly mayReturn: boolean;
  /** A refused login is renewed. */
  readonly mayRenew: boolean;
}

const ALL_RETRIES: Retries = { mayReturn: true, mayRenew: true };

/** The part of a batch that is to be sent again. */
interface Rest {
  readonly messages: readonly OutgoingMessage[];
  readonly retries: Retries;
}

/** Publishes over one connection. */
export class AmqpPublisher {
  #connection: AmqpConnection;
  #options: AmqpPublisherOptions;
  #channel: Promise<AmqpChannel> | null = null;
  #opened: AmqpChannel | null = null;
  /** Batches that are not settled, oldest first; and the waiters for the moment without any. */
  #open = new Set<PublishBatch>();
  #idleWaiters: (() => void)[] = [];
  /** Batches that were open on a channel that has just been closed, with the callback of each. */
  #lost: [PublishBatch, (isShared: boolean) => void][] = [];
  /** Batches that wait for a channel. */
  #starting = 0;
  /** The end of the queue of publishes, kept while some must be sent alone; null: no queue. */
  #line: Promise<void> | null = null;
  /** What the broker has accepted so far: exchanges, and the largest body. */
  #provenExchanges = new Set([""]);
  #provenBytes = SMALL_BODY_BYTES;

  constructor(connection: AmqpConnection, options: AmqpPublisherOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** As `Connection.publish`. A batch that can leave at once has left when this returns. */
  async publish(batch: readonly OutgoingMessage[]): Promise<void> {
    if (batch.length === 0) return;
    if (!this.#options.confirms) return await this.#publishUnconfirmed(batch);
    if (this.#line !== null || !this.#isProven(batch)) {
      return await this.#publishInLine({ messages: batch, retries: ALL_RETRIES });
    }
    await this.#publishRest(await this.#publishConfirmed(batch, ALL_RETRIES));
  }

  async #publishUnconfirmed(batch: readonly OutgoingMessage[]): Promise<void> {
    const channel = this.#isReady ? this.#opened! : await this.#ready();
    try {
      for (const one of batch) append(channel, one);
    } finally {
      this.#leave(batch.length);
    }
    await this.#connection.drained(OUTBOX_BYTES_MAX / 4);
    if (channel.isLost) await this.#ready();
  }

  /**
   * Publishes in turn. A batch that is not proven, or `isAlone`, is sent while no other batch is open on the
   * channel.
   */
  async #publishInLine({ messages: batch, retries }: Rest, { isAlone = false } = {}): Promise<void> {
    const before = this.#line;
    const { promise: next, resolve: end } = Promise.withResolvers<void>();
    this.#line = next;
    await before;
    const mustBeAlone = isAlone || !this.#isProven(batch);
    if (mustBeAlone) await this.#idle();
    const publishing = this.#publishConfirmed(batch, retries);
    if (mustBeAlone) {
      // A refusal rejects below.
      await publishing.then(() => this.#prove(batch), () => {});
    }
    if (this.#line === next) this.#line = null;
    end();
    await this.#publishRest(await publishing);
  }

  async #publishRest(rest: Rest | null): Promise<void> {
    if (rest !== null) await this.#publishInLine(rest, { isAlone: true });
  }

  #isProven(batch: readonly OutgoingMessage[]): boolean {
    for (const { exchange, message } of batch) {
      if (message.body.length > this.#provenBytes || !this.#provenExchanges.has(exchange)) return false;
    }
    return true;
  }

  #prove(batch: readonly OutgoingMessage[]): void {
    for (const { exchange, message } of batch) {
      this.#provenExchanges.add(exchange);
      this.#provenBytes = Math.max(this.#provenBytes, message.body.length);
    }
  }

  /**
   * Writes a single message at once, since a caller waits for it. In a burst, the next messages collect
   * during that write.
   */
  #leave(count: number): void {
    if (count === 1) this.#connection.flush();
    else this.#connection.touch();
  }

  /** Whether `#ready` would not wait. */
  get #isReady(): boolean {
    const { blockedReason, outbox } = this.#connection;
    return blockedReason === null && outbox.length <= OUTBOX_BYTES_MAX && this.#opened?.isLost === false;
  }

  /**
   * Resolves with a channel to publish on, when the broker accepts messages and the socket has taken earlier
   * output.
   */
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
      else {
        channel.onLost = (error) => {
          if (isLowOnDisk(error)) this.#connection.hold(LOW_ON_DISK, LOW_ON_DISK_MS);
          if (!this.#connection.isLost) this.#options.log.error(error.message);
        };
      }
      channel.onReturn = (message) => this.#onReturn(message);
      return this.#opened = channel;
    } finally {
      this.#channel = null;
    }
  }

  /**
   * Publishes one batch. Resolves with null when it is done, or with the messages to send again alone: the
   * broker closed the channel for lack of disk space, for one of several batches, or for a login that is
   * renewed by now.
   */
  async #publishConfirmed(batch: readonly OutgoingMessage[], retries: Retries): Promise<Rest | null> {
    const { mayReturn, mayRenew } = retries;
    let channel = this.#opened!;
    if (!this.#isReady) {
      this.#starting++;
      try {
        channel = await this.#ready();
      } finally {
        this.#starting--;
        // Without a channel, no batch is opened below.
        queueMicrotask(() => this.#notifyIdle());
      }
    }
    return await new Promise((resolve, reject) => {
      const first = channel.confirms.next;
      let count = 0;
      let error: Error | null = null;
      try {
        for (; count < batch.length; count++) append(channel, batch[count]!);
      } catch (thrown) {
        // The messages appended before are sent.
        error = thrown instanceof Error ? thrown : new OperatingError(String(thrown));
      }
      if (count === 0) return reject(error);
      this.#leave(count);
      const open = new PublishBatch(first, count === batch.length ? batch : batch.slice(0, count), {
        onSettled: () => {
          this.#connection.taken();
          this.#close(open);
          this.#answer(open, mayReturn).then(() => error === null ? resolve(null) : reject(error), reject);
        },
        onLost: (failure, unanswered) => {
          const isFull = isLowOnDisk(failure);
          if (isFull) this.#connection.hold(LOW_ON_DISK, LOW_ON_DISK_MS);
          const messages = open.without(unanswered);
          this.#onLost(open, (isShared) => {
            if (error !== null || this.#connection.isLost) return reject(error ?? failure);
            const isRefusal = failure instanceof ServerError || failure instanceof AccessRefused;
            if (isFull || (isShared && isRefusal)) return resolve({ messages, retries });
            const { renewLogin } = this.#connection;
            if (!(failure instanceof AccessRefused) || !mayRenew || renewLogin === null) {
              return reject(failure);
            }
            renewLogin().then(
              () => resolve({ messages, retries: { mayReturn, mayRenew: false } }),
              reject,
            );
          });
        },
      });
      this.#open.add(open);
      channel.confirms.expect(open);
      this.#connection.waits();
    });
  }

  /** Resolves or rejects a batch by the broker's answers; sends returned messages again. */
  async #answer({ messages, refused, returned, first }: PublishBatch, mayReturn: boolean): Promise<void> {
    let failure: PublishError | null = null;
    if (refused.length > 0) {
      failure = new PublishError(
        `Cannot publish: the broker refused ${refused.length} of ${messages.length} messages (a full queue?)`,
        { unpublished: refused.map((number) => messages[number - first]!), isRetryable: true },
      );
    }
    if (returned.length > 0) {
      if (!mayReturn) throw unroutable(returned);
      await this.#again(returned);
    }
    if (failure !== null) throw failure;
  }

  /** Declares the missing queues, and sends returned messages once more. */
  async #again(returned: readonly OutgoingMessage[]): Promise<void> {
    const queues = new Set(returned.flatMap((out) => this.#options.queuesOf(out)));
    if (queues.size === 0) throw unroutable(returned);
    for (const queue of queues) await this.#options.declare(queue);
    await this.#publishRest(await this.#publishConfirmed(returned, { ...ALL_RETRIES, mayReturn: false }));
  }

  #close(batch: PublishBatch): void {
    this.#open.delete(batch);
    this.#notifyIdle();
  }

  /** Resolves when no batch is open, or about to be. */
  async #idle(): Promise<void> {
    while (this.#open.size + this.#starting > 0) {
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    }
  }

  #notifyIdle(): void {
    if (this.#open.size + this.#starting > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  /** Handles the loss of a batch's channel. `settle` gets whether other batches were open on it. */
  #onLost(batch: PublishBatch, settle: (isShared: boolean) => void): void {
    this.#lost.push([batch, settle]);
    if (this.#lost.length > 1) return;
    // By then all open batches have been reported lost.
    queueMicrotask(() => {
      const lost = this.#lost.splice(0);
      for (const [one] of lost) this.#open.delete(one);
      for (const [, settleOne] of lost) settleOne(lost.length > 1);
      this.#notifyIdle();
    });
  }

  /** Handles a returned message: it belongs to the oldest open batch that sent it. */
  #onReturn(message: AmqpMessage): void {
    for (const batch of this.#open) {
      const out = batch.messages.find((one) => !batch.returned.includes(one) && isReturned(one, message));
      if (out === undefined) continue;
      batch.returned.push(out);
      return;
    }
    const { args } = message.call;
    this.#options.log.error(unroutableText(args["exchange"] as string, args["routing-key"] as string));
  }
}

/** A batch that is not settled. */
class PublishBatch implements ConfirmBatch {
  readonly first: number;
  readonly last: number;
  readonly messages: readonly OutgoingMessage[];
  readonly refused: number[] = [];
  readonly returned: OutgoingMessage[] = [];
  readonly onSettled: () => void;
  readonly onLost: (error: Error, unanswered: readonly number[]) => void;

  constructor(
    first: number,
    messages: readonly OutgoingMessage[],
    events: { onSettled(): void; onLost(error: Error, unanswered: readonly number[]): void },
  ) {
    this.first = first;
    this.last = first + messages.length - 1;
    this.messages = messages;
    this.onSettled = events.onSettled;
    this.onLost = events.onLost;
  }

  /** Returns the messages that the broker has not accepted: those without an answer, refused or returned. */
  without(unanswered: readonly number[]): readonly OutgoingMessage[] {
    const open = new Set([...unanswered, ...this.refused]);
    return this.messages.filter((out, index) => open.has(this.first + index) || this.returned.includes(out));
  }
}

/** Whether a returned message is this one. */
export function isReturned(out: OutgoingMessage, { call: { args }, properties }: AmqpMessage): boolean {
  return out.routingKey === args["routing-key"] && out.exchange === args["exchange"] &&
    out.isMandatory === true && (out.message.properties.correlationId ?? null) === properties?.correlationId;
}

function append(
  channel: AmqpChannel,
  { exchange, routingKey, message, isMandatory = false }: OutgoingMessage,
): void {
  channel.append(
    { exchange, routingKey, mandatory: isMandatory },
    toAmqpProperties(message),
    toAmqpBody(message),
  );
}

function unroutable(returned: readonly OutgoingMessage[]): PublishError {
  const { exchange, routingKey } = returned[0]!;
  return new PublishError(unroutableText(exchange, routingKey), { unpublished: returned });
}

function unroutableText(exchange: string, routingKey: string): string {
  return exchange === ""
    ? `Cannot publish to queue "${routingKey}": there is no such queue (NO_ROUTE, ${NO_ROUTE})`
    : `Cannot publish to exchange "${exchange}": no queue is bound to it for routing key "${routingKey}" ` +
      `(NO_ROUTE, ${NO_ROUTE})`;
}
