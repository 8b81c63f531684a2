/**
 * The AMQP transport: RabbitMQ, with Celery's topology on the wire.
 *
 * Two sockets: one for declaring and publishing, and one, opened with the first consumer or subscription, for
 * receiving. A broker that is short of memory stops reading from those who publish; acks must not wait behind that.
 * If one is lost, both are: the owner connects anew and declares again.
 *
 * Source: protocol.md 3; kombu 5.2.4 transport/pyamqp.py; celery 5.2.6 app/amqp.py.
 */

import { AmqpConnection, type AmqpTarget } from "../amqp/mod.ts";
import { errorText, maskUrl, ServerError, UsageError, type World } from "../base/mod.ts";
import { parseIso } from "../wire/mod.ts";
import { AmqpConsumer } from "./amqp_consumer.ts";
import { AmqpControl, declareExchange, declareQueue } from "./amqp_control.ts";
import { AmqpDeadLetters, deadQueue } from "./amqp_dead.ts";
import { AmqpDelays } from "./amqp_delays.ts";
import { DELAY_EXCHANGE, isQuorum } from "./amqp_delay.ts";
import { AmqpLedger } from "./amqp_ledger.ts";
import { fromAmqp, infoOf } from "./amqp_message.ts";
import { AmqpPublisher } from "./amqp_publish.ts";
import { AmqpSubscription } from "./amqp_subscription.ts";
import { amqpTarget } from "./amqp_url.ts";
import { type Exchange, type Queue, queue as makeQueue } from "./entity.ts";
import type { Ledger } from "./ledger.ts";
import type {
  Binding,
  Connect,
  Connection,
  ConnectOptions,
  ConsumeOptions,
  Consumer,
  ConsumerEvents,
  DeadLetters,
  Note,
  OutgoingMessage,
  Subscription,
} from "./transport.ts";

/** Where `bury` puts messages, unless `dead_letter_queue` names another. */
const DEAD_LETTERS = "lovage.dead";

/**
 * Opens a connection to `amqp://`, `amqps://` or `pyamqp://`. Options of `broker_transport_options` that matter here:
 * `confirm_publish` (default true: a publish ends when the broker has the message), `dead_letter_queue`,
 * `native_delayed_delivery` (true: also where no queue is a quorum queue). Rejects with UsageError, DialError,
 * AccessRefused or ConnectionLost.
 */
export const connectAmqp: Connect = async (
  world: World,
  url: string,
  options: ConnectOptions,
): Promise<Connection> => {
  const target = await amqpTarget(url, options.useSsl);
  const main = await open(world, target, options);
  return new AmqpTransport(world, { url: maskUrl(url), target, options, main });
};

function open(world: World, target: AmqpTarget, options: ConnectOptions): Promise<AmqpConnection> {
  let reason: string | null = null;
  return AmqpConnection.open(world, target, {
    timeoutMs: options.timeoutMs,
    heartbeatSeconds: options.heartbeatSeconds,
    loginMethod: options.loginMethod,
    clientName: options.clientName,
    ...(options.signal ? { signal: options.signal } : {}),
    onBlocked: (now) => {
      if (now !== null) world.log.warning(`The broker takes no messages for now: ${now}`);
      else if (reason !== null) world.log.info("The broker takes messages again");
      reason = now;
    },
  });
}

class AmqpTransport implements Connection {
  readonly transport = "amqp";
  readonly url: string;
  readonly lost: Promise<Error | null>;
  readonly ledger: Ledger;
  #world: World;
  #target: AmqpTarget;
  #options: ConnectOptions;
  #main: AmqpConnection;
  #control: AmqpControl;
  #publisher: AmqpPublisher;
  #receiving: Promise<AmqpConnection> | null = null;
  #consumer: AmqpConsumer | null = null;
  #subscriptions = new Set<Subscription>();
  #declared = new Map<string, Queue>();
  #deadLetters: Promise<string> | null = null;
  #openingDelays: Promise<AmqpDelays | null> | null = null;
  #resolveLost: (error: Error | null) => void;
  #isClosing = false;
  #isLost = false;

