/**
 * The data lane of one worker on AMQP: deliveries in batches, acks combined, prefetch that follows the window.
 *
 * The broker pushes up to the prefetch count; the owner's window may be smaller at any moment (it changes with every
 * outcome), so what comes beyond it waits here, unsettled, until `wake`. Acks of a turn leave as one `multiple` where
 * nothing older is open.
 *
 * A quorum queue counts how often it got a message back, and drops it at a limit. What comes back from here does not
 * reach that limit: shortly before it a copy is published, whose count begins anew.
 *
 * Source: AMQP 0-9-1 specification 1.8.3; RabbitMQ "Consumer Prefetch"; protocol.md 3.4, 3.6.
 */

import type { AmqpChannel, AmqpMessage } from "../../amqp/mod.ts";
import { assert, type Clock, ConnectionLost, errorText, type Log, type World } from "../../base/mod.ts";
import { declareQueue } from "./control.ts";
import { deadMessage } from "./dead.ts";
import { AmqpDelivery, bodyText } from "./message.ts";
import { AmqpPrefetch } from "./prefetch.ts";
import type { AmqpServer } from "./server.ts";
import type { Queue } from "../entity.ts";
import type { ConsumeOptions, Consumer, ConsumerEvents } from "../transport.ts";
import type { Delivery, OutgoingMessage } from "../message.ts";

/** What a consumer is opened with. */
export interface AmqpConsumerOptions {
  readonly consume: ConsumeOptions;
  readonly events: ConsumerEvents;
  readonly server: AmqpServer;
  /** Prefetch is counted per consumer: a quorum queue is among them, or the broker has no other way. */
  readonly isPerConsumer: boolean;
  /** Publishes a message that leaves this consumer's hands: parked, dead-lettered. */
  publish(batch: readonly OutgoingMessage[]): Promise<void>;
  /** Where a message waits until a time; null: it cannot. */
  delayed(queue: string, dueMs: number): { exchange: string; routingKey: string } | null;
  /** Declares the queue of dead letters; its name. */
  deadLetters(): Promise<string>;
  /** Hears of each queue that is consumed from later. */
  onQueue(queue: Queue): Promise<void>;
  onClosed(): void;
}

/** A queue that is consumed. */
interface Source {
  readonly queue: Queue;
  /** How often its broker gives a message out again at most. */
  readonly limit: number;
  /** Null while paused or starting. */
  tag: string | null;
  /** Its consumer was cancelled by us; a queue that deletes itself is gone. */
  isLeft: boolean;
}

const UNDECODABLE_BYTES_MAX = 64 * 1024;
/** How long a message that could not be moved waits before the broker gets it back, milliseconds. */
const MOVE_RETRY_MS = 1000;

/** A Consumer on AMQP. Tags are the channel's delivery tags. */
export class AmqpConsumer implements Consumer {
  #world: World;
  #clock: Clock;
  #log: Log;
  #options: AmqpConsumerOptions;
  #channel: AmqpChannel;
  #sources: Source[] = [];
  /** Unsettled deliveries by tag, oldest first; those in the backlog and those being moved among them. */
  #held = new Map<number, AmqpDelivery | null>();
  /** Deliveries of queues with `noAck`, until their owner settles them: the broker has forgotten them. */
  #free = new Set<number>();
  #nextFree = -1;
  #acked: number[] = [];
  #batch: Delivery[] = [];
  /** Received and not handed on: the window was full. */
  #backlog: Delivery[] = [];
  /** Parked and dead-lettered: their copies are on the way. */
  #moving = new Map<number, Promise<void>>();
  #prefetch: AmqpPrefetch;
  #isStarted = false;
  #isPaused = false;
  #nextConsumer = 0;
  #isClosing = false;
  #isLost = false;
  #isClosed = false;
  #closing: Promise<number> | null = null;

