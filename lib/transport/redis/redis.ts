/**
 * The Redis transport: kombu's keys, so that Python workers share queues with ours, and leases of our own.
 *
 * Connections: one for commands and publishing; one for the consumer, where fetches and settlements leave
 * together; one for all fanout subscriptions, opened with the first; one for each other queue that is
 * listened to. If one of them is lost, all are: the owner connects again.
 *
 * On a cluster all keys share one hash tag, and so one slot: what is said here of one server holds for that
 * slot's master, to which all connections go. When another node becomes its master, the connections are lost,
 * and new ones go to that node.
 */

import { errorText, maskUrl, type World } from "../../base/mod.ts";
import { Credentials } from "../../net/mod.ts";
import {
  callScript,
  openMaster,
  parseRedisUrl,
  PubSub,
  type RedisConnection,
  type RedisConnectionOptions,
  type RedisTarget,
  ReplicaWait,
} from "../../redis/mod.ts";
import { decodeEnvelope, DecodeError, type Reply, type RespArg } from "../../wire/mod.ts";
import type { Binding, Exchange, Queue } from "../entity.ts";
import { JointConnection } from "../joint.ts";
import type { Ledger } from "../ledger.ts";
import { RedisDeadLetters } from "./dead.ts";
import { RedisFailedTasks } from "./failed.ts";
import { QueueExpiry } from "./expiry.ts";
import { listen, QueuePopper, readNote } from "./fanout.ts";
import type { GroupConnection } from "./groups.ts";
import { RedisKeys, toBinding } from "./keys.ts";
import { RedisLedger } from "./ledger.ts";
import { groupOptions, type RedisOptions, redisOptionsOf } from "./options.ts";
import { PublishWait } from "./replica_wait.ts";
import { dropParked, listParked, purgeParked } from "./park.ts";
import { RedisPublisher } from "./publish.ts";
import { PURGE } from "./scripts.ts";
import { mustBeRoutable } from "../routing.ts";
import type {
  Connect,
  Connection,
  ConnectOptions,
  ConsumeOptions,
  Consumer,
  ConsumerEvents,
  QueueStats,
  Subscription,
} from "../transport.ts";
import type { Note, OutgoingMessage, ParkedMessage } from "../message.ts";

/** How many lists without a binding `queueNames` looks into. */
const UNBOUND_MAX = 500;

/**
 * Opens a connection to `redis://`, `rediss://`, `redis+socket://`, `sentinel://` or `redis-cluster://`. Rejects with
 * UsageError (URL, options, certificates), DialError, AccessRefused or ServerError.
 */
export const connectRedis: Connect = async (
  world: World,
  url: string,
  options: ConnectOptions,
): Promise<Connection> => {
  const { useSsl, transportOptions } = options;
  const server = parseRedisUrl(url, { kind: "broker", useSsl, transportOptions });
  const redis = redisOptionsOf(options, server);
  const credentials = Credentials.of(world, "broker_transport_options", transportOptions);
  const open = async (redis: RedisOptions, signal: AbortSignal | undefined) => {
    const { target, connection: command } = await openMaster(world, server, {
      key: redis.keyPrefix,
      credentials,
      ...connectionOptions(redis),
      ...(signal ? { signal } : {}),
    });
    return new RedisTransport(world, { url: maskUrl(url), target, redis, command });
  };
  const main = await open(redis, options.signal);
  if (redis.groups === null) return main;
  const { GroupedConnection } = await import("./groups.ts");
  return new GroupedConnection(redis.groups, main, (tag) => open(groupOptions(redis, tag), undefined));
};

/** Returns the wait for replicas after publishing; null if it is off or there are no replicas. */
function replicaWait(
  world: World,
  connection: RedisConnection,
  { target, redis }: { target: RedisTarget; redis: RedisOptions },
): PublishWait | null {
  const count = target.cluster ? Math.min(redis.waitReplicas, target.cluster.replicas) : redis.waitReplicas;
  return count > 0 ? new PublishWait(world, connection, new ReplicaWait(world.clock, count)) : null;
}

/** How long a probe key lives, by which a consumer tests whether the server announces pushes. */
const ANNOUNCED_MS = 10_000;

