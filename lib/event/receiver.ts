/**
 * Receives the events of a cluster until it is closed, and reconnects when the connection is lost.
 *
 * Source: celery 5.2.6 events/receiver.py EventReceiver; protocol.md 5.1, 5.3.
 */

import { errorText, maskUrl, namesOf, refuseUnknown } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { type Connection, exchange, type Note } from "../transport/mod.ts";
import { encodeMailboxRequest, loadSerializer } from "../wire/mod.ts";
import { eventQueue, EventReader, type ReceivedEvent } from "./event.ts";

/** Events that wait for a loop over a receiver at most; the oldest are dropped first. */
const QUEUE_MAX = 10_000;

/** Options of a receiver. */
export interface ReceiverOptions {
  /**
   * Handlers by event type; "*" gets events that have no handler of their own. An error of a handler is
   * logged.
   */
  handlers?: Readonly<Record<string, (event: ReceivedEvent) => void>>;
  /** Which events to receive: "#" all (the default), "worker.#" those of a group. */
  routingKey?: string;
  /** Ask workers for a heartbeat at the start, so that all are known at once. Default true. */
  wakeup?: boolean;
  /** The last part of the queue's name. Default a random id. */
  nodeId?: string;
  /** The first part of the queue's name. Default `event_queue_prefix`. */
  queuePrefix?: string;
  /** Seconds that an event waits in the queue. Default `event_queue_ttl`. */
  queueTtl?: number | null;
  /** Called when the connection was lost; a new one is then made. */
  onLost?: (error: Error) => void;
  /**
   * Called after a failed attempt to connect; the next follows in `seconds` (0: with another broker, at
   * once).
   */
  onAttempt?: (error: Error, seconds: number, url: string) => void;
  /** Called when it listens, at first and after each reconnect. */
  onReady?: (url: string) => void;
  /** Ends the receiver as `close` does. If it aborts while `open` connects, `open` rejects. */
  signal?: AbortSignal;
}

const RECEIVER_NAMES = namesOf<ReceiverOptions>({
  handlers: true,
  routingKey: true,
  wakeup: true,
  nodeId: true,
  queuePrefix: true,
  queueTtl: true,
  onLost: true,
  onAttempt: true,
  onReady: true,
  signal: true,
});

/** Options of `capture`. */
export interface CaptureOptions {
  /** End after this many events. */
  limit?: number;
  /** End when no event came for this many seconds. */
  timeout?: number;
}

const CAPTURE_NAMES = namesOf<CaptureOptions>({ limit: true, timeout: true });

/**
 * Receives events until it is closed.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop");
 * await using receiver = await app.events.receiver({ routingKey: "worker.#" });
 * for await (const event of receiver) console.log(event.hostname, event.type);
 * ```
 */
export class EventReceiver implements AsyncDisposable {
  readonly #app: App;
  readonly #options: ReceiverOptions;
  readonly #reader: EventReader;
  readonly #ending = new AbortController();
  #connection: Connection | null = null;
  #running: Promise<void> | null = null;
  #queue: ReceivedEvent[] = [];
  #isQueued = false;
  #wake: (() => void) | null = null;
  #failure: unknown = null;

  private constructor(app: App, options: ReceiverOptions) {
    this.#app = app;
    this.#options = options;
    this.#reader = new EventReader(app);
  }

  /**
   * Connects and listens.
   *
   * @throws {UsageError} for an unknown option.
   * @throws {OperatingError} if the broker cannot be reached after the retries of the settings.
   */
  static async open(app: App, options: ReceiverOptions = {}): Promise<EventReceiver> {
    refuseUnknown(options, RECEIVER_NAMES, "an event receiver");
    const { signal } = options;
    signal?.throwIfAborted();
    const receiver = new EventReceiver(app, options);
    const stop = () => void receiver.close();
    signal?.addEventListener("abort", stop, { once: true });
    receiver.#ending.signal.addEventListener("abort", () => signal?.removeEventListener("abort", stop));
    try {
      receiver.#running = receiver.#run(await receiver.#listen());
    } catch (error) {
      receiver.#ending.abort();
      throw error;
    }
    return receiver;
  }

