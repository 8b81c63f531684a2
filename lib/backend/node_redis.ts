/**
 * One connection to Redis on node-redis's protocol engine: its commands queue (encoding, replies in order, RESP2 and
 * RESP3, subscriptions) and its socket (TCP, TLS, unix).
 *
 * The package's main module loads a module for each of Redis's 400 commands: a program that reads one result
 * took 20 per cent longer with it, packed and with the code cache (0.20 s of processor time against 0.25 s).
 * The store needs none of these modules, so it imports the engine's parts directly, which
 * tests/unit/backend/node_redis_test.ts checks.
 */

import { Buffer } from "node:buffer";
import type QueueModule from "@redis/client/dist/lib/client/commands-queue.js";
import type SocketModule from "@redis/client/dist/lib/client/socket.js";
import { type Clock, ConnectionLost } from "../base/mod.ts";
import { extraMs, type Renewal, SLICE_BYTES, WAITED_MS } from "../net/mod.ts";
import { login, type RedisLogin, ReplicaWait, type ServerFacts } from "../redis/mod.ts";
import { type Reply, type RespArg, RespError } from "../wire/mod.ts";

/** An argument of a command. */
export type Argument = string | Buffer;

/** How replies are decoded: bulk strings are text by default. */
export interface ReplyOptions {
  readonly typeMapping?: Readonly<Record<number, unknown>>;
}

/** Receives one message of a channel, bytes or text as subscribed. */
export type Listener = (message: string | Buffer, channel: string | Buffer) => void;

/** The client of a store: a connection, or the connections to a cluster's nodes. */
export interface RedisClient {
  /** Whether commands can be sent. */
  readonly isReady: boolean;
  /** 3 if the server speaks RESP3. */
  readonly protocol: 2 | 3;
  /**
   * When bytes last arrived, or the server last took bytes that had waited for it; monotonic milliseconds.
   */
  readonly movedMs: number;
  /** Bytes of large commands without a reply. */
  readonly openBytes: number;
  /**
   * Sends one command; all commands of a turn leave in one write. Rejects with `ErrorReply`, or when the
   * connection ends.
   */
  sendCommand(args: readonly Argument[], options?: ReplyOptions): Promise<unknown>;
  /** The command that publishes a result; on a cluster of Redis 7 it reaches the result's shard only. */
  readonly publishCommand: "PUBLISH" | "SPUBLISH";
  /**
   * Sends commands in order, in one write, and waits until replicas have the data. Resolves with null or an
   * error for each command; never rejects. Costs a promise for each command.
   */
  sendEach(commands: readonly (readonly Argument[])[]): Promise<unknown[]>;
  /** Subscribes; resolves when the server has confirmed it. Rejects when the connection ends. */
  subscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void>;
  /** Removes a listener from its channels; the last one of a channel ends its subscription. */
  unsubscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void>;
  /**
   * Sends commands of one key's slot as a transaction (MULTI); resolves with their replies, or rejects with
   * the first error.
   */
  transaction(commands: readonly (readonly Argument[])[]): Promise<unknown[]>;
  /** Resolves when replicas have what was written under these keys; at once if no replicas are waited for. */
  replicated(keys: readonly string[]): Promise<void>;
  /** Ends every connection and rejects the calls without a reply. Idempotent. */
  destroy(): void;
}

/** Options of `NodeRedis`. */
export interface NodeRedisOptions {
  /** Options of node-redis's socket: host and port or path, `tls` and its certificates, time limits in ms. */
  readonly socket: Readonly<Record<string, unknown>>;
  /** How subscriptions are read: a server that speaks RESP2 sends them as replies. */
  readonly resp: 2 | 3;
  readonly credentials: RedisLogin;
  /** Milliseconds between the pings of an idle connection; null: no pings. */
  readonly pingMs: number | null;
  /** How many replicas `replicated` waits for; 0: none. */
  readonly waitReplicas: number;
  /** Milliseconds without a byte in either direction after which the peer counts as dead; null: never. */
  readonly timeoutMs: number | null;
}

/** Events of a connection. */
export interface NodeRedisEvents {
  /** Called for each error, and again at the end of the connection, with the same error or null. */
  onEnd(error: unknown): void;
  /** The server ended the subscription to a shard's channel: another node has its slot now. */
  onShardEnd(channel: string): void;
}

/** Maps as maps: 37 is "%", the type's byte. */
const MAPS: ReplyOptions = { typeMapping: { 37: Map } };