  private constructor(world: World, channel: AmqpChannel, options: AmqpConsumerOptions) {
    this.#world = world;
    this.#clock = world.clock;
    this.#log = world.log;
    this.#channel = channel;
    this.#options = options;
    this.#prefetch = new AmqpPrefetch({
      clock: this.#clock,
      channel,
      isPerConsumer: options.isPerConsumer,
      restart: (before) => this.#restart(before),
      onFailed: (error) => this.#failed(error),
    });
    channel.onLost = (error) => this.fail(error);
    const { connection } = channel;
    connection.afterRead = () => this.#onRead();
    connection.beforeWrite = () => this.#onWrite();
  }

  /** Begins to consume, once the window is open. Rejects as the server says. */
  static async open(world: World, channel: AmqpChannel, options: AmqpConsumerOptions): Promise<AmqpConsumer> {
    const consumer = new AmqpConsumer(world, channel, options);
    for (const queue of options.consume.queues) consumer.#sources.push(consumer.#sourceOf(queue));
    if (options.consume.window() > 0) await consumer.#start();
    return consumer;
  }

  get queues(): readonly Queue[] {
    return this.#sources.map(({ queue }) => queue);
  }

  get unsettled(): number {
    return this.#held.size + this.#free.size - this.#backlog.length - this.#batch.length - this.#moving.size;
  }

  async addQueue(queue: Queue): Promise<void> {
    if (this.#sources.some(({ queue: { name } }) => name === queue.name)) return;
    const source = this.#sourceOf(queue);
    this.#sources.push(source);
    await this.#options.onQueue(queue);
    await this.#prefetch.idle;
    if (this.#isStarted && !this.#isPaused) await this.#consume(source);
  }

  async cancelQueue(name: string): Promise<void> {
    const source = this.#sources.find(({ queue }) => queue.name === name);
    if (source === undefined) return;
    this.#sources = this.#sources.filter((one) => one !== source);
    await this.#prefetch.idle;
    if (source.tag !== null) await this.#channel.cancel(source.tag);
    source.tag = null;
  }

  wake(): void {
    if (!this.#isStarted) this.#startLate();
    this.#channel.connection.touch();
  }

  ack(tag: number | string): void {
    if (this.#release(tag as number)) this.#acked.push(tag as number);
    this.#channel.connection.touch();
  }

  reject(tag: number | string, how: "drop" | "requeue" | "restore"): void {
    const delivery = how === "drop" ? null : this.#held.get(tag as number) ?? null;
    if (delivery !== null && delivery.isNearLimit) this.#sendAgain(delivery);
    else this.#giveBack(tag as number, how);
  }

  park(tag: number | string, dueMs: number): boolean {
    const delivery = this.#held.get(tag as number);
    if (delivery === undefined || delivery === null) return false;
    const way = this.#options.delayed(delivery.queue, dueMs);
    if (way === null) return false;
    const { message } = delivery;
    // How long it may live is in its headers; here it would end the wait too soon.
    const properties = { ...message.properties, expiration: null };
    this.#move(delivery, { ...way, message: { ...message, properties }, isMandatory: true });
    return true;
  }

  deadLetter(tag: number | string, reason: string): boolean {
    const delivery = this.#held.get(tag as number);
    if (delivery === undefined || delivery === null) return false;
    const source = this.#sources.find(({ queue }) => queue.name === delivery.queue);
    if (source !== undefined && "x-dead-letter-exchange" in source.queue.queueArguments) {
      this.reject(tag, "drop");
      return true;
    }
    const message = deadMessage(this.#world, delivery.message, delivery.queue, reason);
    const outgoing = this.#options.deadLetters().then((routingKey) => ({
      exchange: "",
      routingKey,
      message,
      isMandatory: true,
    }));
    this.#move(delivery, outgoing);
    return true;
  }

  setPrefetch(count: number): void {
    if (this.#isStarted && !this.#options.isPerConsumer) this.#prefetch.set(count);
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#prefetch.idle;
    await this.#cancelAll();
    const waiting = this.#backlog;
    this.#backlog = [];
    for (const { tag } of waiting) this.reject(tag, "restore");
  }

  resume(): void {
    if (this.#isClosing || !this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isStarted) this.#consumeAll().catch((error) => this.#failed(error));
    else this.#startLate();
    this.#channel.connection.touch();
  }

  async flush(): Promise<void> {
    await Promise.all(this.#moving.values());
    this.#writeAcks();
    if (this.#channel.isLost) return;
    // Answers of a channel come in order: this one comes after every settlement before it was looked at.
    await this.#channel.call("basic.qos", this.#prefetch.args, "wait for the broker").catch(
      (error: unknown) => {
        if (!this.#channel.isLost) throw error;
      },
    );
  }

  /** The channel or its connection is gone. What is held comes back to the queues by itself. */
  fail(error: Error): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#prefetch.stop();
    if (this.#isClosing) return;
    if (/delivery acknowledgement on channel \d+ timed out/.test(error.message)) {
      this.#log.warning(ACK_TIMEOUT);
    }
    this.#options.events.onLost(error);
  }

  close(): Promise<number> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<number> {
    this.#isClosing = true;
    this.#prefetch.stop();
    if (!this.#channel.isLost) {
      this.#isPaused = true;
      await this.#prefetch.idle;
      await this.#cancelAll().catch(() => {
        // The channel is gone: so are its consumers.
      });
      for (const delivery of this.#held.values()) {
        if (delivery?.isNearLimit && !this.#moving.has(delivery.tag)) this.#sendAgain(delivery);
      }
      await Promise.all(this.#moving.values());
      this.#writeAcks();
    }
    const count = this.#isLost || this.#channel.isLost ? 0 : this.#held.size;
    // What is unacknowledged goes back to its old place. Left to the closing, RabbitMQ would see to it when it notices
    // that the channel has died, after it has answered; queues whose consumers were cancelled are not told before.
    if (this.#held.size > 0) {
      this.#channel.send("basic.nack", { "delivery-tag": 0, multiple: true, requeue: true });
    }
    await this.#channel.close();
    const { connection } = this.#channel;
    connection.afterRead = connection.beforeWrite = null;
    this.#isClosed = true;
    this.#held.clear();
    this.#free.clear();
    this.#backlog = [];
    this.#options.onClosed();
    return count;
  }

  #sourceOf(queue: Queue): Source {
    return { queue, limit: this.#options.server.deliveryLimit(queue), tag: null, isLeft: false };
  }

  #giveBack(tag: number, how: "drop" | "requeue" | "restore"): void {
    if (!this.#release(tag)) return;
    // The server puts it back where it was, or as near to the head as it can. RabbitMQ 4.3 counts a reject as a failure
    // and a nack as none.
    if (how === "restore") this.#channel.send("basic.nack", { "delivery-tag": tag, requeue: true });
    else this.#channel.send("basic.reject", { "delivery-tag": tag, requeue: how === "requeue" });
  }

  /** Puts a copy into the delivery's queue, whose count begins anew: given back once more, the broker would drop it. */
  #sendAgain(delivery: AmqpDelivery): void {
    const { queue, message } = delivery;
    this.#move(delivery, { exchange: "", routingKey: queue, message, isMandatory: true });
  }

  /** Forgets a delivery; false if the broker need not be told. */
  #release(tag: number): boolean {
    if (this.#isClosed || this.#free.delete(tag)) return false;
    assert(!this.#moving.has(tag) && this.#held.delete(tag), "a delivery is settled once");
    return true;
  }

  #startLate(): void {
    if (this.#isStarted || this.#isPaused || this.#isClosing || this.#options.consume.window() <= 0) return;
    this.#start().catch((error) => this.#failed(error));
  }

  async #start(): Promise<void> {
    this.#isStarted = true;
    this.#prefetch.set(this.#options.consume.window());
    await this.#consumeAll();
  }

  async #consumeAll(): Promise<void> {
    await Promise.all(this.#sources.map((source) => this.#consume(source)));
  }

  async #consume(source: Source): Promise<void> {
    const { queue } = source;
    if (source.tag !== null) return;
    const tag = source.tag = `lovage-${++this.#nextConsumer}`;
    // A pause was its last consumer's end.
    if (queue.autoDelete && source.isLeft) await declareQueue(this.#channel, queue, this.#options.server);
    source.isLeft = false;
    await this.#channel.consume(queue.name, {
      tag,
      noAck: queue.noAck,
      arguments: queue.consumerArguments,
    }, {
      onMessage: (message) => this.#onMessage(source, message),
      onCancelled: () => source.tag === tag ? this.#onCancelled(source) : undefined,
    });
  }

  /** Puts new consumers in the place of those that run: a queue that deletes itself must never be without one. */
  async #restart(before: () => void): Promise<void> {
    before();
    await Promise.all(this.#sources.map(async (source) => {
      const { tag } = source;
      source.tag = null;
      await this.#consume(source);
      if (tag !== null) await this.#channel.cancel(tag);
    }));
  }

  async #cancelAll(): Promise<void> {
    await Promise.all(this.#sources.map(async (source) => {
      if (source.tag !== null) await this.#channel.cancel(source.tag);
      source.tag = null;
      source.isLeft = true;
    }));
  }

  /** The server has ended a consumer: its queue was deleted, or its node has gone. It is declared and consumed anew. */
  #onCancelled(source: Source): void {
    source.tag = null;
    if (this.#isClosing || !this.#sources.includes(source)) return;
    this.#log.warning(`consumer: The broker has cancelled queue "${source.queue.name}": consuming anew`);
    declareQueue(this.#channel, source.queue, this.#options.server).then(
      () => this.#isPaused || this.#isClosing ? undefined : this.#consume(source),
    ).catch((error) => this.#failed(error));
  }

  /** Data lane: one message. */
  #onMessage(source: Source, received: AmqpMessage): void {
    const isFree = source.queue.noAck;
    const tag = isFree ? this.#nextFree-- : Number(received.call.args["delivery-tag"]);
    const delivery = received.properties === null
      ? null
      : new AmqpDelivery(tag, source.queue.name, received, source.limit);
    if (isFree) this.#free.add(tag);
    else this.#held.set(tag, delivery);
    if (delivery === null) this.#onUndecodable(source, tag, received);
    else this.#batch.push(delivery);
  }

  #onUndecodable(source: Source, tag: number, received: AmqpMessage): void {
    if (this.#isClosing) return;
    this.#options.events.onUndecodable({
      tag,
      queue: source.queue.name,
      text: bodyText(received.body.slice(0, UNDECODABLE_BYTES_MAX)),
      reason: errorText(received.error),
    });
  }

  /** Data lane: per chunk that was read. */
  #onRead(): void {
    if (this.#batch.length === 0) return;
    this.#handOn();
    // Nothing may be written for it before the tasks have run.
    if (this.#options.isPerConsumer && !this.#isPaused && !this.#isClosing) this.#followWindow();
  }

  /** Data lane: per write. */
  #onWrite(): void {
    if (this.#isClosed || this.#isLost) return;
    if (this.#backlog.length > 0) this.#handOn();
    this.#writeAcks();
    if (this.#isStarted && !this.#isPaused) this.#followWindow();
  }

  /** Hands on what the window has room for, oldest first; the rest waits. */
  #handOn(): void {
    while (true) {
      let waiting = this.#batch;
      this.#batch = [];
      if (this.#backlog.length > 0) waiting = this.#backlog.concat(waiting);
      this.#backlog = waiting;
      if (waiting.length === 0 || this.#isClosing || this.#isPaused) return;
      const room = this.#options.consume.window();
      if (room <= 0) return;
      this.#backlog = waiting.length <= room ? [] : waiting.slice(room);
      this.#options.events.onDeliveries(waiting.length <= room ? waiting : waiting.slice(0, room));
    }
  }

  /** Acks of this turn: one `multiple` for all below the oldest open delivery, the others one by one. */
  #writeAcks(): void {
    const acked = this.#acked;
    if (acked.length === 0) return;
    this.#acked = [];
    let oldest = Infinity;
    for (const tag of this.#held.keys()) {
      oldest = tag;
      break;
    }
    let upTo = 0;
    let count = 0;
    for (let i = 0; i < acked.length; i++) {
      const tag = acked[i]!;
      if (tag > oldest) this.#channel.ack(tag, false);
      else {
        count++;
        if (tag > upTo) upTo = tag;
      }
    }
    if (count > 0) this.#channel.ack(upTo, count > 1);
  }

  #followWindow(): void {
    this.#prefetch.follow(this.#options.consume.window(), this.unsettled, this.#held.size);
  }

  /** Sends a copy elsewhere; the delivery is acknowledged when the broker has the copy, else given back. */
  #move(delivery: AmqpDelivery, outgoing: OutgoingMessage | Promise<OutgoingMessage>): void {
    const { tag } = delivery;
    assert(!this.#moving.has(tag), "a delivery is settled once");
    const moving = Promise.resolve(outgoing).then((out) => this.#options.publish([out])).then(() => {
      this.#moving.delete(tag);
      this.ack(tag);
    }, async (error) => {
      this.#log.warning(`Cannot move a message of queue "${delivery.queue}": ${errorText(error)}`);
      if (!this.#isClosing && !this.#isLost) await this.#clock.sleep(MOVE_RETRY_MS);
      this.#moving.delete(tag);
      if (!this.#isClosed) this.#giveBack(tag, "restore");
    });
    this.#moving.set(tag, moving);
  }

  #failed(error: unknown): void {
    if (this.#channel.isLost || this.#isClosing) return;
    this.fail(error instanceof Error ? error : new ConnectionLost(errorText(error)));
  }
}

const ACK_TIMEOUT =
  "consumer: RabbitMQ has closed the channel because a task ran longer than its consumer_timeout. The task goes on, " +
  "and the copy that the broker delivers again is not run here a second time; raise consumer_timeout (or the " +
  "queue's x-consumer-timeout) above the longest late-acknowledged task";
