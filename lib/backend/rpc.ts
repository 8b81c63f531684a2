/**
 * Results as messages: each is sent to the queue on which the task's sender listens, and nowhere else.
 *
 * It works over any broker, through a connection that the app provides. Only the process that sent a task can
 * read its result; results are delivered as they arrive, and kept in memory until they are forgotten or too
 * many.
 *
 * Source: celery 5.2.6 backends/rpc.py RPCBackend; protocol.md 4.7.
 */

import { atMost, ConnectionLost, errorText, isRetryable, OperatingError, type World } from "../base/mod.ts";
import {
  acceptedTypes,
  bodyData,
  deserialize,
  type EncodedMessage,
  loadSerializer,
  READY_STATES,
  type ResultMeta,
  resultMetaFrom,
} from "../wire/mod.ts";
import type { Backend, BackendOptions, ChordPart, CompleteHeader, ResultRecord, Watch } from "./backend.ts";
import { type BatchResult, type StoreDone, StoreQueue } from "./queue.ts";
import { retryPolicy } from "./retry.ts";
import type { RpcConnection, RpcOptions, RpcQueue } from "./rpc_connection.ts";
import { Watchers } from "./watchers.ts";

/** Results kept in memory at most, and their characters or bytes; beyond either the oldest are dropped. */
const RESULTS_MAX = 1_000_000;
const RESULT_CHARS_MAX = 256 << 20;
const NO_CHORDS = 'The "rpc" result backend does not support chords';
const NO_GROUPS = 'The "rpc" result backend cannot save groups';
/** Pauses between attempts to listen again, milliseconds: the first, and the longest. */
const RELISTEN_MS = 200;
const RELISTEN_MAX_MS = 5000;
/**
 * How long a client may be disconnected before its queue is deleted with its results; less if results expire
 * sooner.
 */
const AWAY_MAX_SECONDS = 3600;
/** How long `close` waits for appended results, milliseconds. */
const CLOSE_WAIT_MS = 5000;

interface Received {
  readonly document: Uint8Array | string;
  readonly meta: ResultMeta;
}

/** The store of `rpc://`. */
export class RpcBackend implements Backend {
  readonly kind = "rpc" as const;
  readonly url = "rpc://";
  readonly countsChords = false;
  readonly expiresByItself = true;
  /** The queue of this process; it exists once `listen` has resolved. */
  readonly replyTo: string;
  readonly #world: World;
  readonly #options: BackendOptions;
  readonly #rpc: RpcOptions;
  readonly #queue: StoreQueue;
  readonly #watchers: Watchers;
  readonly #received = new Map<string, Received>();
  #receivedChars = 0;
  #connection: Promise<RpcConnection> | null = null;
  #listening: Promise<void> | null = null;
  #isListening = false;
  #listens = 0;
  /** The connection was lost, and `#listenAgain` runs. */
  #isRelistening = false;
  #isClosed = false;