  /**
   * Resolves when the receiver has ended by `close`; rejects with the error if the broker cannot be reached
   * any more.
   */
  async ended(): Promise<void> {
    await this.#running;
    if (this.#failure !== null) throw this.#failure;
  }

  /** Yields events as they come. Events that come while the loop is busy wait, at most 10,000 of them. */
  async *capture(options: CaptureOptions = {}): AsyncGenerator<ReceivedEvent, void> {
    refuseUnknown(options, CAPTURE_NAMES, "capture");
    this.#isQueued = true;
    let left = options.limit ?? Infinity;
    try {
      while (left > 0) {
        const event = this.#queue.shift();
        if (event !== undefined) {
          left--;
          yield event;
          continue;
        }
        if (this.#ending.signal.aborted) return;
        if (!await this.#untilMore(options.timeout ?? null)) return;
      }
    } finally {
      this.#isQueued = false;
      this.#queue = [];
    }
  }

  /** Yields all events until the receiver is closed. */
  [Symbol.asyncIterator](): AsyncGenerator<ReceivedEvent, void> {
    return this.capture();
  }

  /**
   * Asks all workers for a heartbeat event now. Rejects as publishing does; does nothing without a
   * connection.
   */
  async wakeupWorkers(): Promise<void> {
    const connection = this.#connection;
    if (connection === null) return;
    const { conf, clock } = this.#app;
    const name = `${conf.control_exchange}.pidbox`;
    await connection.declareExchange(exchange(name, { type: "fanout", durable: false }));
    const message = encodeMailboxRequest({
      method: "heartbeat",
      arguments: {},
      destination: null,
      pattern: null,
      matcher: null,
      ticket: null,
      replyTo: null,
      clock: clock.forward(),
      expires: 0,
    }, {
      serializer: conf.task_serializer,
      bodyEncoding: connection.transport === "amqp" ? "none" : "base64",
    });
    await connection.publish([{ exchange: name, routingKey: "", message }]);
  }

  /** Ends the receiver. A second call has no effect. */
  async close(): Promise<void> {
    this.#ending.abort(new Error("the receiver was closed"));
    this.#wake?.();
    await this.#connection?.close();
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(connection: Connection): Promise<void> {
    const { signal } = this.#ending;
    try {
      for (;;) {
        const error = await connection.lost;
        this.#connection = null;
        if (signal.aborted) return;
        this.#options.onLost?.(error ?? new Error("the connection ended"));
        connection = await this.#listen(true);
        if (signal.aborted) await connection.close();
      }
    } catch (error) {
      if (!signal.aborted) this.#failure = error;
    } finally {
      this.#ending.abort();
      this.#wake?.();
    }
  }

  /** Connects and subscribes. `isReconnect` is that of ConnectBrokerOptions. */
  async #listen(isReconnect = false): Promise<Connection> {
    const app = this.#app;
    const options = this.#options;
    await loadSerializer(app.conf.event_serializer);
    await loadSerializer(app.conf.task_serializer);
    const connection = await app.connectBroker({
      forWriting: false,
      isReconnect,
      signal: this.#ending.signal,
      clientName: "lovage-events",
      onAttempt: (error, seconds, _attempt, _max, url) => options.onAttempt?.(error, seconds, maskUrl(url)),
    });
    try {
      const queue = eventQueue(app, connection.transport, {
        routingKey: options.routingKey ?? "#",
        ...(options.nodeId === undefined ? {} : { nodeId: options.nodeId }),
        ...(options.queuePrefix === undefined ? {} : { prefix: options.queuePrefix }),
        ...(options.queueTtl === undefined ? {} : { ttlSeconds: options.queueTtl }),
      });
      await connection.subscribe(queue, (note) => this.#onNote(note));
      this.#ending.signal.throwIfAborted();
      this.#connection = connection;
      if (options.wakeup ?? true) await this.wakeupWorkers();
    } catch (error) {
      this.#connection = null;
      await connection.close();
      throw error;
    }
    options.onReady?.(connection.url);
    return connection;
  }

  #onNote(note: Note): void {
    const handlers = this.#options.handlers;
    for (const event of this.#reader.read(note)) {
      const handler = handlers &&
        (Object.hasOwn(handlers, event.type) ? handlers[event.type] : handlers["*"]);
      if (handler) {
        try {
          handler(event);
        } catch (error) {
          this.#app.world.log.error(`Handler of event ${event.type} raised: ${errorText(error)}`);
        }
      }
      if (!this.#isQueued) continue;
      this.#queue.push(event);
      if (this.#queue.length > QUEUE_MAX) this.#queue.splice(0, QUEUE_MAX / 10);
    }
    this.#wake?.();
  }

  /** Resolves with true when an event has come, with false after `seconds` or at the end. */
  async #untilMore(seconds: number | null): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const { clock } = this.#app.world;
    const disarm = seconds === null ? null : clock.arm(clock.monoMs() + seconds * 1000, resolve);
    await promise;
    disarm?.();
    this.#wake = null;
    return this.#queue.length > 0;
  }
}
