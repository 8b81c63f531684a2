/**
 * One connection to Redis on node-redis's protocol engine: its commands queue (encoding, replies in order, RESP2 and
 * RESP3, subscriptions) and its socket (TCP, TLS, unix).
 *
 * The package's front door loads a module for each of Redis's 400 commands, which takes longer than all else a worker
 * does until its first result; the store sends its commands in words, so it takes the engine by its parts.
 */

import type { Buffer } from "node:buffer";
import type QueueModule from "@redis/client/dist/lib/client/commands-queue.js";
import type SocketModule from "@redis/client/dist/lib/client/socket.js";
import { type Clock, ConnectionLost } from "../base/mod.ts";

/** An argument of a command. */
export type Argument = string | Buffer;

/** A reply whose bulk strings are text, or bytes where asked for. */
export interface ReplyOptions {
  readonly typeMapping?: Readonly<Record<number, unknown>>;
}

/** Hears of one message of a channel, bytes or text as subscribed. */
export type Listener = (message: string | Buffer, channel: string | Buffer) => void;

/** How to connect. */
export interface NodeRedisOptions {
  /** What node-redis's socket takes: host and port or path, `tls` and its certificates, time limits in ms. */
  readonly socket: Readonly<Record<string, unknown>>;
  readonly resp: 2 | 3;
  readonly username: string | null;
  readonly password: string | null;
  readonly database: number;
  /** The name shown by CLIENT LIST, or null. */
  readonly name: string | null;
  /** Pause between the pings of an idle connection; null for none. */
  readonly pingMs: number | null;
}

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
export class NodeRedis {
  readonly #clock: Clock;
  readonly #options: NodeRedisOptions;
  readonly #queue: Queue;
  readonly #socket: Socket;
  #isWriteDue = false;
  #disarmPing = () => {};

  /** `onEnd` hears of each error, and at the end of the connection, where it may be the same error again or null. */
  constructor(clock: Clock, engine: Engine, options: NodeRedisOptions, onEnd: (error: unknown) => void) {
    this.#clock = clock;
    this.#options = options;
    this.#queue = new engine.Queue(options.resp, null, () => {}, "result store");
    this.#socket = new engine.Socket(
      () => this.#handshake(),
      "result store",
      { ...options.socket, reconnectStrategy: false } as ConstructorParameters<SocketClass>[2],
    );
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk, onEnd));
    this.#socket.on("drain", () => this.#write());
    this.#socket.on("error", (error: Error) => {
      this.#end(error);
      onEnd(error);
    });
    this.#socket.on("end", () => {
      this.#end(new ConnectionLost("The connection was closed", { isRetryable: true }));
      onEnd(null);
    });
  }

  /** Whether commands can be sent. */
  get isReady(): boolean {
    return this.#socket.isReady;
  }

  /** Dials, authenticates and selects the database. Rejects with the socket's or the server's error. */
  async connect(): Promise<void> {
    await this.#socket.connect();
    this.#armPing();
  }

  /** Ends the connection; what waits for a reply is rejected. Twice is once. */
  destroy(): void {
    this.#socket.destroy();
    this.#end(new ConnectionLost("The connection was closed", { isRetryable: true }));
  }

  /** Sends one command in words, those of a turn in one write; rejects with `ErrorReply`, or as the connection ends. */
  sendCommand(args: readonly Argument[], options?: ReplyOptions): Promise<unknown> {
    if (!this.isReady) return Promise.reject(new ConnectionLost("Not connected", { isRetryable: true }));
    const reply = this.#queue.addCommand<unknown>(args, options);
    this.#scheduleWrite();
    return reply;
  }

  /** Subscribes; resolves when the server has said so. */
  async subscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void> {
    const done = this.#queue.subscribe("CHANNELS", [...channels], listener, asBytes);
    this.#scheduleWrite();
    await done;
  }

  /** Takes a listener from its channels; the server is told where it was the last one. */
  async unsubscribe(channels: readonly string[], listener: Listener, asBytes: boolean): Promise<void> {
    const done = this.#queue.unsubscribe("CHANNELS", [...channels], listener, asBytes);
    this.#scheduleWrite();
    await done;
  }

  async #handshake(): Promise<void> {
    const { resp, username, password, name, database } = this.#options;
    const commands: string[][] = [];
    if (resp === 3) {
      const auth = password === null ? [] : ["AUTH", username ?? "default", password];
      commands.push(["HELLO", "3", ...auth, ...(name === null ? [] : ["SETNAME", name])]);
    } else {
      if (password !== null) commands.push(["AUTH", ...(username === null ? [] : [username]), password]);
      if (name !== null) commands.push(["CLIENT", "SETNAME", name]);
    }
    if (database !== 0) commands.push(["SELECT", String(database)]);
    const replies = commands.map((command) => this.#queue.addCommand(command));
    this.#write();
    await Promise.all(replies);
  }

  #read(chunk: Buffer, onEnd: (error: unknown) => void): void {
    try {
      this.#queue.decoder.write(chunk);
    } catch (error) {
      // After bytes that are not RESP nothing tells where the next reply begins.
      onEnd(error);
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
    this.#socket.write(this.#queue.commandsToWrite());
  }

  #end(error: Error): void {
    this.#disarmPing();
    this.#queue.flushAll(error);
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
