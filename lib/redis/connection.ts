/**
 * One connection to a Redis server.
 *
 * Everything sent in one turn leaves in one socket write. Replies are matched to commands by order. A lost
 * connection is never reused; its owner opens a new one.
 */

import {
  type Address,
  type ByteStream,
  DialError,
  type Disarm,
  type OperatingError,
  type World,
} from "../base/mod.ts";
import { BatchedStream, type Credentials, extraMs, SLICE_BYTES } from "../net/mod.ts";
import { encodeCommand, type Reply, type RespArg, RespDecoder, RespError } from "../wire/mod.ts";
import { toOperatingError } from "./errors.ts";
import { login, type ServerFacts } from "./login.ts";
import { Redirects } from "./redirects.ts";
import { ReplyQueue, type ReplySink } from "./reply_queue.ts";

/** A server and the login for it. */
export interface RedisTarget {
  readonly address: Address;
  /** Null: the user `default`. */
  readonly username: string | null;
  readonly password: string | null;
  readonly db: number;
  /**
   * Set for a node of a cluster, with the number of replicas of its slots. Null or absent: a single server.
   */
  readonly cluster?: { readonly replicas: number } | null;
  /** Rotating credentials. They replace the password, and the username if they have one. Default none. */
  readonly credentials?: Credentials | null;
}

/** The options of a connection. */
export interface RedisConnectionOptions {
  /** The time limit of connecting and of logging in, milliseconds each. */
  readonly timeoutMs: number;
  readonly clientName?: string | null;
  /**
   * Milliseconds without traffic after which a PING is sent; 0: never. Default 25 000 (kombu's 25 s for
   * redis-py).
   */
  readonly healthCheckMs?: number;
  /**
   * While a reply is pending, the peer counts as dead after this many milliseconds without a byte; 0: never.
   * Default 10 000. A connection with blocking commands (BRPOP) needs more than they block.
   */
  readonly replyTimeoutMs?: number;
  /** The type of bulk strings in replies; default "text". */
  readonly bulk?: "text" | "bytes";
  /** Called with each push message, and on RESP2 with each message to a subscriber. */
  readonly onPush?: (items: Reply[]) => void;
  /** Called with the error reply to a command that was sent without a sink. Default: logs a warning. */
  readonly onUnheardError?: (error: OperatingError) => void;
  readonly signal?: AbortSignal;
}

const HEALTH_CHECK_MS = 25_000;
const REPLY_TIMEOUT_MS = 10_000;
const CLOSE_GRACE_MS = 2000;

/** The kinds of message that RESP2 sends to a subscriber in place of replies. */
const SUBSCRIBER_KINDS: ReadonlySet<unknown> = new Set([
  "message",
  "pmessage",
  "subscribe",
  "psubscribe",
  "unsubscribe",
  "punsubscribe",
]);

/** A logged-in connection. `send` is the data lane, `call` the control lane. */
export class RedisConnection implements AsyncDisposable {
  /**
   * Called right before a write, to append what was only collected during the turn (settlements, the next
   * fetch). Set once by the connection's owner. `touch` schedules the write.
   */
  beforeWrite: (() => void) | null = null;
  #world: World;
  #stream: BatchedStream;
  #options: RedisConnectionOptions;
  #replies = new ReplyQueue();
  #decoder: RespDecoder;
  #facts: ServerFacts = { protocol: 2, version: [0, 0], name: "the server", role: "" };
  #waitingSinceMs = 0;
  /**
   * Commands sent and replies received so far; and the large commands whose reply is pending, by number, with
   * their size in bytes.
   */
  #sent = 0;
  #answered = 0;
  #large: { readonly number: number; readonly bytes: number }[] = [];
  #disarmWatch: Disarm | null = null;
  /** Null unless the server is a node of a cluster. */
  #redirects: Redirects | null = null;
  /** True between MULTI and EXEC: commands of a transaction cannot be redirected one by one. */
  #isInTransaction = false;
  /** True if the login comes from rotating credentials, so that the next connection may get new ones. */
  #isRotating = false;

