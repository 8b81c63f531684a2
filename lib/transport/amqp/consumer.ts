/**
 * The data lane of one worker on AMQP: deliveries in batches, acks combined, prefetch that follows the window.
 *
 * The broker pushes up to the prefetch count; the owner's window may be smaller at any moment (it changes
 * with every outcome), so deliveries beyond it wait here, unsettled, until `wake`. The acks of a turn leave
 * as one `multiple`, if nothing older is open.
 *
 * A quorum queue counts how often a message was returned, and drops it at a limit. Messages returned from
 * here do not reach that limit: before they do, a copy is published, whose count starts at 0.
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

/** Options of `AmqpConsumer.open`. */
export interface AmqpConsumerOptions {
  readonly consume: ConsumeOptions;
  readonly events: ConsumerEvents;
  readonly server: AmqpServer;
  /** Prefetch is counted per consumer: a quorum queue is consumed, or the broker has no other prefetch. */
  readonly isPerConsumer: boolean;
  /** Publishes the copy of a message that is parked, dead-lettered or sent again. */
  publish(batch: readonly OutgoingMessage[]): Promise<void>;
  /** Returns where a message is published to wait until `dueMs`; null: it cannot wait. */
  delayed(queue: string, dueMs: number): { exchange: string; routingKey: string } | null;
  /** Declares the queue of dead letters; resolves with its name. */
  deadLetters(): Promise<string>;
  /** Called for each queue that is added after `open`, before it is consumed. */
  onQueue(queue: Queue): Promise<void>;
  onClosed(): void;
}

/** A queue that is consumed. */
interface Source {
  readonly queue: Queue;
  /** How often the broker redelivers a message at most. */
  readonly limit: number;
  /** Null while paused or starting. */
  tag: string | null;
  /** We have cancelled its consumer; an `autoDelete` queue is gone. */
  wasCancelled: boolean;
}

const UNDECODABLE_BYTES_MAX = 64 * 1024;
/** How long a message that could not be moved waits before it is returned to the broker, milliseconds. */
const MOVE_RETRY_MS = 1000;

/** A Consumer on AMQP. Tags are the channel's delivery tags. */
export class AmqpConsumer implements Consumer {
  #world: World;
  #clock: Clock;
  #log: Log;
  #options: AmqpConsumerOptions;
  #channel: AmqpChannel;
  #sources: Source[] = [];
  /**
   * Unsettled deliveries by tag, oldest first, including those in the backlog and those being moved. Null:
   * undecodable.
   */
  #held = new Map<number, AmqpDelivery | null>();
  /** Deliveries of `noAck` queues, until their owner settles them: the broker does not hold them any more. */
  #free = new Set<number>();
  #nextFree = -1;
  #acked: number[] = [];
  #batch: Delivery[] = [];
  /** Received and not yet delivered, because the window was full. */
  #backlog: Delivery[] = [];
  /** Deliveries whose copies are being published: parked, dead-lettered or sent again. */
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

  /**
   * Starts to consume. Rejects with the server's refusal. After a loss it waits until the window is open: the owner may
   * be busy for long, and no other worker gets what the broker has pushed here.
   */
  static async open(world: World, channel: AmqpChannel, options: AmqpConsumerOptions): Promise<AmqpConsumer> {
    const consumer = new AmqpConsumer(world, channel, options);
    for (const queue of options.consume.queues) consumer.#sources.push(consumer.#sourceOf(queue));
    if (options.consume.window() > 0 || !options.consume.predecessor) await consumer.#start();
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
    const route = this.#options.delayed(delivery.queue, dueMs);
    if (route === null) return false;
    const { message } = delivery;
    // Expiration would end the wait too soon; the headers still have `expires`.
    const properties = { ...message.properties, expiration: null };
    this.#move(delivery, { ...route, message: { ...message, properties }, isMandatory: true });
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
    // A channel answers in order, so this answer comes after the broker has processed all earlier
    // settlements.
    await this.#channel.call("basic.qos", this.#prefetch.args, "wait for the broker").catch(
      (error: unknown) => {
        if (!this.#channel.isLost) throw error;
      },
    );
  }

  /** Handles the loss of the channel or its connection. The broker returns held messages to their queues. */
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
    // Unacknowledged messages go back to their old places now. On the close of a channel RabbitMQ would
    // return them only after its answer, once it notices that the channel has ended.
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
    return { queue, limit: this.#options.server.deliveryLimit(queue), tag: null, wasCancelled: false };
  }

  #giveBack(tag: number, how: "drop" | "requeue" | "restore"): void {
    if (!this.#release(tag)) return;
    // The server puts the message back in its old place, or as near to the head as it can. RabbitMQ 4.3
    // counts a reject as a failed delivery, but not a nack.
    if (how === "restore") this.#channel.send("basic.nack", { "delivery-tag": tag, requeue: true });
    else this.#channel.send("basic.reject", { "delivery-tag": tag, requeue: how === "requeue" });
  }

  /**
   * Publishes a copy to the delivery's queue, whose count starts at 0: if returned once more, the broker
   * would drop it.
   */
  #sendAgain(delivery: AmqpDelivery): void {
    const { queue, message } = delivery;
    this.#move(delivery, { exchange: "", routingKey: queue, message, isMandatory: true });
  }

  /** Forgets a delivery; returns false if nothing is to be sent to the broker. */
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
    // The queue is deleted if a pause ended its last consumer.
    if (queue.autoDelete && source.wasCancelled) {
      await declareQueue(this.#channel, queue, this.#options.server);
    }
    source.wasCancelled = false;
    await this.#channel.consume(queue.name, {
      tag,
      noAck: queue.noAck,
      arguments: queue.consumerArguments,
    }, {
      onMessage: (message) => this.#onMessage(source, message),
      onCancelled: () => source.tag === tag ? this.#onCancelled(source) : undefined,
    });
  }

  /**
   * Starts new consumers before it cancels the old ones: an `autoDelete` queue must never be without a
   * consumer.
   */
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
      source.wasCancelled = true;
    }));
  }

  /**
   * Handles a consumer that the server has ended because its queue was deleted or its node stopped: declares
   * and consumes the queue again.
   */
  #onCancelled(source: Source): void {
    source.tag = null;
    if (this.#isClosing || !this.#sources.includes(source)) return;
    this.#log.warning(`consumer: The broker has cancelled queue "${source.queue.name}": consuming it again`);
    declareQueue(this.#channel, source.queue, this.#options.server).then(
      () => this.#isPaused || this.#isClosing ? undefined : this.#consume(source),
    ).catch((error) => this.#failed(error));
  }

  /** Reads one message. Data lane. */
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

  /** Called after each chunk is read. Data lane. */
  #onRead(): void {
    if (this.#batch.length === 0) return;
    this.#deliver();
    // The next write, which follows the window too, may come only after the tasks have run.
    if (this.#options.isPerConsumer && !this.#isPaused && !this.#isClosing) this.#followWindow();
  }

  /** Called before each write. Data lane. */
  #onWrite(): void {
    if (this.#isClosed || this.#isLost) return;
    if (this.#backlog.length > 0) this.#deliver();
    this.#writeAcks();
    if (this.#isStarted && !this.#isPaused) this.#followWindow();
  }

  /** Delivers as many messages as the window has room for, oldest first; the others wait. */
  #deliver(): void {
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

  /**
   * Writes the acks of this turn: one `multiple` for all below the oldest open delivery, the others one by
   * one.
   */
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

  /** Publishes a copy elsewhere. The delivery is acknowledged when the broker has the copy, else returned. */
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
