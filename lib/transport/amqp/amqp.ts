/**
 * The AMQP transport: RabbitMQ, with Celery's topology on the wire.
 *
 * Two sockets: one for declaring and publishing, and one, opened with the first consumer or subscription, for
 * receiving. A broker that is short of memory stops reading from publishing connections; acks must not wait
 * for that. If one is lost, both are: the owner connects and declares again.
 *
 * Source: protocol.md 3; kombu 5.2.4 transport/pyamqp.py; celery 5.2.6 app/amqp.py.
 */

import { AmqpConnection, type AmqpTarget } from "../../amqp/mod.ts";
import { AccessRefused, errorText, maskUrl, ServerError, type World } from "../../base/mod.ts";
import { Credentials } from "../../net/mod.ts";
import { parseIso } from "../../wire/mod.ts";
import { AmqpControl, declareExchange, declareQueue, inspectQueue, withLogin } from "./control.ts";
import { AmqpDeadLetters, type AmqpDeadOptions, deadQueue } from "./dead.ts";
import { AmqpFailedTasks, FAILED_QUEUE } from "./failed.ts";
import type { FailedTasks } from "../failed.ts";
import { AmqpDelays } from "./delays.ts";
import { entryExchange } from "./delay.ts";
import { AmqpLedger } from "./ledger.ts";
import { fromAmqp, infoOf } from "./message.ts";
import { AmqpPublisher } from "./publish.ts";
import { AmqpServer } from "./server.ts";
import { AmqpSubscription } from "./subscription.ts";
import { amqpTarget } from "./url.ts";
import { type Binding, type Exchange, type Queue, queue as makeQueue } from "../entity.ts";
import { JointConnection } from "../joint.ts";
import type { Ledger } from "../ledger.ts";
import type {
  Connect,
  Connection,
  ConnectOptions,
  ConsumeOptions,
  Consumer,
  ConsumerEvents,
  DeadLetters,
  QueueStats,
  Subscription,
} from "../transport.ts";
import { type Note, type OutgoingMessage, PublishError } from "../message.ts";

/** RabbitMQ's code for a queue that is exclusive to another connection. */
const RESOURCE_LOCKED = "405";
/** Where `deadLetter` puts messages, unless `dead_letter_queue` names another. */
const DEAD_LETTERS = "lovage.dead";

