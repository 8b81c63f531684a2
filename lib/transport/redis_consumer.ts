/** The data lane of one worker on Redis: fetch, hold, settle, lease, park, in one connection of its own. */

import { assert, errorText, type World } from "../base/mod.ts";
import { RedisConnection, type RedisTarget } from "../redis/mod.ts";
import { decodeEnvelope, envelopePriority, type Reply } from "../wire/mod.ts";
import type { Queue } from "./entity.ts";
import { adopt, type Adopted, type Estate } from "./redis_adopt.ts";
import { deadDocument } from "./redis_dead.ts";
import { attemptsOf, marked } from "./redis_envelope.ts";
import { Claims } from "./redis_claim.ts";
import { Fetcher } from "./redis_fetch.ts";
import type { RedisKeys } from "./redis_keys.ts";
import { Lease } from "./redis_lease.ts";
import type { RedisOptions } from "./redis_options.ts";
import { Parking } from "./redis_park.ts";
import { type ConsumerBase, Unacked } from "./redis_unacked.ts";
import type { ConsumeOptions, Consumer, ConsumerEvents, Delivery, OutgoingMessage } from "./transport.ts";

/** What a consumer is opened with. */
export interface RedisConsumerOptions {
  readonly target: RedisTarget;
  readonly redis: RedisOptions;
  readonly keys: RedisKeys;
  readonly timeoutMs: number;
  readonly consume: ConsumeOptions;
  readonly events: ConsumerEvents;
  route(exchange: string, routingKey: string): Promise<string[]>;
  onClosed(): void;
}