type QueueClass = typeof QueueModule.default;
type SocketClass = typeof SocketModule.default;
type Queue = InstanceType<QueueClass>;
type Socket = InstanceType<SocketClass>;

/** The parts of node-redis that are used. */
export interface Engine {
  readonly Queue: QueueClass;
  readonly Socket: SocketClass;
  /** The class of the server's error replies. */
  readonly ErrorReply: new (...args: never[]) => Error;
}

let engine: Promise<Engine> | null = null;

/** Loads node-redis's parts, once. */
export function loadEngine(): Promise<Engine> {
  return engine ??= (async () => {
    const [queue, socket, errors] = await Promise.all([
      import("@redis/client/dist/lib/client/commands-queue.js"),
      import("@redis/client/dist/lib/client/socket.js"),
      import("@redis/client/dist/lib/errors.js"),
    ]);
    const { ErrorReply } = exportsOf<{ ErrorReply: Engine["ErrorReply"] }>(errors);
    return {
      Queue: exportsOf<{ default: QueueClass }>(queue).default,
      Socket: exportsOf<{ default: SocketClass }>(socket).default,
      ErrorReply,
    };
  })();
}

/** Returns a module's exports. The package is CommonJS, so they are behind `default`, bundled or not. */
function exportsOf<T>(module: unknown): T {
  return (module as { readonly default: T }).default;
}

/** A connection that is dialled once; its owner dials the next one. */
export class NodeRedis implements RedisClient {
  readonly #clock: Clock;
  readonly #options: NodeRedisOptions;
  readonly #queue: Queue;
  readonly #socket: Socket;
  readonly #events: NodeRedisEvents;
  readonly #engine: Engine;
  #facts: ServerFacts | null = null;
  /** Requests to end the subscription to a shard's channel that are not confirmed yet, by channel. */
  #unsubscribing = new Map<string, number>();
  readonly #replicas: ReplicaWait | null;
  #renewal: Renewal | null = null;
  readonly publishCommand = "PUBLISH";
  movedMs: number;
  openBytes = 0;
  /** The rest of a command too large for one write; nothing else is written before it. */
  #rest: Argument[] = [];
  #writtenMs = 0;
  #isWriteDue = false;
  #disarmPing = () => {};
  #disarmWatch = () => {};