/**
 * Opens a connection to `amqp://`, `amqps://` or `pyamqp://`. Reads these options of
 * `broker_transport_options`: `confirm_publish` (default true: a publish ends when the broker has the
 * message), `dead_letter_queue`, `native_delayed_delivery` (true: also without quorum queues), and those of
 * `Credentials`. Rejects with UsageError, DialError, AccessRefused or ConnectionLost.
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

async function open(world: World, target: AmqpTarget, options: ConnectOptions): Promise<AmqpConnection> {
  const credentials = Credentials.of(world, "broker_transport_options", options.transportOptions);
  if (credentials === null) return await openAs(world, target, options);
  const { username: user } = target;
  return await credentials.logIn(async (login) => {
    const { username, password } = login;
    const connection = await openAs(world, { ...target, username: username ?? user, password }, options);
    const renewal = credentials.keepFresh(login, (fresh) => connection.updateSecret(fresh.password));
    connection.renewLogin = () => renewal.now();
    void connection.lost.then(() => renewal.stop());
    return connection;
  }, options.signal);
}

function openAs(world: World, target: AmqpTarget, options: ConnectOptions): Promise<AmqpConnection> {
  let reason: string | null = null;
  return AmqpConnection.open(world, target, {
    timeoutMs: options.timeoutMs,
    heartbeatSeconds: options.heartbeatSeconds,
    loginMethod: options.loginMethod,
    clientName: options.clientName,
    ...(options.signal ? { signal: options.signal } : {}),
    onBlocked: (now) => {
      if (now === reason) return;
      if (now !== null) world.log.warning(`The broker accepts no messages for now: ${now}`);
      else world.log.info("The broker accepts messages again");
      reason = now;
    },
  });
}

class AmqpTransport extends JointConnection implements Connection {
  readonly transport = "amqp";
  readonly url: string;
  readonly ledger: Ledger;
  #world: World;
  #target: AmqpTarget;
  #options: ConnectOptions;
  #main: AmqpConnection;
  #server: AmqpServer;
  #control: AmqpControl;
  /** The control channel of the receiving connection, which owns the exclusive queues. */
  #receivingControl: AmqpControl | null = null;
  #publisher: AmqpPublisher;
  #receiving: Promise<AmqpConnection> | null = null;
  #declared = new Map<string, Queue>();
  #deadLetters: Promise<string> | null = null;
  #failed: AmqpFailedTasks | null = null;
  #openingDelays: Promise<AmqpDelays | null> | null = null;

  constructor(
    world: World,
    parts: { url: string; target: AmqpTarget; options: ConnectOptions; main: AmqpConnection },
  ) {
    super();
    this.url = parts.url;
    this.#world = world;
    this.#target = parts.target;
    this.#options = parts.options;
    this.#main = parts.main;
    this.#server = new AmqpServer(parts.main.serverProperties);
    this.#control = new AmqpControl(parts.main);
    this.#publisher = new AmqpPublisher(parts.main, {
      confirms: parts.options.transportOptions["confirm_publish"] !== false,
      log: world.log,
      queuesOf: (out) => this.#queuesOf(out),
      declare: (queue) => this.declare(queue),
    });
    this.ledger = new AmqpLedger(world, {
      main: parts.main,
      delayed: async (out) => await this.#delayed(out) ?? out,
      publish: (batch) => this.#publisher.publish(batch),
    });
    this.watch(parts.main);
  }

  async declare(given: Queue): Promise<number> {
    const queue = this.#server.shaped(given);
    const control = await this.#controlOf(queue);
    let count: number;
    try {
      count = await control.run((channel) => declareQueue(channel, queue, this.#server));
    } catch (error) {
      // A user who may not declare a queue may still use it.
      const found = error instanceof AccessRefused ? await this.queueLength(queue.name) : null;
      if (found === null) throw error;
      this.#world.log.warning(`${errorText(error)}. It exists, and is used as it is`);
      count = found;
    }
    this.#declared.set(queue.name, queue);
    return count;
  }

  declareExchange(exchange: Exchange): Promise<void> {
    return this.#control.run((channel) => declareExchange(channel, exchange));
  }

  publish(batch: readonly OutgoingMessage[]): Promise<void> {
    for (const { exchange, message } of batch) {
      if ((message.headers["eta"] ?? null) !== null && exchange !== this.#delayEntry) {
        return this.#publishDelayed(batch);
      }
    }
    return this.#publisher.publish(batch);
  }

  async consume(options: ConsumeOptions, events: ConsumerEvents): Promise<Consumer> {
    this.mustHaveNoConsumer();
    const delays = this.#delays(options.queues) ? await this.#openDelays() : null;
    for (const queue of options.queues) await delays?.bind(queue, await this.#controlOf(queue));
    const channel = await (await this.#openReceiving()).openChannel();
    const { AmqpConsumer } = await import("./consumer.ts");
    return this.consumer = await AmqpConsumer.open(this.#world, channel, {
      consume: options,
      events,
      server: this.#server,
      // A quorum queue refuses any other prefetch, even if `detectQuorumQueues` is off.
      isPerConsumer: this.#server.countsPerConsumer ||
        options.queues.some((queue) => this.#server.mayBeQuorum(queue)),
      publish: (batch) => this.#publisher.publish(batch),
      delayed: (queue, dueMs) => delays?.routeTo(queue, dueMs) ?? null,
      deadLetters: () => this.#openDeadLetters(),
      onQueue: async (queue) => await delays?.bind(queue, await this.#controlOf(queue)),
      onClosed: () => this.consumer = null,
    });
  }

  async subscribe(given: Queue, onNote: (note: Note) => void): Promise<Subscription> {
    const queue = this.#server.shaped(given);
    // The queue of a node's remote control requests is named after the node. If it were exclusive under that
    // name, it would lock out a worker of the same name, and this worker's next connection until the broker
    // notices that the last has ended.
    const isShareable = queue.exclusive && !given.exclusive && queue.exchange.type === "fanout";
    if (isShareable) return await this.#subscribe(this.#ownNamed(queue), onNote);
    try {
      return await this.#subscribe(queue, onNote);
    } catch (error) {
      const isTaken = error instanceof ServerError && error.code === RESOURCE_LOCKED && queue.exclusive;
      if (!isTaken || queue.exchange.name === "") throw error;
      const own = this.#ownNamed(queue);
      this.#world.log.info(`Queue "${queue.name}" belongs to another connection: listening on "${own.name}"`);
      return await this.#subscribe(own, onNote);
    }
  }

  /**
   * Returns a queue with a unique name, which the exchange reaches by its binding. The name keeps its ending.
   */
  #ownNamed(queue: Queue): Queue {
    const tail = queue.name.endsWith(`.${queue.exchange.name}`) ? `.${queue.exchange.name}` : "";
    const head = queue.name.slice(0, queue.name.length - tail.length);
    return { ...queue, name: `${head}.${this.#world.random.id().slice(0, 8)}${tail}` };
  }

  async #subscribe(queue: Queue, onNote: (note: Note) => void): Promise<Subscription> {
    const receiving = await this.#openReceiving();
    const subscription = await withLogin(
      receiving,
      async () =>
        await AmqpSubscription.open(await receiving.openChannel(), {
          queue,
          server: this.#server,
          log: this.#world.log,
          onNote,
          onClosed: () => {
            this.subscriptions.delete(subscription);
            if (queue.autoDelete) this.#declared.delete(queue.name);
          },
        }),
    );
    this.#declared.set(queue.name, queue);
    this.subscriptions.add(subscription);
    return subscription;
  }

  purge(queueName: string): Promise<number> {
    return this.#orNone(0, async () => {
      const doing = `purge queue "${queueName}"`;
      const answer = await (await this.#controlOf(queueName)).run((channel) =>
        channel.call("queue.purge", { queue: queueName }, doing)
      );
      return answer["message-count"] as number;
    });
  }

  async queueLength(queueName: string): Promise<number | null> {
    return (await this.queueStats(queueName))?.ready ?? null;
  }

  queueStats(queueName: string): Promise<QueueStats | null> {
    return this.#orNone(null, async () => {
      const control = await this.#controlOf(queueName);
      const found = await control.run((channel) => inspectQueue(channel, queueName));
      return { ...found, priorities: [], next: null, unacked: null };
    });
  }

  take(queueName: string): Promise<Note | null> {
    return this.#orNone(null, async () => {
      const control = await this.#controlOf(queueName);
      for (;;) {
        const received = await control.run((channel) => channel.get(queueName, true));
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
    const control = await this.#controlOf(queueName);
    await control.run((channel) => channel.call("queue.delete", { queue: queueName }, doing));
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

  /** Resolves with null: AMQP cannot ask for it. */
  listeners(_exchangeName: string): Promise<number | null> {
    return Promise.resolve(null);
  }

  get deadLetters(): DeadLetters {
    return new AmqpDeadLetters(this.#deadOptions(this.#deadName));
  }

  get failedTasks(): FailedTasks {
    return this.#failed ??= new AmqpFailedTasks(this.#world, this.#deadOptions(FAILED_QUEUE), async () => {
      await this.declare(deadQueue(FAILED_QUEUE));
    });
  }

  #deadOptions(name: string): AmqpDeadOptions {
    return {
      name,
      main: this.#main,
      count: async () => await this.queueLength(name) ?? 0,
      ensure: async (queueName) => {
        if (await this.queueLength(queueName) === null) await this.declare(makeQueue(queueName));
      },
      publish: (batch) => this.publish(batch),
    };
  }

  #openReceiving(): Promise<AmqpConnection> {
    if (this.#receiving === null) {
      this.#receiving = this.join(() => open(this.#world, this.#target, this.#options));
      // The next caller tries again; this one gets the error.
      this.#receiving.catch(() => this.#receiving = null);
    }
    return this.#receiving;
  }

  protected override closeSockets(): Promise<unknown> {
    return Promise.all([this.#main.close(), this.#receiving?.then((opened) => opened.close(), () => {})]);
  }

  /**
   * Resolves with the control channel for a queue: an exclusive queue belongs to the receiving connection.
   */
  async #controlOf(queue: Queue | string): Promise<AmqpControl> {
    const known = typeof queue === "string" ? this.#declared.get(queue) : this.#server.shaped(queue);
    if (known?.exclusive !== true) return this.#control;
    return this.#receivingControl ??= new AmqpControl(await this.#openReceiving());
  }

  /**
   * Whether messages that are not due wait at the broker: with quorum queues, or if the option asks for it.
   */
  #delays(queues: readonly Queue[]): boolean {
    return this.#options.transportOptions["native_delayed_delivery"] === true || this.#hasQuorum(queues);
  }

  #hasQuorum(queues: readonly Queue[]): boolean {
    return this.#options.detectQuorumQueues !== false &&
      queues.some((queue) => this.#server.mayBeQuorum(queue));
  }

  get #delayEntry(): string {
    return entryExchange(this.#options.delayQueuePrefix ?? "");
  }

  #openDelays(): Promise<AmqpDelays | null> {
    return this.#openingDelays ??= AmqpDelays.setUp(this.#control, {
      queueType: this.#options.delayQueueType ?? "quorum",
      prefix: this.#options.delayQueuePrefix ?? "",
      clock: this.#world.clock,
      log: this.#world.log,
    });
  }

  /**
   * Publishes tasks that are not due to the delay exchange, if their queues are bound to it, and the others
   * as usual.
   */
  async #publishDelayed(batch: readonly OutgoingMessage[]): Promise<void> {
    const routed = new Map<OutgoingMessage, OutgoingMessage>();
    for (const out of batch) routed.set(await this.#delayed(out) ?? { ...out }, out);
    try {
      await this.#publisher.publish([...routed.keys()]);
    } catch (error) {
      if (!(error instanceof PublishError)) throw error;
      const { message, unpublished, isRetryable } = error;
      throw new PublishError(message, {
        unpublished: unpublished.map((out) => routed.get(out)!),
        isRetryable,
      });
    }
  }

  /** Resolves with a task as published to the delay exchange; null if it does not wait there. */
  async #delayed(out: OutgoingMessage): Promise<OutgoingMessage | null> {
    const { exchange, routingKey, message, isMandatory = false } = out;
    const eta = message.headers["eta"];
    if (typeof eta !== "string" || exchange === this.#delayEntry) return null;
    const queues = this.#queuesOf(out);
    if (queues.length === 0 || !this.#delays(queues)) return null;
    const delays = await this.#openDelays();
    if (delays === null) return null;
    for (const queue of queues) await delays.bind(queue, await this.#controlOf(queue));
    let dueMs: number;
    try {
      dueMs = parseIso(eta, { assumeUtc: true });
    } catch {
      // The worker refuses it with an error of its own.
      return null;
    }
    const route = exchange === ""
      ? delays.routeTo(routingKey, dueMs)
      : delays.routeBy(queues[0]!, routingKey, dueMs);
    if (route === null) return null;
    // Expiration would end the wait too soon; the headers still have `expires`.
    return {
      ...route,
      isMandatory,
      message: { ...message, properties: { ...message.properties, expiration: null } },
    };
  }

  /** Returns the declared queues that a message may be meant for. */
  #queuesOf({ exchange, routingKey }: OutgoingMessage): Queue[] {
    if (exchange !== "") {
      return [...this.#declared.values()].filter((queue) => queue.exchange.name === exchange);
    }
    const queue = this.#declared.get(routingKey);
    return queue === undefined ? [] : [queue];
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

  /**
   * Resolves with the result of an operation on a queue, or with `none` if there is no such queue or it
   * belongs to another connection.
   */
  async #orNone<T>(none: T, operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (error instanceof ServerError && (error.code === "404" || error.code === RESOURCE_LOCKED)) {
        return none;
      }
      throw error;
    }
  }
}
