/**
 * Publishing to AMQP: a channel with confirms, whole batches, and what becomes of a message that comes back.
 *
 * A mandatory message that reaches no queue comes back (`basic.return`). The queues that it was meant for are declared
 * again, it is sent once more, and if it comes back again that is the caller's error.
 *
 * RabbitMQ answers some messages (larger than it accepts, to an exchange that is not there) by closing the channel, and
 * what was sent behind them is gone. So the first message to an exchange, and one that is larger than all before, is
 * sent while nothing else is open on the channel: its refusal is its caller's alone. If a channel is closed although
 * several batches are open, each of them is sent again by itself.
 *
 * A token that has expired before the next one came has a publish refused too. Then the login is renewed, and what was
 * refused is sent once more.
 *
 * LavinMQ closes the channel too when its disk is nearly full, where RabbitMQ blocks the connection. Both mean the same
 * to publishers: they wait, and what the broker had not confirmed is sent again.
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
/** Bodies up to this are taken by every broker. */
const SMALL_BODY_BYTES = 1024;
/** How long publishers wait for a broker that is low on disk space before one of them tries again, milliseconds. */
export const LOW_ON_DISK_MS = 1000;
/** Why they wait, as the log says it. */
export const LOW_ON_DISK = "low on disk space";
/** RabbitMQ's code for a message that reaches no queue. */
const NO_ROUTE = 312;

/** What a publisher needs of its transport. */
export interface AmqpPublisherOptions {
  /** Whether a publish waits until the broker has taken it. */
  readonly confirms: boolean;
  readonly log: Log;
  /** The queues that this connection has declared and that a message may be meant for. */
  queuesOf(out: OutgoingMessage): Queue[];
  declare(queue: Queue): Promise<unknown>;
}

/** What a batch that was refused may still do. */
interface Chances {
  /** What comes back is sent again, once its queues are declared anew. */
  readonly mayReturn: boolean;
  /** A refused login is renewed. */
  readonly mayRenew: boolean;
}

const ALL_CHANCES: Chances = { mayReturn: true, mayRenew: true };

/** What of a batch is to be sent again. */
interface Rest {
  readonly messages: readonly OutgoingMessage[];
  readonly chances: Chances;
}

/** Publishes over one connection. */
export class AmqpPublisher {
  #connection: AmqpConnection;
  #options: AmqpPublisherOptions;
  #channel: Promise<AmqpChannel> | null = null;
  #opened: AmqpChannel | null = null;
  /** Batches that are not settled, oldest first; and who waits until there are none. */
  #open = new Set<PublishBatch>();
  #idleWaiters: (() => void)[] = [];
  /** Batches that were open on a channel that has just been closed, and how each goes on. */
  #lost: [PublishBatch, (isShared: boolean) => void][] = [];
  /** Batches that wait for a channel. */
  #starting = 0;
  /** The end of the line of publishes of which some must be sent alone; null: no line. */
  #line: Promise<void> | null = null;
  /** What the broker has taken: exchanges, and the largest body. */
  #provenExchanges = new Set([""]);
  #provenBytes = SMALL_BODY_BYTES;

  constructor(connection: AmqpConnection, options: AmqpPublisherOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** As Connection.publish. What can leave at once has left when this returns. */
  async publish(batch: readonly OutgoingMessage[]): Promise<void> {
    if (batch.length === 0) return;
    if (!this.#options.confirms) return await this.#publishUnconfirmed(batch);
    if (this.#line !== null || !this.#isProven(batch)) {
      return await this.#publishInLine({ messages: batch, chances: ALL_CHANCES });
    }
    await this.#publishRest(await this.#publishConfirmed(batch, ALL_CHANCES));
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

  /** Publishes in turn; a batch that is not proven, or `isAlone`, while no other one is open on the channel. */
  async #publishInLine({ messages: batch, chances }: Rest, { isAlone = false } = {}): Promise<void> {
    const before = this.#line;
    const { promise: next, resolve: end } = Promise.withResolvers<void>();
    this.#line = next;
    await before;
    const mustBeAlone = isAlone || !this.#isProven(batch);
    if (mustBeAlone) await this.#idle();
    const publishing = this.#publishConfirmed(batch, chances);
    if (mustBeAlone) {
      // A refusal is told below.
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
   * Publishes one batch. Null: done. Else the broker has closed the channel for want of room, for one of several
   * batches or for a login that is renewed by now, and these are to be sent again by themselves.
   */
  async #publishConfirmed(batch: readonly OutgoingMessage[], chances: Chances): Promise<Rest | null> {
    const { mayReturn, mayRenew } = chances;
    let channel = this.#opened!;
    if (!this.#isReady) {
      this.#starting++;
      try {
        channel = await this.#ready();
      } finally {
        this.#starting--;
        // Without a channel nothing is opened below.
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
        // What was appended before is on its way.
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
            if (isFull || (isShared && isRefusal)) return resolve({ messages, chances });
            const { renewLogin } = this.#connection;
            if (!(failure instanceof AccessRefused) || !mayRenew || renewLogin === null) {
              return reject(failure);
            }
            renewLogin().then(
              () => resolve({ messages, chances: { mayReturn, mayRenew: false } }),
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

  /** What the broker's answers to a batch mean for its caller. */
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

  /** Declares the queues that are gone, and sends what came back once more. */
  async #again(returned: readonly OutgoingMessage[]): Promise<void> {
    const queues = new Set(returned.flatMap((out) => this.#options.queuesOf(out)));
    if (queues.size === 0) throw unroutable(returned);
    for (const queue of queues) await this.#options.declare(queue);
    await this.#publishRest(await this.#publishConfirmed(returned, { ...ALL_CHANCES, mayReturn: false }));
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

  /** The channel of a batch is gone. `settle` is told whether other batches were open on it. */
  #onLost(batch: PublishBatch, settle: (isShared: boolean) => void): void {
    this.#lost.push([batch, settle]);
    if (this.#lost.length > 1) return;
    // By then all that were open have been told.
    queueMicrotask(() => {
      const lost = this.#lost.splice(0);
      for (const [one] of lost) this.#open.delete(one);
      for (const [, settleOne] of lost) settleOne(lost.length > 1);
      this.#notifyIdle();
    });
  }

  /** A message has come back: it belongs to the oldest open batch that sent it. */
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

/** One batch on its way. */
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

  /** What the broker has not taken, if these numbers had no answer: refused and returned messages among it. */
  without(unanswered: readonly number[]): readonly OutgoingMessage[] {
    const open = new Set([...unanswered, ...this.refused]);
    return this.messages.filter((out, index) => open.has(this.first + index) || this.returned.includes(out));
  }
}

/** Whether a message that came back is this one. */
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
