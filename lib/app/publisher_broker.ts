/**
 * The client's own way to the broker: one connection, opened by the first message and again when it was lost.
 *
 * Source: kombu 5.2.4 messaging.py Producer.publish, connection.py Connection.ensure; celery 5.2.6
 * app/amqp.py.
 */

import { atMost, ConnectionLost } from "../base/mod.ts";
import type { Connection, OutgoingMessage } from "../transport/mod.ts";
import { eventExchange } from "./amqp.ts";
import type { App } from "./app.ts";
import { appBrokerUrls, connectBroker, type ConnectBrokerOptions, isWorthRetrying } from "./connecting.ts";
import type { Publisher, PublishOptions } from "./publisher.ts";
import type { PublishRetryPolicy } from "./send_options.ts";

/** How long `close` waits for what is on its way, milliseconds. */
const CLOSE_WAIT_MS = 5000;

/** Publishes over a connection of its own. Constructing does no I/O. */
export class BrokerPublisher implements Publisher {
  readonly #app: App;
  readonly #connect: ConnectBrokerOptions["connect"];
  #connection: Promise<Connection> | null = null;
  /** The same, once it is there. */
  #opened: Connection | null = null;
  #declared = new Set<string>();
  #inFlight = 0;
  #idle: (() => void) | null = null;
  #closed = false;

  /** `connect` opens one connection; default the transport room's. */
  constructor(app: App, options: { connect?: ConnectBrokerOptions["connect"] } = {}) {
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
    try {
      if (options.isOver === true && await this.#claimed(batch[0]!)) return;
      for (let attempt = 0;; attempt++) {
        try {
          const connection = this.#opened ?? await (this.#connection ??= this.#open());
          if (this.#needsDeclaring(batch)) await this.#declare(connection, batch);
          await connection.publish(batch);
          return;
        } catch (error) {
          const delayMs = this.#retryDelayMs(error, attempt, options);
          if (delayMs === null) throw error;
          if (delayMs > 0) await this.#app.world.clock.sleep(delayMs);
        }
      }
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#idle?.();
    }
  }

  /** True where the worker that this is has taken the message. Where its connection broke, it may arrive twice. */
  async #claimed(out: OutgoingMessage): Promise<boolean> {
    if (this.#app.claim === null) return false;
    // Where what is sent goes to another broker than the one that is consumed from, it must go there.
    const [to, from] = [appBrokerUrls(this.#app, true), appBrokerUrls(this.#app, false)];
    const claiming = to.join() === from.join() ? this.#app.claim(out) : null;
    return claiming !== null && await claiming.then(() => true, () => false);
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

  #declare(connection: Connection, batch: readonly OutgoingMessage[]): Promise<void> {
    return declareWays(this.#app, connection, batch, this.#declared);
  }

  /** Milliseconds until the next attempt; null: none. Source: kombu utils/functional.py retry_over_time. */
  #retryDelayMs(error: unknown, attempt: number, options: PublishOptions): number | null {
    const { conf } = this.#app;
    if (!(options.retry ?? conf.task_publish_retry)) return null;
    if (this.#closed || !isWorthRetrying(error)) return null;
    const policy: PublishRetryPolicy = { ...conf.task_publish_retry_policy, ...options.retryPolicy };
    const max = policy.max_retries === undefined ? 3 : policy.max_retries;
    if (max !== null && attempt >= max) return null;
    const start = policy.interval_start ?? 0;
    const step = policy.interval_step ?? 0.2;
    return Math.min(start + attempt * step, policy.interval_max ?? 1) * 1000;
  }
}

/**
 * Declares what a batch goes to, unless `declared` says that this connection has it already; what was declared is
 * added.
 */
export async function declareWays(
  app: App,
  connection: Connection,
  batch: readonly OutgoingMessage[],
  declared: Set<string>,
): Promise<void> {
  for (const out of batch) {
    const way = wayOf(out);
    if (declared.has(way)) continue;
    if (out.exchange !== "" && out.exchange === app.conf.event_exchange) {
      await connection.declareExchange(eventExchange(app, connection.transport));
    }
    for (const queue of app.amqp.queues) {
      const isMeant = out.exchange === ""
        ? queue.name === out.routingKey
        : queue.exchange.name === out.exchange;
      // A broadcast's queue belongs to whoever consumes; here its exchange alone matters.
      if (isMeant && queue.autoDelete) await connection.declareExchange(queue.exchange);
      else if (isMeant) await connection.declare(queue);
    }
    declared.add(way);
  }
}

function wayOf(out: OutgoingMessage): string {
  return `${out.exchange}\n${out.routingKey}`;
}