/** Returns the options of each of the transport's connections. */
function connectionOptions(redis: RedisOptions): RedisConnectionOptions {
  return {
    timeoutMs: redis.connectTimeoutMs,
    clientName: redis.clientName,
    healthCheckMs: redis.healthCheckMs,
    replyTimeoutMs: redis.replyTimeoutMs,
  };
}

class RedisTransport extends JointConnection implements GroupConnection {
  readonly transport = "redis";
  readonly url: string;
  readonly ledger: Ledger;
  #world: World;
  #target: RedisTarget;
  #redis: RedisOptions;
  #keys: RedisKeys;
  #command: RedisConnection;
  #expiry: QueueExpiry;
  #publisher: RedisPublisher;
  #dead: RedisDeadLetters | null = null;
  #failed: RedisFailedTasks | null = null;
  #pubsub: Promise<PubSub> | null = null;
  #declared = new Set<string>();

  constructor(
    world: World,
    parts: { url: string; target: RedisTarget; redis: RedisOptions; command: RedisConnection },
  ) {
    super();
    this.url = parts.url;
    this.#world = world;
    this.#target = parts.target;
    this.#redis = parts.redis;
    this.#command = parts.command;
    this.#keys = new RedisKeys(parts.redis, parts.target.db);
    this.#expiry = new QueueExpiry(this.#keys);
    const { groups, tag } = parts.redis;
    this.#publisher = new RedisPublisher(world, parts.command, {
      keys: this.#keys,
      expiry: this.#expiry,
      deadletterQueue: parts.redis.deadletterQueue,
      replicas: replicaWait(world, parts.command, parts),
      isOwn: (queueName) => groups === null || groups.tagOf(queueName) === tag,
    });
    this.ledger = new RedisLedger(world, {
      connection: parts.command,
      keys: this.#keys,
      publisher: this.#publisher,
    });
    this.watch(parts.command);
  }

  async declare(queue: Queue): Promise<number> {
    const { exchange, name } = queue;
    mustBeRoutable(exchange.name, exchange.type);
    this.#publisher.setExchange(exchange.name, exchange.type);
    const lists = this.#keys.lists(name);
    const commands: RespArg[][] = lists.map((list) => ["LLEN", list]);
    if (exchange.name !== "") {
      commands.push(["SADD", this.#keys.bindings(exchange.name), this.#keys.bindingMember(queue)]);
    }
    const replies = await this.#command.callAll(commands);
    this.#declared.add(name);
    this.#expiry.note(queue);
    this.#expiry.renew(this.#command, name);
    return sum(replies.slice(0, lists.length));
  }

  declareExchange(exchange: Exchange): Promise<void> {
    mustBeRoutable(exchange.name, exchange.type);
    this.#publisher.setExchange(exchange.name, exchange.type);
    return Promise.resolve();
  }

  publish(batch: readonly OutgoingMessage[]): Promise<void> {
    return this.#publisher.publish(batch);
  }

  queuesOf(exchange: string, routingKey: string): Promise<string[]> {
    return this.#publisher.queuesOf(exchange, routingKey);
  }

  async consume(options: ConsumeOptions, events: ConsumerEvents): Promise<Consumer> {
    this.mustHaveNoConsumer();
    const { RedisConsumer } = await import("./consumer.ts");
    const consumer = await RedisConsumer.open(this.#world, {
      target: this.#target,
      redis: this.#redis,
      keys: this.#keys,
      expiry: this.#expiry,
      timeoutMs: this.#redis.connectTimeoutMs,
      consume: options,
      events,
      route: (exchange, routingKey) => this.#publisher.route(exchange, routingKey),
      listen: async (pattern, onPayload) => {
        const pubsub = await this.#openPubSub();
        await pubsub.subscribe(pattern, onPayload);
        return () => pubsub.unsubscribe(pattern, onPayload);
      },
      announce: async (key) => void await this.#command.call(["SET", key, "", "PX", ANNOUNCED_MS]),
      onClosed: () => this.consumer = null,
    });
    this.consumer = consumer;
    this.watch(consumer);
    return consumer;
  }

  async subscribe(queue: Queue, onNote: (note: Note) => void): Promise<Subscription> {
    await this.declare(queue);
    const stop = queue.exchange.type === "fanout"
      ? await listen(this.#world, await this.#openPubSub(), this.#keys.channelPattern(queue), onNote)
      : await this.#openPopper(queue, onNote);
    let closing: Promise<void> | null = null;
    const subscription: Subscription = {
      close: () => closing ??= this.#endSubscription(subscription, queue, stop),
    };
    this.subscriptions.add(subscription);
    return subscription;
  }

  async purge(queueName: string): Promise<number> {
    const waiting = Number(
      await callScript(this.#command, PURGE, {
        keys: this.#keys.lists(queueName),
        args: [],
        doing: "purge a queue",
      }),
    );
    return waiting + await purgeParked(this.#command, this.#keys, queueName);
  }

  async queueLength(queueName: string): Promise<number | null> {
    const lists = this.#keys.lists(queueName);
    const length = sum(await this.#command.callAll(lists.map((list) => ["LLEN", list])));
    // Redis deletes empty lists, so only a binding shows that the queue exists.
    if (length > 0 || this.#declared.has(queueName)) return length;
    return await this.#isBound(queueName) ? 0 : null;
  }

  async queueStats(queueName: string): Promise<QueueStats | null> {
    const { steps } = this.#redis;
    const lists = this.#keys.lists(queueName);
    const replies = await this.#command.callAll(
      lists.flatMap((list) => [["LLEN", list], ["LINDEX", list, "-1"]]),
    );
    const priorities = steps.map((priority, n) => ({ priority, ready: Number(replies[2 * n] ?? 0) }));
    const ready = priorities.reduce((sum, one) => sum + one.ready, 0);
    if (ready === 0 && await this.queueLength(queueName) === null) return null;
    const next = replies.find((reply, n) => n % 2 === 1 && typeof reply === "string");
    return {
      ready,
      priorities,
      next: next === undefined ? null : String(next),
      unacked: null,
      consumers: null,
    };
  }

  /**
   * Lists the bound queues, and the other lists that hold an envelope: applications have lists of their own.
   */
  async queueNames(): Promise<string[]> {
    const names = new Set((await this.#members()).map(({ queue }) => queue));
    const unbound: [key: string, queue: string][] = [];
    for (const key of await this.#scan(this.#keys.list("", 0), ["TYPE", "list"])) {
      const queue = this.#keys.queueOf(key);
      if (!names.has(queue) && unbound.length < UNBOUND_MAX) unbound.push([key, queue]);
    }
    const heads = await this.#command.callAll(unbound.map(([key]) => ["LINDEX", key, "-1"]));
    unbound.forEach(([, queue], at) => isEnvelope(heads[at]) && names.add(queue));
    return [...names].sort();
  }

  async take(queueName: string): Promise<Note | null> {
    for (const list of this.#keys.lists(queueName)) {
      for (;;) {
        const envelope = await this.#command.call(["RPOP", list]);
        if (typeof envelope !== "string") break;
        const note = readNote(this.#world, envelope, `queue "${queueName}"`);
        if (note !== null) return note;
      }
    }
    return null;
  }

  async deleteQueue(queueName: string): Promise<void> {
    const commands: RespArg[][] = [["DEL", ...this.#keys.lists(queueName)]];
    for (const { key, member, queue } of await this.#members()) {
      if (queue === queueName) commands.push(["SREM", key, member]);
    }
    await this.#command.callAll(commands);
    this.#declared.delete(queueName);
  }

  async bindings(): Promise<Binding[]> {
    return (await this.#members()).map((found) => toBinding(found.exchange, found));
  }

  async listeners(exchangeName: string): Promise<number | null> {
    // Subscribers use patterns, which PUBSUB cannot count by channel. An empty message, which receivers
    // ignore, counts them.
    const reached = await this.#command.call(["PUBLISH", this.#keys.channel(exchangeName, ""), ""]);
    return typeof reached === "number" ? reached : null;
  }

  get deadLetters(): RedisDeadLetters {
    return this.#dead ??= new RedisDeadLetters(this.#command, this.#keys);
  }

  get failedTasks(): RedisFailedTasks {
    return this.#failed ??= new RedisFailedTasks(this.#world, this.#command, this.#keys);
  }

  parked(limit: number): Promise<ParkedMessage[]> {
    return listParked(this.#command, this.#keys, limit);
  }

  dropParked(ids: readonly string[]): Promise<number> {
    return dropParked(this.#command, this.#keys, ids);
  }

  fail(error: Error): void {
    this.#command.fail(error);
  }

  protected override closeSockets(error: Error | null): Promise<unknown> {
    return Promise.all([
      this.#command.close(),
      ...(error === null ? [] : [...this.subscriptions].map((subscription) => subscription.close())),
      this.#pubsub?.then((opened) => opened.close(), () => {}),
    ]);
  }

  #openPubSub(): Promise<PubSub> {
    if (this.#pubsub === null) {
      this.#pubsub = this.join(() => PubSub.open(this.#world, this.#target, connectionOptions(this.#redis)));
      // The next subscriber tries again; this one gets the error.
      this.#pubsub.catch(() => this.#pubsub = null);
    }
    return this.#pubsub;
  }

  async #openPopper(queue: Queue, onNote: (note: Note) => void): Promise<() => Promise<void>> {
    const popper = await this.join(() =>
      QueuePopper.open(this.#world, this.#target, {
        ...connectionOptions(this.#redis),
        lists: this.#keys.lists(queue.name),
        onNote,
      })
    );
    return () => popper.close();
  }

  async #endSubscription(subscription: Subscription, queue: Queue, stop: () => Promise<void>): Promise<void> {
    this.subscriptions.delete(subscription);
    try {
      await stop();
      if (!queue.autoDelete || this.#command.isLost) return;
      this.#declared.delete(queue.name);
      await this.#command.callAll([
        ["SREM", this.#keys.bindings(queue.exchange.name), this.#keys.bindingMember(queue)],
        ["DEL", ...this.#keys.lists(queue.name)],
      ]);
    } catch (error) {
      // Without a connection there is nothing left to undo.
      if (!this.#command.isLost && !this.isLost) {
        this.#world.log.warning(errorText(error));
      }
    }
  }

  /** Finds the keys that begin with `head`. `filter`: further arguments of SCAN. */
  async #scan(head: string, filter: readonly string[] = []): Promise<Set<string>> {
    const pattern = head.replaceAll(/[*?[\]\\]/g, "\\$&") + "*";
    const names = new Set<string>();
    let cursor: Reply = "0";
    do {
      const asked = ["SCAN", String(cursor), "MATCH", pattern, "COUNT", 1000, ...filter];
      const reply: Reply = await this.#command.call(asked);
      const [next, found] = reply as [Reply, Reply[]];
      for (const key of found) names.add(String(key));
      cursor = next;
    } while (String(cursor) !== "0");
    return names;
  }

  /**
   * Looks first at the exchange that has the queue's name, as most queues do: any other needs a scan of all
   * keys.
   */
  async #isBound(queueName: string): Promise<boolean> {
    const own = await this.#command.call(["SMEMBERS", this.#keys.bindings(queueName)]) as Reply[];
    if (own.some((member) => this.#keys.readMember(String(member))?.queue === queueName)) return true;
    return (await this.bindings()).some(({ queue }) => queue === queueName);
  }

  /** Reads every member of every binding set. */
  async #members(): Promise<
    { key: string; member: string; exchange: string; routingKey: string; queue: string }[]
  > {
    const all = [...await this.#scan(this.#keys.bindings(""))].sort();
    const sets = await this.#command.callAll(all.map((key) => ["SMEMBERS", key]));
    return all.flatMap((key, i) =>
      (sets[i] as Reply[]).map(String).sort().flatMap((member) => {
        const read = this.#keys.readMember(member);
        const exchange = this.#keys.exchangeOf(key);
        return read === null || exchange === null ? [] : [{ key, member, exchange, ...read }];
      })
    );
  }
}

function isEnvelope(head: Reply | undefined): boolean {
  if (typeof head !== "string") return false;
  try {
    decodeEnvelope(head);
    return true;
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}

function sum(replies: readonly Reply[]): number {
  return replies.reduce<number>((total, reply) => total + (typeof reply === "number" ? reply : 0), 0);
}