  constructor(clock: Clock, engine: Engine, options: NodeRedisOptions, events: NodeRedisEvents) {
    this.#clock = clock;
    this.movedMs = clock.monoMs();
    this.#options = options;
    this.#engine = engine;
    this.#events = events;
    this.#replicas = options.waitReplicas > 0 ? new ReplicaWait(clock, options.waitReplicas) : null;
    this.#queue = new engine.Queue(options.resp, null, () => {}, "result store");
    this.#watchPushes();
    this.#socket = new engine.Socket(
      () => this.#handshake(),
      "result store",
      { ...options.socket, reconnectStrategy: false } as ConstructorParameters<SocketClass>[2],
    );
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#socket.on("drain", () => {
      const nowMs = clock.monoMs();
      if (nowMs - this.#writtenMs >= WAITED_MS) this.movedMs = nowMs;
      this.#write();
    });
    this.#socket.on("error", (error: Error) => {
      this.#end(error);
      events.onEnd(error);
    });
    this.#socket.on("end", () => {
      this.#end(new ConnectionLost("The connection was closed", { isRetryable: true }));
      events.onEnd(null);
    });
  }

  get isReady(): boolean {
    return this.#socket.isReady;
  }

  get protocol(): 2 | 3 {
    return this.#facts?.protocol ?? 2;
  }

  /** Whether the server's version is at least this. */
  isAtLeast(major: number): boolean {
    return (this.#facts?.version[0] ?? 0) >= major;
  }

  /** Dials, authenticates and selects the database. Rejects with the socket's error, or as `login` does. */
  async connect(): Promise<void> {
    await this.#socket.connect();
    this.#armPing();
    this.movedMs = this.#clock.monoMs();
    this.#armWatch();
  }

  destroy(): void {
    this.#socket.destroy();
    this.#end(new ConnectionLost("The connection was closed", { isRetryable: true }));
  }

  sendCommand(args: readonly Argument[], options?: ReplyOptions): Promise<unknown> {
    if (!this.isReady) return Promise.reject(new ConnectionLost("Not connected", { isRetryable: true }));
    let bytes = 0;
    for (const arg of args) bytes += arg.length;
    const reply = this.#queue.addCommand<unknown>(args, options);
    if (bytes > SLICE_BYTES) {
      this.openBytes += bytes;
      const onSettled = () => void (this.openBytes -= bytes);
      reply.then(onSettled, onSettled);
    }
    this.#scheduleWrite();
    return reply;
  }

  async sendEach(commands: readonly (readonly Argument[])[]): Promise<unknown[]> {
    const done = errorsOf(commands.length, (n) => this.sendCommand(commands[n]!));
    const [errors, lost] = await Promise.all([done, this.replicated([]).then(() => null, (error) => error)]);
    // A master's reply does not count if the master is lost before its replicas have the data.
    return lost === null ? errors : errors.map((error) => error ?? lost);
  }

  /**
   * `sendCommand` for a key that has been moved to this node already, according to the slot's old node (ASK).
   */
  sendAsking(args: readonly Argument[], options?: ReplyOptions): Promise<unknown> {
    this.sendCommand(["ASKING"]).catch(() => {});
    return this.sendCommand(args, options);
  }

  async subscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void> {
    const done = this.#queue.subscribe("CHANNELS", [...channels], listener, asBytes);
    this.#scheduleWrite();
    await done;
  }

  async unsubscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void> {
    const done = this.#queue.unsubscribe("CHANNELS", [...channels], listener, asBytes);
    this.#scheduleWrite();
    await done;
  }

  /** Subscribes to one channel of a slot that this node serves. */
  async subscribeShard(channel: string, listener: Listener, asBytes: boolean): Promise<void> {
    const done = this.#queue.subscribe("SHARDED", channel, listener, asBytes);
    this.#scheduleWrite();
    await done;
  }

  /** Reverts `subscribeShard`. */
  async unsubscribeShard(channel: string, listener: Listener, asBytes: boolean): Promise<void> {
    const done = this.#queue.unsubscribe("SHARDED", channel, listener, asBytes);
    if (done === undefined) return;
    this.#unsubscribing.set(channel, (this.#unsubscribing.get(channel) ?? 0) + 1);
    this.#scheduleWrite();
    await done;
  }

  async transaction(commands: readonly (readonly Argument[])[]): Promise<unknown[]> {
    const sent = [["MULTI"], ...commands, ["EXEC"]].map((command) => this.sendCommand(command));
    const settled = await Promise.allSettled(sent);
    for (const outcome of settled) if (outcome.status === "rejected") throw outcome.reason;
    const replies = (settled.at(-1) as PromiseFulfilledResult<unknown>).value as unknown[];
    for (const reply of replies) if (reply instanceof Error) throw reply;
    return replies;
  }

  async replicated(_keys: readonly string[]): Promise<void> {
    if (this.#replicas !== null) await this.waitFor(this.#replicas);
  }

  /**
   * Resolves when the replicas have all earlier commands, or do not follow. Rejects only if the connection
   * ends.
   */
  async waitFor(replicas: ReplicaWait): Promise<void> {
    const { command } = replicas;
    if (command !== null) replicas.read(await this.#orError(this.sendCommand(command) as Promise<Reply>));
  }

  /**
   * Detects a subscription to a shard's channel that the server ends, which the engine misses while a reply
   * is pending.
   */
  #watchPushes(): void {
    const { decoder } = this.#queue as unknown as { decoder: { onPush(items: unknown[]): unknown } };
    const onPush = decoder.onPush;
    decoder.onPush = (items) => {
      if (String(items[0]) === "sunsubscribe") {
        const channel = String(items[1]);
        const asked = this.#unsubscribing.get(channel) ?? 0;
        if (asked > 1) this.#unsubscribing.set(channel, asked - 1);
        else this.#unsubscribing.delete(channel);
        if (asked === 0) return this.#events.onShardEnd(channel);
      }
      return onPush.call(decoder, items);
    };
  }

  /** Ties a renewal of the credentials to the connection: it stops with it. */
  keep(renewal: Renewal): void {
    this.#renewal = renewal;
    if (!this.isReady) renewal.stop();
  }

  async #handshake(): Promise<void> {
    this.#facts = await login((commands) => this.#exchange(commands), this.#options.credentials);
  }

  #exchange(commands: readonly RespArg[][]): Promise<Reply[]> {
    const replies = commands.map((command) =>
      this.#orError(this.#queue.addCommand<Reply>(command.map(String), MAPS))
    );
    this.#write();
    return Promise.all(replies);
  }

  /** Resolves with an error reply as a value. */
  #orError(replying: Promise<Reply>): Promise<Reply> {
    return replying.catch((error: unknown) => {
      if (error instanceof this.#engine.ErrorReply) return new RespError(error.message);
      throw error;
    });
  }

  #read(chunk: Buffer): void {
    this.movedMs = this.#clock.monoMs();
    try {
      this.#queue.decoder.write(chunk);
    } catch (error) {
      // After bytes that are not RESP, the start of the next reply is unknown.
      this.#events.onEnd(error);
      this.destroy();
    }
  }

  #scheduleWrite(): void {
    if (this.#isWriteDue) return;
    this.#isWriteDue = true;
    queueMicrotask(() => this.#write());
  }

  #write(): void {
    this.#isWriteDue = false;
    this.#writtenMs = this.#clock.monoMs();
    this.#socket.write(this.#pieces());
  }

  /**
   * Returns the next pieces to write: small commands are joined, since each piece costs the socket as much as
   * a command, and large ones are cut into slices. The socket takes pieces until it has to wait, and
   * continues when it has drained, so that the progress of a long upload is seen.
   */
  #pieces(): Iterable<readonly Argument[]> {
    const commands = this.#queue.commandsToWrite();
    const next = (): IteratorResult<readonly Argument[]> => {
      const slice = this.#rest.shift();
      if (slice !== undefined) return { done: false, value: [slice] };
      let text = "";
      while (text.length < SLICE_BYTES && this.#rest.length === 0) {
        const command = commands.next() as IteratorResult<readonly Argument[]>;
        if (command.done) break;
        if (command.value.every(isShortText)) text += command.value.join("");
        else this.#rest = command.value.flatMap(slices);
      }
      if (text !== "") return { done: false, value: [text] };
      return this.#rest.length > 0 ? next() : { done: true, value: undefined };
    };
    // Without `return`, so that the commands remain if the socket stops in between.
    return { [Symbol.iterator]: () => ({ next }) };
  }

  #end(error: Error): void {
    this.#renewal?.stop();
    this.#disarmPing();
    this.#disarmWatch();
    this.#queue.flushAll(error);
  }

  /** Ends the connection if its peer neither sends nor takes bytes. */
  #armWatch(): void {
    const { timeoutMs } = this.#options;
    if (timeoutMs === null || !this.isReady) return;
    const plannedMs = this.#clock.monoMs() + timeoutMs / 4;
    this.#disarmWatch = this.#clock.arm(plannedMs, () => {
      const nowMs = this.#clock.monoMs();
      // This process itself was stopped, so the peer's time begins again.
      if (nowMs - plannedMs > timeoutMs / 4) this.movedMs = nowMs;
      if (nowMs - this.movedMs <= timeoutMs + extraMs(this.openBytes)) return this.#armWatch();
      this.#events.onEnd(new ConnectionLost(`no answer in ${timeoutMs / 1000} s`, { isRetryable: true }));
      this.destroy();
    });
  }

  /** Pings an idle connection, which keeps it below the time limit and detects a dead peer. */
  #armPing(): void {
    const { pingMs } = this.#options;
    if (pingMs === null || !this.isReady) return;
    this.#disarmPing = this.#clock.arm(this.#clock.monoMs() + pingMs, () => {
      this.sendCommand(["PING"]).then(() => this.#armPing(), () => {});
    });
  }
}

/** Runs `count` operations at once; resolves with null or an error for each. Never rejects. */
export function errorsOf(count: number, run: (n: number) => Promise<unknown>): Promise<unknown[]> {
  if (count === 0) return Promise.resolve([]);
  return new Promise((resolve) => {
    const errors: unknown[] = new Array(count).fill(null);
    let open = count;
    const onEnd = () => {
      if (--open === 0) resolve(errors);
    };
    for (let n = 0; n < count; n++) {
      run(n).then(onEnd, (error: unknown) => {
        errors[n] = error;
        onEnd();
      });
    }
  });
}

function isShortText(piece: Argument): boolean {
  return typeof piece === "string" && piece.length <= SLICE_BYTES;
}

function slices(piece: Argument): Argument[] {
  if (piece.length <= SLICE_BYTES) return piece.length > 0 ? [piece] : [];
  const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) parts.push(bytes.subarray(at, at + SLICE_BYTES));
  return parts;
}
