/**
 * One connection to a Redis server.
 *
 * Everything sent in a turn of the loop leaves in one socket write. Replies are matched to commands by order. A
 * connection that is lost stays lost: it is an epoch of its own, its owner opens another one.
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

/** A server and who we are there. */
export interface RedisTarget {
  readonly address: Address;
  /** Null: the user `default`. */
  readonly username: string | null;
  readonly password: string | null;
  readonly db: number;
  /** A node of a cluster, and how many replicas its slots have; null or absent: a server by itself. */
  readonly cluster?: { readonly replicas: number } | null;
  /** Credentials that rotate, which stand for the password (and the username where they have one); default none. */
  readonly credentials?: Credentials | null;
}

/** How to behave on a connection. */
export interface RedisConnectionOptions {
  /** Milliseconds for connecting and for logging in, each. */
  readonly timeoutMs: number;
  readonly clientName?: string | null;
  /** A PING after so many quiet milliseconds; 0: none. Default 25 000 (redis-py's 25 s in kombu). */
  readonly healthCheckMs?: number;
  /**
   * With a reply open, so many milliseconds without a byte mean a dead peer; 0: wait for ever. Default 10 000.
   * A connection that blocks on purpose (BRPOP) needs more than it blocks.
   */
  readonly replyTimeoutMs?: number;
  /** What bulk strings become; default "text". */
  readonly bulk?: "text" | "bytes";
  /** Hears push messages, and on RESP2 what comes to a subscriber. */
  readonly onPush?: (items: Reply[]) => void;
  /** Hears error replies to commands sent with no sink. Default: a line in the log. */
  readonly onUnheardError?: (error: OperatingError) => void;
  readonly signal?: AbortSignal;
}

const HEALTH_CHECK_MS = 25_000;
const REPLY_TIMEOUT_MS = 10_000;
const CLOSE_GRACE_MS = 2000;

/** The kinds of message that RESP2 sends a subscriber as if they were replies. */
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
   * Called right before a write, to append what was only collected during the turn (settlements, the next fetch).
   * Set once by the connection's owner; `touch` sees to it that a write comes.
   */
  beforeWrite: (() => void) | null = null;
  #world: World;
  #stream: BatchedStream;
  #options: RedisConnectionOptions;
  #replies = new ReplyQueue();
  #decoder: RespDecoder;
  #facts: ServerFacts = { protocol: 2, version: [0, 0], name: "the server", role: "" };
  #waitingSinceMs = 0;
  /** Commands sent and replies heard so far; large commands without a reply by their number, with their bytes. */
  #sent = 0;
  #answered = 0;
  #large: { readonly number: number; readonly bytes: number }[] = [];
  #disarmWatch: Disarm | null = null;
  /** Null: not a cluster's node. */
  #redirects: Redirects | null = null;
  /** Between MULTI and EXEC, whose commands cannot be sent elsewhere one by one. */
  #isInTransaction = false;
  /** Whether the next connection logs in with new credentials. */
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
   * Connects and logs in. Rejects with DialError, AccessRefused, ServerError, or with the signal's reason; nothing
   * stays open then.
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

  /** Resolves when the connection is gone: with the cause, or with null after `close`. Never rejects. */
  get lost(): Promise<Error | null> {
    return this.#stream.lost;
  }

  /** 3 where the server speaks RESP3. */
  get protocol(): 2 | 3 {
    return this.#facts.protocol;
  }

  /** Whether the server's version is at least this. */
  isAtLeast(major: number, minor: number): boolean {
    const [ours, oursMinor] = this.#facts.version;
    return ours > major || (ours === major && oursMinor >= minor);
  }

  /** What the server calls itself, for errors. */
  get serverName(): string {
    return this.#facts.name;
  }

  /** What the server says that it is ("master"); "" if it does not. */
  get role(): string {
    return this.#facts.role;
  }

  /** Bytes appended and not yet handed to the socket. */
  get outboxBytes(): number {
    return this.#stream.outbox.length;
  }

  /** How many replies are open. */
  get openReplies(): number {
    return this.#replies.length;
  }

  /** True once the connection is gone or closed. */
  get isLost(): boolean {
    return this.#stream.failure !== null;
  }

  /**
   * Data lane: appends one command; its reply goes to `sink`, or to nobody where that is null. On a lost connection
   * the sink hears so at once. `args` is free again on return.
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

  /** Appends one command that has no reply of its own (PSUBSCRIBE and its kin: what they answer is pushed). */
  sendUnanswered(args: readonly RespArg[]): void {
    if (this.isLost) return;
    encodeCommand(this.#stream.outbox, args);
    this.#stream.touch();
  }

  /** Writes now what was appended, without waiting for the end of the turn. For what the server can begin with. */
  flush(): void {
    this.#stream.flush();
  }

  /** Makes sure that `beforeWrite` is called at the end of this turn. Cheap; any number of times is once. */
  touch(): void {
    this.#stream.touch();
  }

  /**
   * Control lane: sends one command, resolves with its reply. Rejects with AccessRefused or ServerError on an error
   * reply, with ConnectionLost where the connection went; then the command may or may not have been done.
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

  /** `call` that resolves with an error reply too, a redirection of a cluster's node included. */
  async ask(args: readonly RespArg[]): Promise<Reply> {
    const [reply] = await this.#exchange([args]);
    return reply!;
  }

  /** `call` for several commands that leave together; rejects with the first error. */
  async callAll(commands: readonly (readonly RespArg[])[]): Promise<Reply[]> {
    // Replies that come from several nodes come in any order.
    const replies = this.#redirects === null
      ? await this.#exchange(commands)
      : await Promise.all(commands.map((command) => this.#redirected(command)));
    for (let i = 0; i < replies.length; i++) {
      const reply = replies[i];
      if (reply instanceof RespError) throw toOperatingError(reply, this.#doing(commands[i]!));
    }
    return replies;
  }

  /** Resolves when at most `bytes` wait to be handed to the socket, or the connection is gone. */
  drained(bytes: number): Promise<void> {
    return this.#stream.drained(bytes);
  }

  /** Gives the connection up with a cause: every open sink hears it once. Twice is once. */
  fail(error: Error): void {
    this.#stream.fail(error);
  }

  /** Writes what was appended, waits `graceMs` at most for open replies, and closes. Twice is once. */
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

  /** Sends commands together; their replies with error replies among them. Rejects where the connection goes. */
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

  /** A command as an error names it: by its name alone, for its arguments may hold a password. */
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
      // Those that we logged in with have expired: the next connection asks for new ones.
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
   * Looks a few times per limit whether the peer is still there: a PING after a long quiet, and the end of the
   * connection where an answer is overdue. A half-open socket shows itself in no other way.
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
      // We ourselves were stopped (a suspended machine, a long turn): the peer gets its time anew.
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
    return new DialError(`Cannot log in at ${this.#stream.name}: ${why}`, { isRetryable: true });
  }
}
