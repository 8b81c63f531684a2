/**
 * The client's own broker connection, opened by the first message, and again after it was lost.
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

/** How long `close` waits for messages under key, milliseconds. */
const CLOSE_WAIT_MS = 5000;

/** Publishes over its own connection. The constructor does no I/O. */
export class BrokerPublisher implements Publisher {
  readonly #app: AppCore;
  readonly #connect: ConnectBrokerOptions["connect"];
  #connection: Promise<Connection> | null = null;
  /** The same connection once it is open. */
  #opened: Connection | null = null;
  #declared = new Set<string>();
  /**
   * Queues by exchange and routing key, as they came with messages: a pool slot sends each queue only once.
   */
  #queues = new Map<string, Queue>();
  #inFlight = 0;
  #idle: (() => void) | null = null;
  #closed = false;

  /** `connect` opens one connection; default: the transport room's. */
  constructor(app: AppCore, options: { connect?: ConnectBrokerOptions["connect"] } = {}) {
    this.#app = app;
    this.#connect = options.connect;
  }

  /**
   * Publishes a batch, and first declares its queues, once per connection. If nothing must be awaited, the
   * batch is written before this returns, so the caller continues while it is under key. Rejects with
   * ConnectionLost after `close`, else as `Publisher.publish` does.
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
          if (this.#needsDeclaring(unpublished)) await this.#declareAll(connection, unpublished);
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

  /**
   * Returns true if this process is a worker and has taken the message itself. If its connection broke
   * meanwhile, the message may arrive twice.
   */
  async #handedOn(out: OutgoingMessage): Promise<boolean> {
    if (this.#app.handOn === null) return false;
    // Not if the App publishes to another broker than the one it consumes from.
    const [to, from] = [appBrokerUrls(this.#app, true), appBrokerUrls(this.#app, false)];
    const handing = to.join() === from.join() ? this.#app.handOn(out) : null;
    return handing !== null && await handing.then(() => true, () => false);
  }

  /**
   * Waits at most five seconds for messages under key, then closes the connection. Idempotent. Messages that
   * the broker has not accepted by then are rejected to their publishers.
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
    // An error of opening was reported to the publisher.
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
      // Most batches have one destination, which is checked only once.
      if (out.routingKey === routingKey && out.exchange === exchange) continue;
      ({ exchange, routingKey } = out);
      if (!this.#declared.has(routeKeyOf(out))) return true;
    }
    return false;
  }

  #learn(batch: readonly OutgoingMessage[]): void {
    let last: Queue | null = null;
    for (const out of batch) {
      const { queue } = out;
      if (!queue || queue === last) continue;
      last = queue;
      const key = routeKeyOf(out);
      if (this.#queues.get(key) === queue) continue;
      this.#queues.set(key, queue);
      this.#declared.delete(key);
    }
  }

  #declareAll(connection: Connection, batch: readonly OutgoingMessage[]): Promise<void> {
    return declareTargets(this.#app, connection, batch, { declared: this.#declared, queues: this.#queues });
  }

  /**
   * Returns the milliseconds until the next attempt; null: none. Source: kombu utils/functional.py
   * retry_over_time.
   */
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
    // The sender waits here, so a broker that was silent for the whole timeout is not tried again, except in
    // a worker or without a limit of retries.
    const isSilent = this.#opened === null && conf.broker_connection_timeout &&
      world.clock.monoMs() - startedMs >= conf.broker_connection_timeout * 1000;
    if (max !== null && (attempt >= max || isSilent && this.#app.handOn === null)) return null;
    const start = policy.interval_start ?? 0;
    const step = policy.interval_step ?? 0.2;
    return Math.min(start + attempt * step, policy.interval_max ?? 1) * 1000;
  }
}

/**
 * Declares the destinations of a batch: the queue that each message is meant for, and the App's own queues
 * that it may reach. `declared` holds the destinations that were declared on this connection; new ones are
 * added. `queues` holds queues by destination, for messages that come without theirs. Rejects with the
 * broker's error.
 */
export async function declareTargets(
  app: AppCore,
  connection: Connection,
  batch: readonly OutgoingMessage[],
  known: { readonly declared: Set<string>; readonly queues?: ReadonlyMap<string, Queue> },
): Promise<void> {
  for (const out of batch) {
    const key = routeKeyOf(out);
    if (known.declared.has(key)) continue;
    if (out.exchange !== "" && out.exchange === app.conf.event_exchange) {
      await connection.declareExchange(eventExchange(app, connection.transport));
    }
    const meant = out.queue ?? known.queues?.get(key) ?? null;
    if (meant !== null) await declareToSend(connection, meant);
    for (const queue of app.amqp.queues) {
      const isReached = out.exchange === ""
        ? queue.name === out.routingKey
        : queue.exchange.name === out.exchange;
      if (isReached && queue.name !== meant?.name) await declareToSend(connection, queue);
    }
    known.declared.add(key);
  }
}

/**
 * Declares a queue for sending. The queue of a broadcast belongs to its consumer, so only its exchange is
 * declared.
 */
async function declareToSend(connection: Connection, queue: Queue): Promise<void> {
  if (queue.autoDelete && queue.exchange.type === "fanout") await connection.declareExchange(queue.exchange);
  else await connection.declare(queue);
}

function routeKeyOf(out: OutgoingMessage): string {
  return `${out.exchange}\n${out.routingKey}`;
}
