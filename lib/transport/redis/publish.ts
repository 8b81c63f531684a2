/**
 * Publishing: LPUSH for queues, PUBLISH for fanouts; consecutive messages for one list leave as one LPUSH.
 *
 * Source: kombu 5.2.4 transport/redis.py Channel._put, _put_fanout, virtual/base.py Channel._lookup.
 */

import { LinearPattern, type World } from "../../base/mod.ts";
import { type RedisConnection, type ReplySink, toOperatingError } from "../../redis/mod.ts";
import { encodeEnvelope, type Reply, RespError } from "../../wire/mod.ts";
import type { ExchangeType } from "../entity.ts";
import type { QueueExpiry } from "./expiry.ts";
import type { RedisKeys } from "./keys.ts";
import type { PublishWait } from "./replica_wait.ts";
import type { OutgoingMessage } from "../message.ts";

/** How many messages one LPUSH carries at most. */
const MESSAGES_PER_PUSH = 128;
/** A batch pauses while more than this waits to be written. */
const OUTBOX_BYTES_MAX = 1024 * 1024;
/** Messages encoded between two checks of the outbox. */
const MESSAGES_PER_LOOK = 256;
/** How many compiled patterns of topics are kept. */
const PATTERNS_MAX = 10_000;

/** The publisher of one connection. */
export class RedisPublisher {
  #world: World;
  #connection: RedisConnection;
  #keys: RedisKeys;
  #deadletterQueue: string | null;
  #expiry: QueueExpiry;
  #replicas: PublishWait | null;
  #isOwn: (queueName: string) => boolean;
  #types = new Map<string, ExchangeType>();
  #patterns = new Map<string, LinearPattern | null>();
  #reading = new Map<string, Promise<Member[]>>();

  constructor(
    world: World,
    connection: RedisConnection,
    options: {
      keys: RedisKeys;
      deadletterQueue: string | null;
      expiry: QueueExpiry;
      replicas: PublishWait | null;
      /**
       * Whether a queue belongs to this connection; queues of other groups are bound under the broker's tag
       * too.
       */
      isOwn: (queueName: string) => boolean;
    },
  ) {
    this.#world = world;
    this.#connection = connection;
    this.#keys = options.keys;
    this.#deadletterQueue = options.deadletterQueue;
    this.#expiry = options.expiry;
    this.#replicas = options.replicas;
    this.#isOwn = options.isOwn;
  }

  /** Records an exchange's type: it decides how a message to it is routed. */
  setExchange(name: string, type: ExchangeType): void {
    if (name !== "") this.#types.set(name, type);
  }

  /** Returns the type of an exchange; direct if it was never declared here, as in kombu. */
  typeOf(name: string): ExchangeType {
    return this.#types.get(name) ?? "direct";
  }

  /**
   * Publishes in order; resolves when the server has everything. Rejects with the first error; then some of the batch
   * may have been taken. The data lane of sending: one promise per batch.
   */
  async publish(batch: readonly OutgoingMessage[]): Promise<void> {
    const tables = await this.#tables(batch);
    const sink = new BatchSink();
    const expiring = this.#expiry.isUsed ? new Set<string>() : null;
    const args: string[] = [];
    let list = "";
    for (let i = 0; i < batch.length; i++) {
      const { exchange, routingKey, message } = batch[i]!;
      const route = { exchange, routingKey, deliveryTag: this.#world.random.id() };
      if (exchange === "") {
        const to = this.#keys.listFor(routingKey, message.properties.priority);
        if (args.length === 0 || to !== list || args.length - 2 >= MESSAGES_PER_PUSH) {
          this.#push(args, sink);
          list = to;
          args.push("LPUSH", to);
        }
        args.push(encodeEnvelope(message, route));
        expiring?.add(routingKey);
      } else {
        this.#push(args, sink);
        const envelope = encodeEnvelope(message, route);
        if (this.typeOf(exchange) === "fanout") {
          sink.expect();
          this.#connection.send(["PUBLISH", this.#keys.channel(exchange, routingKey), envelope], sink);
        } else {
          for (const queueName of this.#route(exchange, routingKey, tables.get(exchange)!)) {
            sink.expect();
            const to = this.#keys.listFor(queueName, message.properties.priority);
            this.#connection.send(["LPUSH", to, envelope], sink);
            expiring?.add(queueName);
          }
        }
      }
      if (
        i % MESSAGES_PER_LOOK === MESSAGES_PER_LOOK - 1 && this.#connection.outboxBytes > OUTBOX_BYTES_MAX
      ) {
        await this.#connection.drained(OUTBOX_BYTES_MAX / 4);
      }
    }
    this.#push(args, sink);
    if (expiring !== null) { for (const name of expiring) this.#expiry.renew(this.#connection, name); }
    this.#replicas?.send(sink);
    await sink.done();
  }

  /**
   * Resolves with the queues that a message to a named exchange goes to: the matching ones, else the
   * `deadletter_queue` if there is one. None: the message is dropped.
   */
  async route(exchange: string, routingKey: string): Promise<string[]> {
    return this.#route(exchange, routingKey, await this.#members(exchange));
  }

  /** As `route`, with the queues of other groups; empty for a fanout. */
  async queuesOf(exchange: string, routingKey: string): Promise<string[]> {
    if (this.typeOf(exchange) === "fanout") return [];
    return this.#matching(exchange, routingKey, await this.#members(exchange));
  }

  #route(exchange: string, routingKey: string, members: readonly Member[]): string[] {
    return this.#matching(exchange, routingKey, members).filter(this.#isOwn);
  }

  #matching(exchange: string, routingKey: string, members: readonly Member[]): string[] {
    const type = this.typeOf(exchange);
    const queues = new Set<string>();
    for (const member of members) {
      const isMatch = type === "fanout" ||
        (type === "topic"
          ? this.#pattern(member.pattern)?.test(routingKey) ?? false
          : member.routingKey === routingKey);
      if (isMatch) queues.add(member.queue);
    }
    if (queues.size === 0 && this.#deadletterQueue !== null) queues.add(this.#deadletterQueue);
    return [...queues];
  }

  #push(args: string[], sink: BatchSink): void {
    if (args.length === 0) return;
    sink.expect();
    this.#connection.send(args, sink);
    args.length = 0;
  }

