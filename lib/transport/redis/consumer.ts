/**
 * The data lane of one worker on Redis: fetches, holds, settles and parks messages under a lease, on a
 * connection of its own.
 */

import { assert, errorText, type World } from "../../base/mod.ts";
import { RedisConnection, type RedisTarget, type ReplySink } from "../../redis/mod.ts";
import {
  decodeEnvelope,
  envelopePriority,
  isMarkedReported,
  markedIfEnvelope,
  type Reply,
} from "../../wire/mod.ts";
import type { Queue } from "../entity.ts";
import { type Handover, type TakenOver, takeOver } from "./handover.ts";
import { deadDocument } from "./dead.ts";
import { attemptsOf } from "./envelope.ts";
import { HandOn } from "./hand_on.ts";
import { ExpiryKeeper, type QueueExpiry } from "./expiry.ts";
import { Fetcher } from "./fetch.ts";
import { Inboxes, needsInbox } from "./inbox.ts";
import { refuseForeign } from "./queue_groups.ts";
import type { RedisKeys } from "./keys.ts";
import { Lease } from "./lease.ts";
import type { RedisOptions } from "./options.ts";
import { Parking } from "./park.ts";
import { refuseActiveReplica } from "./relatives.ts";
import { type ConsumerBase, Unacked } from "./unacked.ts";
import type { ConsumeOptions, Consumer, ConsumerEvents } from "../transport.ts";
import type { Delivery, OutgoingMessage } from "../message.ts";

/** Options of `RedisConsumer.open`. */
export interface RedisConsumerOptions {
  readonly target: RedisTarget;
  readonly redis: RedisOptions;
  readonly keys: RedisKeys;
  readonly expiry: QueueExpiry;
  readonly timeoutMs: number;
  readonly consume: ConsumeOptions;
  readonly events: ConsumerEvents;
  route(exchange: string, routingKey: string): Promise<string[]>;
  /** Listens to a channel pattern until the function that it resolves with is called. */
  listen(pattern: string, onPayload: (payload: string) => void): Promise<() => Promise<void>>;
  /** Sets a key through another connection, as a push would, to test whether the server announces it. */
  announce(key: string): Promise<void>;
  onClosed(): void;
}

const UNDECODABLE_CHARS_MAX = 64 * 1024;
/** The pause between two checks whether a settlement that a cluster's node redirected is done. */
const REDIRECTED_MS = 20;
/** How long a worker's record of begun tasks is kept after its last entry. */
const BEGUN_SECONDS = 7 * 24 * 3600;

/** A Consumer on Redis. Tags are numbers that count up from 1. */
export class RedisConsumer implements Consumer {
  #world: World;
  #options: RedisConsumerOptions;
  #connection: RedisConnection;
  #base: ConsumerBase;
  #queues: Queue[] = [];
  #unacked: Unacked;
  #fetcher: Fetcher;
  #handOn: HandOn;
  #inboxes: Inboxes;
  #expiry: ExpiryKeeper;
  #lease: Lease | null = null;
  #parking: Parking | null = null;
  #batch: Delivery[] = [];
  /** Fetched messages that a process died with; each is delivered alone. */
  #suspects: Delivery[] = [];
  /** The suspect that is being delivered, and whether its task has begun meanwhile. */
  #delivering: { readonly tag: number | string; hasBegun: boolean } | null = null;
  /** Messages taken over and not yet delivered. */
  #takenOver: TakenOver[] = [];
  #isClosing = false;
  /** The handover of a lost consumer to its successor. */
  #handover: Handover | null = null;
  #closing: Promise<number> | null = null;