const UNDECODABLE_CHARS_MAX = 64 * 1024;
/** How long it is known after its worker's last such task that a task had begun. */
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
  #claims: Claims;
  #lease: Lease | null = null;
  #parking: Parking | null = null;
  #batch: Delivery[] = [];
  /** Taken over, and not yet handed on. */
  #adopted: Adopted[] = [];
  #isClosing = false;
  /** Of a lost consumer: what its successor takes over. */
  #estate: Estate | null = null;
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
    this.#unacked = new Unacked(base, () => this.#fetcher.stir());
    this.#fetcher = new Fetcher(base, {
      clock: world.clock,
      order: redis.queueOrder,
      pollingMs: redis.pollingIntervalMs,
      window: consume.window,
      onTexts: (queueName, texts, first) => this.#onTexts(queueName, texts, first),
      onFetched: () => this.#onFetched(),
    });
    this.#claims = new Claims(base, this.#fetcher, this.#unacked, {
      onOurs: (claimed) => {
        claimed.isDelivered = !this.#isClosing;
        this.#batch.push(claimed);
        this.#onFetched();
      },
      onStranded: (claimed) => options.events.onStranded?.(claimed),
    });
    if (!base.isRecording) return;
    this.#lease = new Lease(base, this.#unacked, {
      world,
      redis,
      owner: consume.owner,
      leaseMs: consume.leaseSeconds * 1000,
      route: options.route,
      priorityOf: envelopePriority,
      onRestored: (count) => {
        this.#fetcher.stir();
        options.events.onRestored?.(count);
      },
    });
    this.#parking = new Parking(base, {
      clock: world.clock,
      random: world.random,
      priorityOf: envelopePriority,
      onMoved: () => this.#fetcher.stir(),
    });
  }

  /** Connects, takes the lease and begins to fetch. Rejects as RedisConnection.open does. */
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
      const base: ConsumerBase = {
        connection,
        keys,
        log: world.log,
        clock: world.clock,
        // Unique per connection and not per process: what an earlier connection left is never mistaken for ours.
        id: `l${world.random.id().replaceAll("-", "").slice(0, 12)}`,
        isRecording: redis.ackEmulation,
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
    for (const queue of this.#options.consume.queues) this.#add(queue);
    await this.#fetcher.startTracking(this.#connection);
    await this.#lease?.open();
    await this.#inherit(this.#options.consume.predecessor ?? null);
    this.#parking?.start();
    this.#connection.beforeWrite = () => {
      if (this.#adopted.length > 0) this.#handOnAdopted();
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

  /** Takes over what the consumer of a lost connection held; it is handed on as soon as there is a window. */
  async #inherit(predecessor: Consumer | null): Promise<void> {
    if (!this.#base.isRecording || !(predecessor instanceof RedisConsumer)) return;
    const estate = predecessor.#leave();
    if (estate === null) return;
    const adopted = await adopt(this.#base, estate, (count) => this.#fetcher.reserve(count));
    // The wait may have been long, and a predecessor may have left much: ours from here on, handed on or not.
    for (const { number, queue, envelope } of adopted) {
      const priority = envelopePriority(envelope);
      this.#unacked.hold(number, { queue, envelope, priority, isDelivered: false });
    }
    this.#adopted = adopted;
  }

  /** What a lost consumer leaves, with what was settled since; null where it was closed in order. */
  #leave(): Estate | null {
    if (this.#estate !== null || !this.#connection.isLost || this.#closing !== null) return this.#estate;
    const numbers = [...this.#unacked.numbers(), ...this.#claims.unheard(), ...this.#fetcher.unheard()];
    return this.#estate = {
      settlements: this.#unacked.openSettlements(),
      parts: [{ id: this.#base.id, numbers }],
    };
  }

  #handOnAdopted(): void {
    if (this.#isClosing || !(this.#fetcher.isPaused || this.#options.consume.window() > 0)) return;
    const adopted = this.#adopted;
    this.#adopted = [];
    for (const { number, queue, envelope } of adopted) this.#onText(queue, marked(envelope), number);
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

  addQueue(queue: Queue): Promise<void> {
    this.#add(queue);
    return Promise.resolve();
  }

  #add(queue: Queue): void {
    if (this.#queues.some(({ name }) => name === queue.name)) return;
    this.#queues.push(queue);
    this.#fetcher.addQueue(queue.name);
  }

  async cancelQueue(name: string): Promise<void> {
    this.#queues = this.#queues.filter((queue) => queue.name !== name);
    await this.#fetcher.removeQueue(name);
  }

  wake(): void {
    if (this.#adopted.length > 0) this.#connection.touch();
    this.#fetcher.wake();
  }

  claim(out: OutgoingMessage, isAckedEarly: boolean): Promise<void> | null {
    const { exchange, routingKey } = out;
    const isOurs = exchange === "" && this.#queues.some(({ name }) => name === routingKey);
    if (!isOurs || this.#isClosing || !this.#base.isRecording || this.#adopted.length > 0) return null;
    if (!this.#fetcher.isDry || !(this.#options.consume.window() > 0)) return null;
    const deliveryTag = this.#world.random.id();
    if (!isAckedEarly) return this.#claims.send(out, deliveryTag);
    this.#claims.take(out, deliveryTag);
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

  bury(tag: number | string, reason: string): boolean {
    if (!this.#base.isRecording) return false;
    this.#unacked.bury(
      tag as number,
      ({ queue, envelope }) => deadDocument(this.#world, { reason, queue, envelope }),
    );
    return true;
  }

  begun(tag: number | string): void {
    const { connection, keys, id } = this.#base;
    const key = keys.begun(id);
    connection.send(["SADD", key, tag], null);
    connection.send(["EXPIRE", key, BEGUN_SECONDS], null);
  }

  /** Redis has no prefetch of its own: `window()` is all there is. */
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
    // Replies come in order: this one comes after those to every settlement before it. A script that the server had
    // to be told anew was sent behind it, and so is the next one.
    do await this.#connection.call(["PING"]); while (this.#unacked.hasOpenSettlements);
  }

  /** Gives up with a cause: another connection to the same broker is gone. What is held comes back by the lease. */
  fail(error: Error): void {
    this.#connection.fail(error);
  }

  get leavesSomething(): boolean {
    const estate = this.#leave();
    return estate !== null &&
      (estate.settlements.length > 0 || estate.parts.some(({ numbers }) => numbers.length > 0));
  }

  close(): Promise<number> {
    // What restoring lets go of is a successor's.
    if (this.#connection.isLost) this.#leave();
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<number> {
    this.#isClosing = true;
    this.#stop();
    let restored = 0;
    try {
      await this.#fetcher.pause();
      while (this.#claims.areOpen) await this.#connection.call(["PING"]);
      this.#unacked.writeAcks();
      restored = await this.#unacked.restoreAll();
      if (!this.#connection.isLost) await this.flush();
      if (this.#base.isRecording && !this.#connection.isLost) await this.#lease?.release();
    } catch (error) {
      // What could not be restored is the broker's still, and the lease's end brings it back.
      if (!this.#connection.isLost) this.#world.log.warning(`Cannot restore messages: ${errorText(error)}`);
    }
    await this.#connection.close();
    this.#options.onClosed();
    return restored;
  }

  #stop(): void {
    this.#lease?.stop();
    this.#parking?.stop();
  }

  /** Data lane: the messages of one list. */
  #onTexts(queueName: string, texts: Reply[], first: number): void {
    for (let i = 0; i < texts.length; i++) this.#onText(queueName, texts[i] as string, first + i);
  }

  /** Data lane: one message. */
  #onText(queueName: string, envelope: string, tag: number): void {
    try {
      const { message, info } = decodeEnvelope(envelope);
      const priority = message.properties.priority;
      this.#unacked.hold(tag, { queue: queueName, envelope, priority, isDelivered: !this.#isClosing });
      const attempts = info.redelivered ? attemptsOf(message.properties.rest) : 0;
      this.#batch.push({ tag, queue: queueName, message, info, envelope, attempts });
    } catch (error) {
      this.#unacked.hold(tag, { queue: queueName, envelope, priority: 0, isDelivered: !this.#isClosing });
      if (this.#isClosing) return;
      this.#options.events.onUndecodable({
        tag,
        queue: queueName,
        text: envelope.slice(0, UNDECODABLE_CHARS_MAX),
        reason: errorText(error),
      });
    }
  }

  #onFetched(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    // What comes in while we close was asked for before: it is restored with the rest, unseen.
    if (!this.#isClosing) this.#options.events.onDeliveries(batch);
  }
}
