/**
 * The client's own way to the broker: one connection, opened by the first message and again when it was lost.
 *
 * Source: kombu 5.2.4 messaging.py Producer.publish, connection.py Connection.ensure; celery 5.2.6
 * app/amqp.py.
 */

import { atMost, ConnectionLost } from "../../base/mod.ts";
import { type Connection, type OutgoingMessage, PublishError, type Queue } from "../../transport/mod.ts";
import type { AppCore } from "../core.ts";
import { eventExchange } from "../conf/amqp.ts";
import { appBrokerUrls, connectBroker, type ConnectBrokerOptions, isWorthRetrying } from "./connecting.ts";
import type { Publisher, PublishOptions } from "../call/publisher.ts";
import type { PublishRetryPolicy } from "../call/send_options.ts";

/** How long `close` waits for what is on its way, milliseconds. */
const CLOSE_WAIT_MS = 5000;

/** Publishes over a connection of its own. Constructing does no I/O. */
export class BrokerPublisher implements Publisher {
  readonly #app: AppCore;
  readonly #connect: ConnectBrokerOptions["connect"];
  #connection: Promise<Connection> | null = null;
  /** The same, once it is there. */
  #opened: Connection | null = null;
  #declared = new Set<string>();
  /** Queues by the ways to them, as they came with messages: a pool slot says so only once. */
  #queues = new Map<string, Queue>();
  #inFlight = 0;
  #idle: (() => void) | null = null;
  #closed = false;

  /** `connect` opens one connection; default the transport room's. */
  constructor(app: AppCore, options: { connect?: ConnectBrokerOptions["connect"] } = {}) {
    this.#app = app;
    this.#connect = options.connect;
  }