  private constructor(
    world: World,
    options: RedisConsumerOptions,
    connection: RedisConnection,
    base: ConsumerBase,
  ) {
    const { redis, consume } = options;
    this.#world = world;
    this.#options = options;
    this.#connection = connection;
    this.#base = base;
    this.#expiry = new ExpiryKeeper(options.expiry, world.clock, connection);
    this.#unacked = new Unacked(base, () => this.#fetcher.notify());
    this.#fetcher = new Fetcher(base, {
      clock: world.clock,
      order: redis.queueOrder,
      pollingMs: redis.pollingIntervalMs,
      window: () => consume.window() - this.#suspects.length,
      onTexts: (queueName, texts, first) => this.#onTexts(queueName, texts, first),
      onFetched: () => this.#onFetched(),
    });
    this.#handOn = new HandOn(base, this.#fetcher, this.#unacked, {
      onOurs: (handed) => {
        handed.isDelivered = !this.#isClosing;
        this.#batch.push(handed);
        this.#onFetched();
      },
      onStranded: (handed) => options.events.onStranded?.(handed),
    });
    this.#inboxes = new Inboxes(base, {
      owner: consume.owner,
      listen: options.listen,
      onPut: () => this.#fetcher.notify(),
    });
    if (!base.isRecording) return;
    this.#lease = new Lease(base, this.#unacked, {
      world,
      redis,
      about: () => [consume.owner, ...this.#queues.map(({ name }) => name), ""].join("\n"),
      leaseMs: consume.leaseSeconds * 1000,
      isReconnect: (consume.predecessor ?? null) !== null,
      route: options.route,
      priorityOf: envelopePriority,
      onRestored: (count) => {
        this.#fetcher.notify();
        options.events.onRestored?.(count);
      },
    });
    this.#parking = new Parking(base, {
      clock: world.clock,
      random: world.random,
      priorityOf: envelopePriority,
      onMoved: () => this.#fetcher.notify(),
    });
  }

  /**
   * Connects, takes the lease and begins to fetch. Rejects as RedisConnection.open does, and with UsageError
   * for a server or a queue that cannot be consumed.
   */
  static async open(world: World, options: RedisConsumerOptions): Promise<RedisConsumer> {
    const { redis, keys, consume } = options;
    assert(consume.leaseSeconds > 0, "a lease lasts some time");
    let onPush: ((items: Reply[]) => void) | null = null;
    const connection = await RedisConnection.open(world, options.target, {
      timeoutMs: options.timeoutMs,
      clientName: redis.clientName,
      healthCheckMs: redis.healthCheckMs,
      replyTimeoutMs: redis.replyTimeoutMs,
      onPush: (items) => onPush?.(items),
    });
    let consumer: RedisConsumer | null = null;
    try {
      await refuseActiveReplica(connection);
      const base: ConsumerBase = {
        connection,
        keys,
        log: world.log,
        clock: world.clock,
        // Unique per connection and not per process: records of an earlier connection are never mistaken for
        // ours.
        id: `l${world.random.id().replaceAll("-", "").slice(0, 12)}`,
        isRecording: redis.ackEmulation,
        isCluster: redis.isCluster,
      };
      consumer = new RedisConsumer(world, options, connection, base);
      const fetcher = consumer.#fetcher;
      onPush = (items) => fetcher.onPush(items);
      await consumer.#start();
      return consumer;
    } catch (error) {
      if (consumer !== null) consumer.#stop();
      await connection.close(0);
      throw error;
    }
  }

  async #start(): Promise<void> {
    for (const queue of this.#options.consume.queues) await this.addQueue(queue);
    await this.#fetcher.startTracking(this.#connection, this.#options.announce);
    await this.#lease?.open();
    await this.#takeOver(this.#options.consume.predecessor ?? null);
    this.#parking?.start();
    this.#connection.beforeWrite = () => {
      if (this.#takenOver.length > 0) this.#deliverTakenOver();
      this.#unacked.writeAcks();
      this.#fetcher.write();
    };
    void this.#connection.lost.then((error) => {
      this.#stop();
      this.#unacked.lose();
      if (error !== null && !this.#isClosing) this.#options.events.onLost(error);
    });
    this.#fetcher.resume();
  }

  /**
   * Takes over the messages of a lost connection's consumer; they are delivered as soon as the window is
   * open.
   */
  async #takeOver(predecessor: Consumer | null): Promise<void> {
    if (!this.#base.isRecording || !(predecessor instanceof RedisConsumer)) return;
    const handover = predecessor.#handOver();
    if (handover === null) return;
    const taken = await takeOver(this.#base, handover, (count) => this.#fetcher.reserve(count));
    // Held before they are delivered, so that the lease is renewed for them however long delivery takes.
    for (const { number, queue, envelope } of taken) {
      const priority = envelopePriority(envelope);
      this.#unacked.hold(number, { queue, envelope, priority, isDelivered: false });
    }
    this.#takenOver = taken;
  }

  /**
   * Returns what a lost consumer hands over, including settlements made since; null if it was closed in
   * order.
   */
  #handOver(): Handover | null {
    if (this.#handover !== null || !this.#connection.isLost || this.#closing !== null) return this.#handover;
    const numbers = [...this.#unacked.numbers(), ...this.#handOn.unanswered(), ...this.#fetcher.unanswered()];
    return this.#handover = {
      settlements: this.#unacked.openSettlements(),
      parts: [{ id: this.#base.id, numbers }],
    };
  }

  #deliverTakenOver(): void {
    if (this.#isClosing || !(this.#fetcher.isPaused || this.#options.consume.window() > 0)) return;
    const taken = this.#takenOver;
    this.#takenOver = [];
    for (const { number, queue, envelope } of taken) this.#onText(queue, markedIfEnvelope(envelope), number);
    this.#onFetched();
  }

  /** Resolves when the consumer's connection is gone: with the cause, or with null after `close`. */
  get lost(): Promise<Error | null> {
    return this.#connection.lost;
  }

  get queues(): readonly Queue[] {
    return this.#queues;
  }

  get unsettled(): number {
    return this.#unacked.size;
  }

  async addQueue(queue: Queue): Promise<void> {
    if (this.#queues.some(({ name }) => name === queue.name)) return;
    refuseForeign(this.#options.redis.groups, this.#options.redis.tag, queue);
    this.#queues.push(queue);
    this.#keepQueues();
    if (!needsInbox(queue)) return this.#fetcher.addQueue(queue.name);
    await this.#inboxes.open(queue);
    this.#fetcher.addQueue(this.#inboxes.nameOf(queue.name));
  }

  async cancelQueue(name: string): Promise<void> {
    const queue = this.#queues.find((one) => one.name === name);
    this.#queues = this.#queues.filter((one) => one !== queue);
    this.#keepQueues();
    if (queue === undefined || !needsInbox(queue)) return await this.#fetcher.removeQueue(name);
    await this.#inboxes.close(name);
    await this.#fetcher.removeQueue(this.#inboxes.nameOf(name));
  }

  wake(): void {
    if (this.#takenOver.length > 0) this.#connection.touch();
    this.#fetcher.wake();
  }

  handOn(out: OutgoingMessage, isAckedEarly: boolean): Promise<void> | null {
    const { exchange, routingKey } = out;
    const isOurs = exchange === "" && this.#queues.some(({ name }) => name === routingKey);
    if (!isOurs || this.#isClosing || !this.#base.isRecording || this.#takenOver.length > 0) return null;
    if (!this.#fetcher.isDry || !(this.#options.consume.window() > 0)) return null;
    const deliveryTag = this.#world.random.id();
    if (!isAckedEarly) return this.#handOn.send(out, deliveryTag);
    this.#handOn.take(out, deliveryTag);
    return Promise.resolve();
  }

  ack(tag: number | string): void {
    this.#unacked.ack(tag as number);
  }

  reject(tag: number | string, how: "drop" | "requeue" | "restore"): void {
    if (how === "drop") this.#unacked.ack(tag as number);
    else this.#unacked.giveBack(tag as number, how === "restore" ? "head" : "back");
  }

  park(tag: number | string, dueMs: number): boolean {
    if (this.#parking === null) return false;
    this.#unacked.park(tag as number, `parked:${this.#world.random.id()}`, dueMs);
    this.#parking.note(dueMs);
    return true;
  }

  deadLetter(tag: number | string, reason: string): boolean {
    if (!this.#base.isRecording) return false;
    this.#unacked.deadLetter(
      tag as number,
      ({ queue, envelope }) => deadDocument(this.#world, { reason, queue, envelope }),
    );
    return true;
  }

  begun(tag: number | string): void {
    if (this.#delivering?.tag === tag) this.#delivering.hasBegun = true;
    this.#markBegun(tag, null);
  }

  #markBegun(tag: number | string, sink: ReplySink | null): void {
    const { connection, keys, id } = this.#base;
    const key = keys.begun(id);
    connection.send(["EXPIRE", key, BEGUN_SECONDS], null);
    connection.send(["SADD", key, tag], sink);
  }

  /** No effect: Redis has no prefetch, and `window()` is the only limit. */
  setPrefetch(_count: number): void {}

  pause(): Promise<void> {
    return this.#fetcher.pause();
  }

  resume(): void {
    if (!this.#isClosing) this.#fetcher.resume();
  }

  async flush(): Promise<void> {
    this.#unacked.writeAcks();
    if (this.#connection.openReplies === 0 && this.#connection.outboxBytes === 0) return;
    // Replies come in order, so this one comes after those to all earlier settlements. A script that had to
    // be sent again with its text was sent after this PING, hence the loop.
    await this.#connection.call(["PING"]);
    while (this.#unacked.hasOpenSettlements) {
      if (this.#base.isCluster) await this.#world.clock.sleep(REDIRECTED_MS);
      await this.#connection.call(["PING"]);
    }
  }

  /**
   * Drops the connection with a cause: another connection to the same broker is lost. Held messages are
   * delivered again when the lease has ended.
   */
  fail(error: Error): void {
    this.#connection.fail(error);
  }

  get hasHandover(): boolean {
    const handover = this.#handOver();
    return handover !== null &&
      (handover.settlements.length > 0 || handover.parts.some(({ numbers }) => numbers.length > 0));
  }

  close(): Promise<number> {
    // Recorded for a successor before `#close` empties the list of held messages.
    if (this.#connection.isLost) this.#handOver();
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<number> {
    this.#isClosing = true;
    this.#stop();
    let restored = 0;
    try {
      await this.#fetcher.pause();
      if (!this.#connection.isLost) await this.#inboxes.closeAll();
      while (this.#handOn.isAwaitingReplies) await this.#connection.call(["PING"]);
      this.#unacked.writeAcks();
      restored = await this.#unacked.restoreAll();
      for (const { name } of this.#queues) this.#options.expiry.renew(this.#connection, name);
      if (!this.#connection.isLost) await this.flush();
      if (!this.#connection.isLost) await this.#inboxes.drop();
      if (this.#base.isRecording && !this.#connection.isLost) {
        await this.#lease?.release();
        restored += await this.#giveParkedBack();
      }
    } catch (error) {
      // Messages that could not be restored stay recorded, and are delivered again when the lease has ended.
      if (!this.#connection.isLost) this.#world.log.warning(`Cannot restore messages: ${errorText(error)}`);
    }
    await this.#connection.close();
    this.#options.onClosed();
    return restored;
  }

  /**
   * Restores the messages parked for queues that no other worker consumes: their next consumer may be a
   * Python worker, which does not know parked messages. Runs after the lease is released, so that one of
   * several workers that stop at once is the last.
   */
  async #giveParkedBack(): Promise<number> {
    if (this.#lease === null || this.#parking === null) return 0;
    const queues = this.#queues.filter((queue) => !needsInbox(queue)).map(({ name }) => name);
    const left = await this.#lease.withoutWorkers(queues);
    return left.length === 0 ? 0 : await this.#parking.giveBack(new Set(left));
  }

  #keepQueues(): void {
    if (this.#options.expiry.isUsed) this.#expiry.keep(this.#queues.map(({ name }) => name));
  }

  #stop(): void {
    this.#expiry.stop();
    this.#lease?.stop();
    this.#parking?.stop();
    this.#fetcher.stop();
  }

  /** Reads the messages of one list. Data lane. */
  #onTexts(queueName: string, texts: Reply[], first: number): void {
    for (let i = 0; i < texts.length; i++) this.#onText(queueName, texts[i] as string, first + i);
  }

  /** Reads one message. Data lane. */
  #onText(queueName: string, envelope: string, tag: number): void {
    try {
      const { message, info } = decodeEnvelope(envelope);
      const priority = message.properties.priority;
      this.#unacked.hold(tag, { queue: queueName, envelope, priority, isDelivered: !this.#isClosing });
      const attempts = info.redelivered ? attemptsOf(message.properties.rest) : 0;
      const wasReported = isMarkedReported(envelope) && !info.redelivered;
      const into = attempts > 0 && this.#base.isRecording ? this.#suspects : this.#batch;
      const queue = this.#inboxes.queueOf(queueName);
      into.push({ tag, queue, message, info, envelope, attempts, wasReported });
    } catch (error) {
      this.#unacked.hold(tag, { queue: queueName, envelope, priority: 0, isDelivered: !this.#isClosing });
      if (this.#isClosing) return;
      this.#options.events.onUndecodable({
        tag,
        queue: this.#inboxes.queueOf(queueName),
        text: envelope.slice(0, UNDECODABLE_CHARS_MAX),
        reason: errorText(error),
      });
    }
  }

  #onFetched(): void {
    if (this.#suspects.length > 0) this.#deliverSuspects();
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    // A fetch answered while the consumer closes is restored with the rest, undelivered.
    if (!this.#isClosing) this.#options.events.onDeliveries(batch);
  }

  /**
   * Delivers the messages that a process died with, one at a time. Each counts as begun while it is
   * delivered: if that kills the process again, the death counts against this message, and not against the
   * others of its fetch.
   */
  #deliverSuspects(): void {
    const delivery = this.#suspects[0];
    if (delivery === undefined || this.#delivering !== null) return;
    const delivering = this.#delivering = { tag: delivery.tag, hasBegun: false };
    const onReply = (): void => {
      this.#suspects.shift();
      if (!this.#isClosing) {
        this.#options.events.onDeliveries([delivery]);
        const { connection, keys, id } = this.#base;
        if (!delivering.hasBegun) connection.send(["SREM", keys.begun(id), delivery.tag], null);
      }
      this.#delivering = null;
      if (this.#suspects.length > 0) this.#deliverSuspects();
      else this.#fetcher.notify();
    };
    // If the connection is lost, the next one takes the message over, or it is delivered again when the lease
    // has ended.
    this.#markBegun(delivery.tag, { onReply, onLost: () => {} });
  }
}