  /** Use `open`. */
  constructor(world: World, options: BackendOptions, rpc: RpcOptions) {
    this.#world = world;
    this.#options = options;
    this.#rpc = rpc;
    this.replyTo = world.random.id();
    this.#queue = new StoreQueue({
      clock: world.clock,
      log: world.log,
      policy: retryPolicy(options, world.random),
      schedule: (fn) => world.clock.defer(fn),
      write: (records) => this.#write(records),
      serializer: options.serializer,
    });
    this.#watchers = new Watchers({
      onFirst: (ids) => this.#deliverReceived(ids),
      onMore: (ids) => this.#deliverReceived(ids),
      onLast: () => {},
      decode: (document) => this.#decoding(document),
    });
  }

  /** Opens the store; its first use connects to the broker. Rejects with OperatingError without an app. */
  static async open(world: World, options: BackendOptions): Promise<RpcBackend> {
    if (!options.rpc) {
      throw new OperatingError("Cannot use rpc:// without an app: results are sent over its broker");
    }
    await loadSerializer(options.serializer);
    return new RpcBackend(world, options, options.rpc);
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  /**
   * Resolves when the results of tasks sent from now on will be received. Rejects if the broker cannot be
   * reached.
   */
  listen(): Promise<void> {
    if (this.#isClosed) return Promise.reject(new OperatingError("The result store is closed"));
    if (this.#isListening) return Promise.resolve();
    if (this.#listening === null) {
      this.#listening = this.#listen().finally(() => this.#listening = null);
    }
    return this.#listening;
  }

  /** Sends a result to the task's sender; discards it if the message names no queue. Data lane. */
  store(record: ResultRecord, done: StoreDone | null): void {
    if (!record.replyTo) {
      done?.(null);
      return;
    }
    this.#queue.append(record, done);
  }

  get isCongested(): boolean {
    return this.#queue.isCongested;
  }

  flush(): Promise<void> {
    return this.#queue.flush();
  }

  fetch(taskId: string): Promise<ResultMeta | null> {
    return this.#ensureListening().then(() => this.#received.get(taskId)?.meta ?? null);
  }

  fetchMany(ids: readonly string[]): Promise<(ResultMeta | null)[]> {
    return this.#ensureListening().then(() => ids.map((id) => this.#received.get(id)?.meta ?? null));
  }

  watch(ids: readonly string[], onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void): Watch {
    // After a loss `#listenAgain` listens again, and the waits go on.
    if (!this.#isRelistening) this.listen().catch((error) => this.#watchers.fail(error));
    return this.#watchers.open(ids, onMeta, onError);
  }

  forget(taskId: string): Promise<void> {
    this.#drop(taskId);
    return Promise.resolve();
  }

  /** Rejects: this store cannot keep it. */
  saveGroup(_groupId: string, _tuple: string): Promise<void> {
    return Promise.reject(new OperatingError(NO_GROUPS));
  }

  /** Resolves with null: no group is ever saved. */
  fetchGroup(_groupId: string): Promise<string | null> {
    return Promise.resolve(null);
  }

  deleteGroup(_groupId: string): Promise<void> {
    return Promise.resolve();
  }

  /** Rejects: workers cannot read each other's results. */
  startChord(_groupId: string, _size: number): Promise<void> {
    return Promise.reject(new OperatingError(NO_CHORDS));
  }

  growChord(_groupId: string, _by: number): Promise<void> {
    return Promise.reject(new OperatingError(NO_CHORDS));
  }

  /** Counts nothing: a chord whose producer has another store cannot be completed here. */
  countChordParts(_parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]> {
    return Promise.resolve([]);
  }

  endChord(_groupId: string): Promise<void> {
    return Promise.resolve();
  }

  /** No effect: the broker expires the queues. */
  cleanup(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    // Limited, since a broker may accept no messages for a long time.
    await atMost(this.#world.clock, CLOSE_WAIT_MS, this.#queue.flush());
    this.#isClosed = true;
    this.#isListening = false;
    this.#queue.close();
    this.#watchers.close();
    this.#received.clear();
    const opening = this.#connection;
    this.#connection = null;
    // A failed connection was reported to the caller that needed it.
    const connection = await opening?.catch(() => null);
    await connection?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #ensureListening(): Promise<void> {
    if (!this.#isListening) await this.listen();
  }

  #open(): Promise<RpcConnection> {
    if (this.#connection !== null) return this.#connection;
    const opening = this.#connection = this.#rpc.connect();
    const forget = (): void => {
      if (this.#connection === opening) this.#connection = null;
    };
    opening.then((connection) =>
      connection.lost.then(() => {
        forget();
        if (!this.#isListening || this.#isClosed) return;
        this.#isListening = false;
        void this.#listenAgain();
      }), forget);
    return opening;
  }

  async #listen(): Promise<void> {
    const opening = this.#open();
    const connection = await opening;
    const queue = replyQueue(this.replyTo, this.#options.expiresSeconds, this.#listens++);
    await connection.subscribe(queue, ({ message }) => this.#onMessage(message));
    // The connection may be lost by now: that was reported before `#isListening` was set.
    if (this.#connection !== opening) {
      throw new ConnectionLost("The connection for results is lost", { isRetryable: true });
    }
    this.#isListening = true;
  }

  /**
   * Listens again after a loss, since somebody may be waiting. Results that arrive meanwhile wait in the
   * queue.
   */
  async #listenAgain(): Promise<void> {
    if (this.#isRelistening) return;
    this.#isRelistening = true;
    const { clock, log } = this.#world;
    log.warning("The connection for results is lost: listening again");
    for (let delayMs = RELISTEN_MS; !this.#isClosed && !this.#isListening;) {
      try {
        await this.listen();
        // The new connection may be lost already.
        continue;
      } catch (error) {
        if (this.#isClosed) break;
        log.warning(`Cannot listen for results: ${errorText(error)}`);
      }
      await clock.sleep(delayMs);
      delayMs = Math.min(delayMs * 2, RELISTEN_MAX_MS);
    }
    this.#isRelistening = false;
  }

  async #write(records: readonly ResultRecord[]): Promise<BatchResult> {
    const [contentType = ""] = acceptedTypes([this.#options.serializer]);
    const connection = await this.#open();
    const messages = records.map(({ taskId, document, replyTo }) => ({
      exchange: "",
      routingKey: replyTo!,
      message: {
        body: typeof document === "string" ? encoder.encode(document) : document,
        bodyEncoding: "none" as const,
        contentType,
        contentEncoding: typeof document === "string" ? "utf-8" : "binary",
        headers: {},
        properties: {
          correlationId: taskId,
          replyTo: null,
          deliveryMode: this.#rpc.isPersistent ? 2 as const : 1 as const,
          priority: 0,
          expiration: null,
          rest: null,
        },
      },
    }));
    try {
      await connection.publish(messages);
      return null;
    } catch (error) {
      if (messages.length === 1 || isRetryable(error)) throw error;
    }
    // A message was refused (too large for the broker), and messages after it may be lost: each is sent alone
    // and gets its own answer.
    const errors: (Error | null)[] = [];
    for (const message of messages) {
      const error = await connection.publish([message]).then(() => null, (thrown: Error) => thrown);
      if (isRetryable(error)) throw error;
      errors.push(error);
    }
    return errors;
  }

  #onMessage(message: EncodedMessage): void {
    if (this.#isClosed) return;
    const id = message.properties.correlationId;
    if (id === null) return;
    let meta: ResultMeta;
    const document = bodyData(message);
    try {
      const { contentType, contentEncoding } = message;
      meta = resultMetaFrom(deserialize(document, contentType, contentEncoding, this.#options.accept));
    } catch (error) {
      return this.#world.log.warning(`Cannot read the result of task ${id}: ${errorText(error)}`);
    }
    if (meta.taskId === "") meta.taskId = id;
    // Two attempts of a task send from two processes: a RETRY may arrive after the final state that followed
    // it.
    const before = this.#received.get(id);
    if (before && READY_STATES.has(before.meta.state) && !READY_STATES.has(meta.state)) return;
    this.#drop(id);
    this.#received.set(id, { document, meta });
    this.#receivedChars += document.length;
    for (const oldest of this.#received.keys()) {
      if (this.#received.size <= RESULTS_MAX && this.#receivedChars <= RESULT_CHARS_MAX) break;
      if (oldest === id) break;
      this.#drop(oldest);
    }
    this.#deliver(id, { document, meta });
  }

  #drop(id: string): void {
    const kept = this.#received.get(id);
    if (kept === undefined) return;
    this.#received.delete(id);
    this.#receivedChars -= kept.document.length;
  }

  #deliverReceived(ids: readonly string[]): void {
    queueMicrotask(() => {
      for (const id of ids) {
        const kept = this.#received.get(id);
        if (kept !== undefined) this.#deliver(id, kept);
      }
    });
  }

  #deliver(id: string, received: Received): void {
    this.#delivering = received.meta;
    this.#watchers.deliver(id, received.document);
    this.#delivering = null;
  }
  #delivering: ResultMeta | null = null;

  /** Returns the document that is being delivered, which was decoded on arrival by its content type. */
  #decoding(_document: string | Uint8Array): ResultMeta {
    return this.#delivering!;
  }
}

const encoder = new TextEncoder();

/**
 * Returns the queue of one client, which is deleted when the client is closed. Messages wait in it while the
 * client is disconnected, and are acknowledged when they were received; if the client does not come back, the
 * queue expires. It is durable, since RabbitMQ 4.3 keeps no transient queue that is not exclusive. `priority`
 * is higher than that of the client's earlier consumers, since the broker may still take a lost one for
 * alive.
 *
 * Source: celery main backends/rpc.py RPCBackend.binding (#10290), whose queue is deleted with the
 * connection.
 */
function replyQueue(name: string, expiresSeconds: number | null, priority: number): RpcQueue {
  return {
    name,
    exchange: { name: "", type: "direct", durable: true, autoDelete: false, arguments: {} },
    routingKey: name,
    durable: true,
    exclusive: false,
    autoDelete: true,
    noAck: false,
    queueArguments: {
      "x-expires": Math.trunc(Math.min(expiresSeconds ?? Infinity, AWAY_MAX_SECONDS) * 1000),
    },
    bindingArguments: {},
    consumerArguments: { "x-priority": priority },
    alias: null,
  };
}