  /**
   * Publishes a batch, declaring the queues it goes to first, once per connection. Where nothing is to be waited for it
   * is on its way when this returns: what the caller does next it does meanwhile.
   */
  async publish(batch: readonly OutgoingMessage[], options: PublishOptions = {}): Promise<void> {
    if (this.#closed) throw new ConnectionLost("The publisher is closed");
    this.#inFlight++;
    this.#learn(batch);
    try {
      if (options.handOn === true && await this.#handedOn(batch[0]!)) return this.#app.onPublished?.(batch);
      let unpublished = batch;
      for (let attempt = 0;; attempt++) {
        const startedMs = this.#app.world.clock.monoMs();
        try {
          const connection = this.#opened ?? await (this.#connection ??= this.#open());
          if (this.#needsDeclaring(unpublished)) await this.#declare(connection, unpublished);
          await connection.publish(unpublished);
          return this.#app.onPublished?.(batch);
        } catch (error) {
          if (error instanceof PublishError) ({ unpublished } = error);
          const delayMs = this.#retryDelayMs(error, { attempt, startedMs, ...options });
          if (delayMs === null) throw error;
          if (delayMs > 0) await this.#app.world.clock.sleep(delayMs);
        }
      }
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#idle?.();
    }
  }

  /** True if the worker that this is has taken the message. Where its connection broke, it may arrive twice. */
  async #handedOn(out: OutgoingMessage): Promise<boolean> {
    if (this.#app.handOn === null) return false;
    // Where what is sent goes to another broker than the one that is consumed from, it must go there.
    const [to, from] = [appBrokerUrls(this.#app, true), appBrokerUrls(this.#app, false)];
    const handing = to.join() === from.join() ? this.#app.handOn(out) : null;
    return handing !== null && await handing.then(() => true, () => false);
  }

  /**
   * Waits five seconds at most for what is on its way, then ends the connection. Twice is once. What the broker has not
   * taken by then, since it takes nothing for now, is rejected where it was published.
   */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#inFlight > 0) {
      await atMost(
        this.#app.world.clock,
        CLOSE_WAIT_MS,
        new Promise<void>((resolve) => this.#idle = resolve),
      );
    }
    const opening = this.#connection;
    this.#connection = this.#opened = null;
    if (!opening) return;
    // A connection that could not be opened was reported to whoever published.
    const connection = await opening.catch(() => null);
    await connection?.close();
  }

  #open(): Promise<Connection> {
    this.#declared = new Set();
    const opening = connectBroker(this.#app, {
      forWriting: true,
      retry: false,
      ...(this.#connect ? { connect: this.#connect } : {}),
    });
    const forget = () => {
      if (this.#connection === opening) this.#connection = this.#opened = null;
    };
    opening.then((connection) => {
      if (this.#connection === opening) this.#opened = connection;
      connection.lost.then(forget);
    }, forget);
    return opening;
  }

  #needsDeclaring(batch: readonly OutgoingMessage[]): boolean {
    let exchange: string | null = null;
    let routingKey: string | null = null;
    for (const out of batch) {
      // Most batches go one way; the last way is not looked up again.
      if (out.routingKey === routingKey && out.exchange === exchange) continue;
      ({ exchange, routingKey } = out);
      if (!this.#declared.has(wayOf(out))) return true;
    }
    return false;
  }

  #learn(batch: readonly OutgoingMessage[]): void {
    let last: Queue | null = null;
    for (const out of batch) {
      const { queue } = out;
      if (!queue || queue === last) continue;
      last = queue;
      const way = wayOf(out);
      if (this.#queues.get(way) === queue) continue;
      this.#queues.set(way, queue);
      this.#declared.delete(way);
    }
  }

  #declare(connection: Connection, batch: readonly OutgoingMessage[]): Promise<void> {
    return declareWays(this.#app, connection, batch, { declared: this.#declared, queues: this.#queues });
  }

  /** Milliseconds until the next attempt; null: none. Source: kombu utils/functional.py retry_over_time. */
  #retryDelayMs(
    error: unknown,
    options: PublishOptions & { attempt: number; startedMs: number },
  ): number | null {
    const { conf, world } = this.#app;
    const { attempt, startedMs } = options;
    if (!(options.retry ?? conf.task_publish_retry)) return null;
    if (this.#closed || !isWorthRetrying(error)) return null;
    const policy: PublishRetryPolicy = { ...conf.task_publish_retry_policy, ...options.retryPolicy };
    const max = policy.max_retries === undefined ? 3 : policy.max_retries;
    // Who sends waits here: a broker that was silent for the whole time is not asked again. A worker has the time, and
    // so has who asks for ever.
    const isSilent = this.#opened === null && conf.broker_connection_timeout &&
      world.clock.monoMs() - startedMs >= conf.broker_connection_timeout * 1000;
    if (max !== null && (attempt >= max || isSilent && this.#app.handOn === null)) return null;
    const start = policy.interval_start ?? 0;
    const step = policy.interval_step ?? 0.2;
    return Math.min(start + attempt * step, policy.interval_max ?? 1) * 1000;
  }
}

/**
 * Declares what a batch goes to: the queue that each message is meant for, and the App's own queues that it may reach.
 * `declared` holds the ways that this connection has declared; those that were missing are added. `queues` holds queues
 * by their ways, for messages that come without theirs.
 */
export async function declareWays(
  app: AppCore,
  connection: Connection,
  batch: readonly OutgoingMessage[],
  known: { readonly declared: Set<string>; readonly queues?: ReadonlyMap<string, Queue> },
): Promise<void> {
  for (const out of batch) {
    const way = wayOf(out);
    if (known.declared.has(way)) continue;
    if (out.exchange !== "" && out.exchange === app.conf.event_exchange) {
      await connection.declareExchange(eventExchange(app, connection.transport));
    }
    const meant = out.queue ?? known.queues?.get(way) ?? null;
    if (meant !== null) await declareToSend(connection, meant);
    for (const queue of app.amqp.queues) {
      const isReached = out.exchange === ""
        ? queue.name === out.routingKey
        : queue.exchange.name === out.exchange;
      if (isReached && queue.name !== meant?.name) await declareToSend(connection, queue);
    }
    known.declared.add(way);
  }
}

/** A broadcast's queue belongs to whoever consumes it: a sender declares its exchange alone. */
async function declareToSend(connection: Connection, queue: Queue): Promise<void> {
  if (queue.autoDelete && queue.exchange.type === "fanout") await connection.declareExchange(queue.exchange);
  else await connection.declare(queue);
}

function wayOf(out: OutgoingMessage): string {
  return `${out.exchange}\n${out.routingKey}`;
}