  /** Reads the bindings of every named exchange of a batch, once for the whole batch. */
  async #tables(batch: readonly OutgoingMessage[]): Promise<ReadonlyMap<string, Member[]>> {
    const names = new Set<string>();
    for (let i = 0; i < batch.length; i++) {
      const name = batch[i]!.exchange;
      if (name !== "" && this.typeOf(name) !== "fanout") names.add(name);
    }
    if (names.size === 0) return NO_TABLES;
    const list = [...names];
    const tables = await Promise.all(list.map((name) => this.#members(name)));
    return new Map(list.map((name, i) => [name, tables[i]!]));
  }

  /**
   * Reads an exchange's bindings, again for each batch, since a reply queue may have been bound a moment ago.
   * Batches that begin while a read is under way share it, which also keeps their order.
   */
  #members(exchange: string): Promise<Member[]> {
    let reading = this.#reading.get(exchange);
    if (reading === undefined) {
      reading = this.#readMembers(exchange).finally(() => this.#reading.delete(exchange));
      this.#reading.set(exchange, reading);
    }
    return reading;
  }

  async #readMembers(exchange: string): Promise<Member[]> {
    const reply = await this.#connection.call(["SMEMBERS", this.#keys.bindings(exchange)]) as Reply[];
    const members: Member[] = [];
    for (const text of reply) {
      const member = this.#keys.readMember(String(text));
      if (member !== null) members.push(member);
    }
    return members;
  }

  /** Compiles a pattern as kombu stored it; null, which matches nothing, if it is invalid. */
  #pattern(text: string): LinearPattern | null {
    let pattern = this.#patterns.get(text);
    if (pattern === undefined) {
      try {
        pattern = new LinearPattern(text);
      } catch {
        this.#world.log.warning(`Cannot read the binding pattern "${text}": it matches nothing`);
        pattern = null;
      }
      if (this.#patterns.size >= PATTERNS_MAX) this.#patterns.clear();
      this.#patterns.set(text, pattern);
    }
    return pattern;
  }
}

interface Member {
  readonly routingKey: string;
  readonly pattern: string;
  readonly queue: string;
}

const NO_TABLES: ReadonlyMap<string, Member[]> = new Map();

/** Counts the replies to one batch. */
class BatchSink implements ReplySink {
  #open = 0;
  #error: Error | null = null;
  #waiter: { resolve: () => void; reject: (error: Error) => void } | null = null;

  expect(): void {
    this.#open++;
  }

  /** Resolves when every reply expected so far has come; rejects with the first error. */
  done(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#settle();
    });
  }

  onReply(reply: Reply): void {
    this.#open--;
    if (reply instanceof RespError) this.#error ??= toOperatingError(reply, "publish");
    this.#settle();
  }

  onLost(error: Error): void {
    this.#open = 0;
    this.#error ??= error;
    this.#settle();
  }

  #settle(): void {
    if (this.#open > 0 || this.#waiter === null) return;
    if (this.#error === null) this.#waiter.resolve();
    else this.#waiter.reject(this.#error);
    this.#waiter = null;
  }
}
