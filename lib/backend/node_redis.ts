/**
 * One connection to Redis on node-redis's protocol engine: its commands queue (encoding, replies in order, RESP2 and
 * RESP3, subscriptions) and its socket (TCP, TLS, unix).
 *
 * The package's front door loads a module for each of Redis's 400 commands: a program that reads one result took 20 per
 * cent longer with it, packed and with the code cache (0.20 s of processor time against 0.25 s). The store sends its
 * commands in words, so it takes the engine by its parts, which tests/unit/backend/node_redis_test.ts watches over.
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

/** A reply whose bulk strings are text, or bytes where asked for. */
export interface ReplyOptions {
  readonly typeMapping?: Readonly<Record<number, unknown>>;
}

/** Hears of one message of a channel, bytes or text as subscribed. */
export type Listener = (message: string | Buffer, channel: string | Buffer) => void;

/** What the store sends its commands with: a connection, or the connections to a cluster's nodes. */
export interface RedisClient {
  /** Whether commands can be sent. */
  readonly isReady: boolean;
  /** 3 if the server speaks RESP3. */
  readonly protocol: 2 | 3;
  /** When bytes came last, or when the server took some that had waited for it; monotonic milliseconds. */
  readonly movedMs: number;
  /** Bytes of the large commands that are not answered. */
  readonly openBytes: number;
  /** Sends one command in words, those of a turn in one write; rejects with `ErrorReply`, or as the connection ends. */
  sendCommand(args: readonly Argument[], options?: ReplyOptions): Promise<unknown>;
  /** What tells of a result where it is stored: on a cluster of Redis 7 its shard alone hears of it. */
  readonly publishCommand: "PUBLISH" | "SPUBLISH";
  /**
   * Sends commands in order, in one write, and waits until replicas have what they wrote. For each null, or the error
   * that it came to; never rejects. Costs a promise for each command.
   */
  sendEach(commands: readonly (readonly Argument[])[]): Promise<unknown[]>;
  /** Subscribes; resolves when the server has said so. */
  subscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void>;
  /** Takes a listener from its channels; the server is told where it was the last one. */
  unsubscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void>;
  /** Sends commands of one key's slot that are done together (MULTI); resolves with their replies. */
  transaction(commands: readonly (readonly Argument[])[]): Promise<unknown[]>;
  /** Resolves when replicas have what was written under these keys; at once where nothing is waited for. */
  replicated(keys: readonly string[]): Promise<void>;
  /** Ends every connection; what waits for a reply is rejected. Twice is once. */
  destroy(): void;
}

/** How to connect. */
export interface NodeRedisOptions {
  /** What node-redis's socket takes: host and port or path, `tls` and its certificates, time limits in ms. */
  readonly socket: Readonly<Record<string, unknown>>;
  /** How subscriptions are read: a server that speaks RESP2 sends them as replies. */
  readonly resp: 2 | 3;
  readonly credentials: RedisLogin;
  /** Pause between the pings of an idle connection; null for none. */
  readonly pingMs: number | null;
  /** How many replicas `replicated` waits for; 0: none. */
  readonly waitReplicas: number;
  /** So long without a byte either way means a dead peer; null: none does. */
  readonly timeoutMs: number | null;
}

/** What a connection tells its owner. */
export interface NodeRedisEvents {
  /** Hears of each error, and at the end of the connection, where it may be the same error again or null. */
  onEnd(error: unknown): void;
  /** A shard's channel ended unasked: its slot is another node's now. */
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

/** The package is CommonJS: an import of it has its exports behind `default`, bundled or not. */
function exportsOf<T>(module: unknown): T {
  return (module as { readonly default: T }).default;
}

/** A connection that is dialled once and never again: its owner dials the next. */
export class NodeRedis implements RedisClient {
  readonly #clock: Clock;
  readonly #options: NodeRedisOptions;
  readonly #queue: Queue;
  readonly #socket: Socket;
  readonly #events: NodeRedisEvents;
  readonly #engine: Engine;
  #facts: ServerFacts | null = null;
  /** How often the end of a shard's channel was asked for and not heard of. */
  #unsubscribing = new Map<string, number>();
  readonly #replicas: ReplicaWait | null;
  #renewal: Renewal | null = null;
  readonly publishCommand = "PUBLISH";
  movedMs: number;
  openBytes = 0;
  /** What is left of a command too large for one write; nothing else goes before it. */
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
    // What a master has said is only a promise if it was lost before its replicas had it.
    return lost === null ? errors : errors.map((error) => error ?? lost);
  }

  /** `sendCommand` for a key that the slot's old node says is here already (ASK). */
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

  /** `subscribe` to one channel of a slot that this node serves. */
  async subscribeShard(channel: string, listener: Listener, asBytes: boolean): Promise<void> {
    const done = this.#queue.subscribe("SHARDED", channel, listener, asBytes);
    this.#scheduleWrite();
    await done;
  }

  /** Ends it. */
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

  /** Resolves when the replicas have what was sent before, or do not follow. Rejects only as the connection ends. */
  async waitFor(replicas: ReplicaWait): Promise<void> {
    const { command } = replicas;
    if (command !== null) replicas.read(await this.#orError(this.sendCommand(command) as Promise<Reply>));
  }

  /** A shard's channel that ends unasked: the engine overlooks it while a reply is open. */
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

  /** Stops a renewal of the credentials with the connection. */
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

  /** An error reply as a value. */
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
      // After bytes that are not RESP nothing tells where the next reply begins.
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
   * What is to be written: small commands joined, since each piece costs the socket as much as a command, large ones in
   * slices. The socket takes pieces until it has to wait, and asks for the rest when it has drained, so that the
   * progress of a long upload is seen.
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
    // Without `return`: that the socket stops in between ends nothing.
    return { [Symbol.iterator]: () => ({ next }) };
  }

  #end(error: Error): void {
    this.#renewal?.stop();
    this.#disarmPing();
    this.#disarmWatch();
    this.#queue.flushAll(error);
  }

  /** Ends the connection of a peer from which nothing comes and which takes nothing. */
  #armWatch(): void {
    const { timeoutMs } = this.#options;
    if (timeoutMs === null || !this.isReady) return;
    const plannedMs = this.#clock.monoMs() + timeoutMs / 4;
    this.#disarmWatch = this.#clock.arm(plannedMs, () => {
      const nowMs = this.#clock.monoMs();
      // We ourselves were stopped: the peer gets its time anew.
      if (nowMs - plannedMs > timeoutMs / 4) this.movedMs = nowMs;
      if (nowMs - this.movedMs <= timeoutMs + extraMs(this.openBytes)) return this.#armWatch();
      this.#events.onEnd(new ConnectionLost(`no answer in ${timeoutMs / 1000} s`, { isRetryable: true }));
      this.destroy();
    });
  }

  /** Idle connections are kept from the socket's time limit by a ping; it also finds a dead peer. */
  #armPing(): void {
    const { pingMs } = this.#options;
    if (pingMs === null || !this.isReady) return;
    this.#disarmPing = this.#clock.arm(this.#clock.monoMs() + pingMs, () => {
      this.sendCommand(["PING"]).then(() => this.#armPing(), () => {});
    });
  }
}

/** Runs all at once; for each null, or the error that it came to. */
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