  constructor(
    world: World,
    parts: { url: string; target: AmqpTarget; options: ConnectOptions; main: AmqpConnection },
  ) {
    this.url = parts.url;
    this.#world = world;
    this.#target = parts.target;
    this.#options = parts.options;
    this.#main = parts.main;
    this.#control = new AmqpControl(parts.main);
    this.#publisher = new AmqpPublisher(parts.main, {
      confirms: parts.options.transportOptions["confirm_publish"] !== false,
      queueOf: (name) => this.#declared.get(name),
      declare: (queue) => this.declare(queue),
    });
    this.ledger = new AmqpLedger(world, {
      main: parts.main,
      way: async (out) => await this.#delayedWay(out) ?? out,
    });
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.lost = promise;
    this.#resolveLost = resolve;
    this.#watch(parts.main);
  }

  async declare(queue: Queue): Promise<number> {
    // An exclusive queue is its connection's: it is declared where it is received.
    const control = queue.exclusive ? new AmqpControl(await this.#openReceiving()) : this.#control;
    const count = await control.run((channel) => declareQueue(channel, queue));
    this.#declared.set(queue.name, queue);
    return count;
  }

  declareExchange(exchange: Exchange): Promise<void> {
    return this.#control.run((channel) => declareExchange(channel, exchange));
  }

  publish(batch: readonly OutgoingMessage[]): Promise<void> {
    for (const { exchange, message } of batch) {
      if ((message.headers["eta"] ?? null) !== null && exchange !== DELAY_EXCHANGE) {
        return this.#publishDelayed(batch);
      }
    }
    return this.#publisher.publish(batch);
  }

  async consume(options: ConsumeOptions, events: ConsumerEvents): Promise<Consumer> {
    if (this.#consumer !== null) throw new UsageError("Cannot consume twice on one connection");
    const delays = this.#delays(options.queues) ? await this.#openDelays() : null;
    for (const queue of options.queues) await delays?.bind(queue);
    const channel = await (await this.#openReceiving()).openChannel();
    this.#consumer = await AmqpConsumer.open(this.#world, channel, {
      consume: options,
      events,
      isPerConsumer: this.#options.detectQuorumQueues !== false && options.queues.some(isQuorum),
      publish: (batch) => this.#publisher.publish(batch),
      delayed: (queue, dueMs) => delays?.way(queue, dueMs) ?? null,
      deadLetters: () => this.#openDeadLetters(),
      onQueue: async (queue) => await delays?.bind(queue),
      onClosed: () => this.#consumer = null,
    });
    return this.#consumer;
  }

  async subscribe(queue: Queue, onNote: (note: Note) => void): Promise<Subscription> {
    const receiving = await this.#openReceiving();
    const subscription = await AmqpSubscription.open(await receiving.openChannel(), {
      queue,
      log: this.#world.log,
      onNote,
      onClosed: () => {
        this.#subscriptions.delete(subscription);
        if (queue.autoDelete) this.#declared.delete(queue.name);
      },
    });
    this.#declared.set(queue.name, queue);
    this.#subscriptions.add(subscription);
    return subscription;
  }

  purge(queueName: string): Promise<number> {
    return this.#orNone(0, async () => {
      const doing = `purge queue "${queueName}"`;
      const answer = await this.#control.run((channel) =>
        channel.call("queue.purge", { queue: queueName }, doing)
      );
      return answer["message-count"] as number;
    });
  }

  queueLength(queueName: string): Promise<number | null> {
    return this.#orNone(null, async () => {
      const args = { queue: queueName, passive: true };
      const doing = `look at queue "${queueName}"`;
      const answer = await this.#control.run((channel) => channel.call("queue.declare", args, doing));
      return answer["message-count"] as number;
    });
  }

  take(queueName: string): Promise<Note | null> {
    return this.#orNone(null, async () => {
      for (;;) {
        const received = await this.#control.run((channel) => channel.get(queueName, true));
        if (received === null) return null;
        if (received.properties !== null) {
          return { message: fromAmqp(received), info: infoOf(received, queueName) };
        }
        this.#world.log.warning(
          `Cannot read a message of queue "${queueName}": ${errorText(received.error)}`,
        );
      }
    });
  }

  async deleteQueue(queueName: string): Promise<void> {
    const doing = `delete queue "${queueName}"`;
    await this.#control.run((channel) => channel.call("queue.delete", { queue: queueName }, doing));
    this.#declared.delete(queueName);
  }

  bindings(): Promise<Binding[]> {
    const all = [...this.#declared.values()].map(({ name, exchange, routingKey }) => ({
      queue: name,
      exchange: exchange.name,
      routingKey: exchange.name === "" ? name : routingKey,
    }));
    return Promise.resolve(all);
  }

  /** The protocol has no question for it. */
  listeners(_exchangeName: string): Promise<number | null> {
    return Promise.resolve(null);
  }

  get deadLetters(): DeadLetters {
    const name = this.#deadName;
    return new AmqpDeadLetters({
      name,
      main: this.#main,
      count: async () => await this.queueLength(name) ?? 0,
      ensure: async (queueName) => {
        if (await this.queueLength(queueName) === null) await this.declare(makeQueue(queueName));
      },
      publish: (batch) => this.publish(batch),
    });
  }

  async close(): Promise<void> {
    if (this.#isClosing) {
      await this.lost;
      return;
    }
    this.#isClosing = true;
    await this.#consumer?.close();
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.close()));
    await this.#closeAll(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #openReceiving(): Promise<AmqpConnection> {
    if (this.#receiving === null) {
      this.#receiving = open(this.#world, this.#target, this.#options).then((connection) => {
        this.#watch(connection);
        return connection;
      });
      // The next one tries anew; this one hears the error itself.
      this.#receiving.catch(() => this.#receiving = null);
    }
    return this.#receiving;
  }

  /** If one connection is lost, the whole is. */
  #watch(connection: AmqpConnection): void {
    void connection.lost.then((error) => {
      if (error === null || this.#isClosing || this.#isLost) return;
      this.#isLost = true;
      void this.#closeAll(error);
    });
  }

  async #closeAll(error: Error | null): Promise<void> {
    this.#resolveLost(error);
    if (error !== null) this.#consumer?.fail(error);
    const receiving = this.#receiving;
    await Promise.all([
      this.#main.close(),
      receiving?.then((opened) => opened.close(), () => {}),
    ]);
  }

  /** Whether messages that are not due wait in the broker: with quorum queues, or where it is asked for. */
  #delays(queues: readonly Queue[]): boolean {
    const { transportOptions, detectQuorumQueues } = this.#options;
    return transportOptions["native_delayed_delivery"] === true ||
      (detectQuorumQueues !== false && queues.some(isQuorum));
  }

  #openDelays(): Promise<AmqpDelays | null> {
    return this.#openingDelays ??= AmqpDelays.setUp(this.#control, {
      queueType: this.#options.delayQueueType ?? "quorum",
      clock: this.#world.clock,
      log: this.#world.log,
    });
  }

  /** Publishes tasks that are not due into the delays, where their queues have them, and the others as always. */
  async #publishDelayed(batch: readonly OutgoingMessage[]): Promise<void> {
    const routed: OutgoingMessage[] = [];
    for (const out of batch) routed.push(await this.#delayedWay(out) ?? out);
    await this.#publisher.publish(routed);
  }

  async #delayedWay(out: OutgoingMessage): Promise<OutgoingMessage | null> {
    const { exchange, routingKey, message } = out;
    const eta = message.headers["eta"];
    if (typeof eta !== "string" || exchange === DELAY_EXCHANGE) return null;
    const all = [...this.#declared.values()];
    const queues = exchange === ""
      ? all.filter(({ name }) => name === routingKey)
      : all.filter((queue) => queue.exchange.name === exchange);
    if (queues.length === 0 || !this.#delays(queues)) return null;
    const delays = await this.#openDelays();
    if (delays === null) return null;
    for (const queue of queues) await delays.bind(queue);
    let dueMs: number;
    try {
      dueMs = parseIso(eta, { assumeUtc: true });
    } catch {
      // The worker refuses it with words of its own.
      return null;
    }
    const way = exchange === ""
      ? delays.way(routingKey, dueMs)
      : delays.routedWay(queues[0]!, routingKey, dueMs);
    if (way === null) return null;
    // How long it may live is in its headers; here it would end the wait too soon.
    return { ...way, message: { ...message, properties: { ...message.properties, expiration: null } } };
  }

  get #deadName(): string {
    const given = this.#options.transportOptions["dead_letter_queue"];
    return typeof given === "string" && given !== "" ? given : DEAD_LETTERS;
  }

  #openDeadLetters(): Promise<string> {
    const name = this.#deadName;
    this.#deadLetters ??= this.declare(deadQueue(name)).then(() => name);
    this.#deadLetters.catch(() => this.#deadLetters = null);
    return this.#deadLetters;
  }

  /** The result of an operation on a queue, or `none` where there is no such queue. */
  async #orNone<T>(none: T, operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (error instanceof ServerError && error.code === "404") return none;
      throw error;
    }
  }
}