  private constructor(world: World, stream: ByteStream, address: Address, options: RedisConnectionOptions) {
    this.#world = world;
    this.#options = options;
    this.#decoder = new RespDecoder({
      onReply: (reply) => this.#onReply(reply),
      onPush: (items) => options.onPush?.(items),
    }, { bulk: options.bulk ?? "text" });
    this.#stream = new BatchedStream(world.clock, stream, address, {
      onBytes: (chunk) => this.#decoder.feed(chunk),
      onWrite: () => this.beforeWrite?.(),
      onEnd: (failure) => {
        this.#disarmWatch?.();
        this.#disarmWatch = null;
        this.#replies.fail(failure);
        this.#redirects?.end(failure);
      },
    });
  }

  /**
   * Connects and logs in. Rejects with DialError, AccessRefused, ServerError, ConnectionLost or
   * ProtocolError, or with the signal's reason; nothing stays open then.
   */
  static async open(
    world: World,
    target: RedisTarget,
    options: RedisConnectionOptions,
  ): Promise<RedisConnection> {
    const { credentials = null } = target;
    if (credentials === null) return await RedisConnection.#openAs(world, target, options);
    return await credentials.logIn(async (login) => {
      const username = login.username ?? target.username;
      const as = { ...target, username, password: login.password };
      const connection = await RedisConnection.#openAs(world, as, options);
      connection.#isRotating = true;
      const renewal = credentials.keepFresh(login, async (fresh) => {
        await connection.call(["AUTH", fresh.username ?? target.username ?? "default", fresh.password]);
      });
      void connection.lost.then(() => renewal.stop());
      return connection;
    }, options.signal);
  }

  static async #openAs(
    world: World,
    target: RedisTarget,
    options: RedisConnectionOptions,
  ): Promise<RedisConnection> {
    const { timeoutMs, signal } = options;
    const stream = await world.dialer.dial(target.address, { timeoutMs, ...(signal ? { signal } : {}) });
    const connection = new RedisConnection(world, stream, target.address, options);
    await connection.#stream.logIn(options, () => connection.#loginTimeout(), async () => {
      connection.#facts = await login((commands) => connection.#exchange(commands), {
        username: target.username,
        password: target.password,
        db: target.db,
        clientName: options.clientName ?? null,
      });
    });
    if (target.cluster) connection.#redirects = connection.#redirectsTo(target);
    connection.#watch();
    return connection;
  }

  /** Resolves when the connection has ended: with the cause, or with null after `close`. Never rejects. */
  get lost(): Promise<Error | null> {
    return this.#stream.lost;
  }

  /** 3 if the server speaks RESP3. */
  get protocol(): 2 | 3 {
    return this.#facts.protocol;
  }

  /** Returns true if the server has at least this version. */
  isAtLeast(major: number, minor: number): boolean {
    const [ours, oursMinor] = this.#facts.version;
    return ours > major || (ours === major && oursMinor >= minor);
  }

  /** The server's name and version, for errors. */
  get serverName(): string {
    return this.#facts.name;
  }

  /** The role that the server reports ("master"); "" if it reports none. */
  get role(): string {
    return this.#facts.role;
  }

  /** The number of bytes appended and not yet handed to the socket. */
  get outboxBytes(): number {
    return this.#stream.outbox.length;
  }

  /** The number of pending replies. */
  get openReplies(): number {
    return this.#replies.length;
  }

  /** True once the connection has ended. */
  get isLost(): boolean {
    return this.#stream.failure !== null;
  }

  /**
   * Data lane: appends one command. Its reply goes to `sink`; null ignores it, except for errors. On a lost
   * connection `onLost` of the sink is called at once. `args` may be reused on return.
   */
  send(args: readonly RespArg[], sink: ReplySink | null): void {
    if (this.#redirects === null) return this.#append(args, sink);
    const name = args[0];
    if (name === "MULTI") this.#isInTransaction = true;
    this.#append(args, this.#isInTransaction ? sink : this.#redirects.wrap(args, sink));
    if (name === "EXEC") this.#isInTransaction = false;
  }

  #append(args: readonly RespArg[], sink: ReplySink | null): void {
    const { failure, outbox } = this.#stream;
    if (failure !== null) {
      sink?.onLost(failure);
      return;
    }
    if (this.#replies.length === 0) this.#waitingSinceMs = this.#world.clock.monoMs();
    const before = outbox.length;
    encodeCommand(outbox, args);
    const bytes = outbox.length - before;
    if (bytes > SLICE_BYTES) this.#large.push({ number: this.#sent, bytes });
    this.#sent++;
    this.#replies.expect(sink);
    this.#stream.touch();
  }

  /** Appends one command without a reply in order, such as PSUBSCRIBE, whose answer is a push message. */
  sendUnanswered(args: readonly RespArg[]): void {
    if (this.isLost) return;
    encodeCommand(this.#stream.outbox, args);
    this.#stream.touch();
  }

  /** Writes the outbox now instead of at the end of the turn, so that the server can start earlier. */
  flush(): void {
    this.#stream.flush();
  }

  /** Schedules `beforeWrite` and a write at the end of this turn. Cheap, and idempotent within a turn. */
  touch(): void {
    this.#stream.touch();
  }

  /**
   * Control lane: sends one command and resolves with its reply. Rejects with AccessRefused or ServerError on
   * an error reply, and with the connection's error if it is lost; then the command may or may not have been
   * executed.
   */
  call(args: readonly RespArg[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.send(args, {
        onReply: (reply) =>
          reply instanceof RespError ? reject(toOperatingError(reply, this.#doing(args))) : resolve(reply),
        onLost: reject,
      });
    });
  }

  /**
   * Like `call`, but also resolves with an error reply, including a redirection of a cluster's node. Rejects
   * only if the connection is lost.
   */
  async ask(args: readonly RespArg[]): Promise<Reply> {
    const [reply] = await this.#exchange([args]);
    return reply!;
  }

  /** Like `call`, for several commands that are sent together. Rejects with the first error. */
  async callAll(commands: readonly (readonly RespArg[])[]): Promise<Reply[]> {
    // Replies from several nodes arrive in any order.
    const replies = this.#redirects === null
      ? await this.#exchange(commands)
      : await Promise.all(commands.map((command) => this.#redirected(command)));
    for (let i = 0; i < replies.length; i++) {
      const reply = replies[i];
      if (reply instanceof RespError) throw toOperatingError(reply, this.#doing(commands[i]!));
    }
    return replies;
  }

  /** Resolves when the outbox holds at most `bytes`, or the connection has ended. Never rejects. */
  drained(bytes: number): Promise<void> {
    return this.#stream.drained(bytes);
  }

  /** Ends the connection at once with a cause, and calls `onLost` of every pending sink once. Idempotent. */
  fail(error: Error): void {
    this.#stream.fail(error);
  }

  /**
   * Writes the outbox, waits at most `graceMs` for pending replies, and closes. Idempotent; never rejects.
   * Default 2000 ms.
   */
  close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    const stream = this.#stream;
    const isQuiet = this.#replies.length === 0 && !stream.isBusy;
    return stream.close(
      isQuiet ? 0 : graceMs,
      () =>
        new Promise((resolve) => this.send(["PING"], { onReply: () => resolve(), onLost: () => resolve() })),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Sends commands together. Resolves with their replies, error replies included. Rejects if the connection
   * is lost.
   */
  #exchange(commands: readonly (readonly RespArg[])[]): Promise<Reply[]> {
    if (commands.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const replies: Reply[] = [];
      const sink: ReplySink = {
        onReply(reply) {
          replies.push(reply);
          if (replies.length === commands.length) resolve(replies);
        },
        onLost: reject,
      };
      for (const command of commands) this.#append(command, sink);
    });
  }

  #redirected(command: readonly RespArg[]): Promise<Reply> {
    return new Promise((resolve, reject) => this.send(command, { onReply: resolve, onLost: reject }));
  }

  #redirectsTo(target: RedisTarget): Redirects {
    return new Redirects({
      address: target.address,
      clock: this.#world.clock,
      send: (args, sink) => this.send(args, sink),
      fail: (error) => this.fail(error),
      onUnheardError: (error) => this.#onUnheard(error),
      open: (address) =>
        RedisConnection.open(this.#world, { ...target, address, cluster: null }, {
          ...this.#options,
          onPush: () => {},
        }),
    });
  }

  /** Describes a command for errors, by its name only, since its arguments may contain a password. */
  #doing(args: readonly RespArg[]): string {
    const name = String(args[0]).toUpperCase();
    return `run ${name} on ${this.#stream.name}`;
  }

  #onReply(reply: Reply): void {
    if (this.isLost) return;
    if (this.#facts.protocol === 2 && Array.isArray(reply) && SUBSCRIBER_KINDS.has(reply[0])) {
      this.#options.onPush?.(reply);
      return;
    }
    const sink = this.#replies.take();
    if (this.#large.length > 0 && this.#large[0]!.number === this.#answered) this.#large.shift();
    this.#answered++;
    if (this.#isRotating && reply instanceof RespError && reply.code === "NOAUTH") {
      // The credentials of this connection have expired; the next connection requests new ones.
      const failure = this.#stream.lostError(reply.text);
      this.fail(failure);
      sink?.onLost(failure);
      return;
    }
    if (sink !== null) sink.onReply(reply);
    else if (reply instanceof RespError) {
      this.#onUnheard(toOperatingError(reply, `run a command on ${this.#stream.name}`));
    }
  }

  #onUnheard(error: OperatingError): void {
    if (this.#options.onUnheardError) this.#options.onUnheardError(error);
    else this.#world.log.warning(error.message);
  }

  /**
   * Checks a few times per limit that the peer is alive: sends a PING after a long silence, and ends the
   * connection if a reply is overdue. A half-open socket can be detected in no other way.
   */
  #watch(): void {
    if (this.isLost) return;
    const healthMs = this.#options.healthCheckMs ?? HEALTH_CHECK_MS;
    const replyMs = this.#options.replyTimeoutMs ?? REPLY_TIMEOUT_MS;
    const everyMs = Math.min(healthMs > 0 ? healthMs / 2 : Infinity, replyMs > 0 ? replyMs / 4 : Infinity);
    if (everyMs === Infinity) return;
    const clock = this.#world.clock;
    const plannedMs = clock.monoMs() + everyMs;
    this.#disarmWatch = clock.arm(plannedMs, () => {
      const nowMs = clock.monoMs();
      // This process was stopped (a suspended machine, a long turn): restart the peer's time.
      if (nowMs - plannedMs > everyMs) this.#stream.heardMs = nowMs;
      const quietSinceMs = Math.max(this.#stream.heardMs, this.#stream.takenMs, this.#waitingSinceMs);
      if (this.#replies.length > 0) {
        const bytes = this.#large.reduce((total, one) => total + one.bytes, 0);
        if (replyMs > 0 && nowMs - quietSinceMs > replyMs + extraMs(bytes)) {
          return this.fail(this.#stream.lostError(`no answer in ${replyMs / 1000} s`));
        }
      } else if (healthMs > 0 && nowMs - quietSinceMs >= healthMs) {
        this.send(["PING"], null);
      }
      this.#watch();
    });
  }

  #loginTimeout(): DialError {
    const why = `no answer in ${this.#options.timeoutMs / 1000} s`;
    return new DialError(`Cannot log in to ${this.#stream.name}: ${why}`, { isRetryable: true });
  }
}
