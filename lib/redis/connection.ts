/**
 * One connection to a Redis server.
 *
 * Everything sent in a turn of the loop leaves in one socket write. Replies are matched to commands by order. A
 * connection that is lost stays lost: it is an epoch of its own, its owner opens another one.
 */

import {
  type Address,
  type ByteStream,
  ConnectionLost,
  DialError,
  type Disarm,
  errorText,
  OperatingError,
  Outbox,
  type World,
} from "../base/mod.ts";
import { encodeCommand, type Reply, type RespArg, RespDecoder, RespError } from "../wire/mod.ts";
import { toOperatingError } from "./errors.ts";
import { login, type ServerFacts } from "./login.ts";
import { ReplyQueue, type ReplySink } from "./reply_queue.ts";

/** A server and who we are there. */
export interface RedisTarget {
  readonly address: Address;
  /** Null: the user `default`. */
  readonly username: string | null;
  readonly password: string | null;
  readonly db: number;
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
const READ_BYTES = 256 * 1024;
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
  /** Resolves when the connection is gone: with the cause, or with null after `close`. Never rejects. */
  readonly lost: Promise<Error | null>;
  /**
   * Called right before a write, to append what was only collected during the turn (settlements, the next fetch).
   * Set once by the connection's owner; `touch` sees to it that a write comes.
   */
  beforeWrite: (() => void) | null = null;
  #world: World;
  #stream: ByteStream;
  #options: RedisConnectionOptions;
  #name: string;
  #outbox = new Outbox();
  #replies = new ReplyQueue();
  #decoder: RespDecoder;
  #facts: ServerFacts = { protocol: 2, version: [0, 0] };
  #resolveLost: (cause: Error | null) => void;
  #failure: Error | null = null;
  #isScheduled = false;
  #isWriting = false;
  #drainWaiters: { bytes: number; resolve: () => void }[] = [];
  #heardMs: number;
  #waitingSinceMs = 0;
  #disarmWatch: Disarm | null = null;
  #isClosing = false;

  private constructor(world: World, stream: ByteStream, name: string, options: RedisConnectionOptions) {
    this.#world = world;
    this.#stream = stream;
    this.#name = name;
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.lost = promise;
    this.#resolveLost = resolve;
    this.#decoder = new RespDecoder({
      onReply: (reply) => this.#onReply(reply),
      onPush: (items) => options.onPush?.(items),
    }, { bulk: options.bulk ?? "text" });
    this.#heardMs = world.clock.monoMs();
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
    const { timeoutMs, signal } = options;
    const stream = await world.dialer.dial(target.address, { timeoutMs, ...(signal ? { signal } : {}) });
    const connection = new RedisConnection(world, stream, addressName(target.address), options);
    void connection.#readLoop();
    const disarm = world.clock.arm(
      world.clock.monoMs() + timeoutMs,
      () => connection.fail(connection.#loginTimeout()),
    );
    const onAbort = () => connection.fail(new ConnectionLost("Cannot log in: given up"));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      connection.#facts = await login((commands) => connection.#exchange(commands), {
        username: target.username,
        password: target.password,
        db: target.db,
        clientName: options.clientName ?? null,
      });
      connection.#watch();
      return connection;
    } catch (error) {
      connection.fail(new ConnectionLost("Cannot log in", { cause: error }));
      signal?.throwIfAborted();
      throw error;
    } finally {
      disarm();
      signal?.removeEventListener("abort", onAbort);
    }
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

  /** Bytes appended and not yet handed to the socket. */
  get outboxBytes(): number {
    return this.#outbox.length;
  }

  /** How many replies are open. */
  get openReplies(): number {
    return this.#replies.length;
  }

  /** True once the connection is gone or closed. */
  get isLost(): boolean {
    return this.#failure !== null;
  }

  /**
   * Data lane: appends one command; its reply goes to `sink`, or to nobody where that is null. On a lost connection
   * the sink hears so at once. `args` is free again on return.
   */
  send(args: readonly RespArg[], sink: ReplySink | null): void {
    if (this.#failure !== null) {
      sink?.onLost(this.#failure);
      return;
    }
    if (this.#replies.length === 0) this.#waitingSinceMs = this.#world.clock.monoMs();
    encodeCommand(this.#outbox, args);
    this.#replies.expect(sink);
    this.#schedule();
  }

  /** Appends one command that has no reply of its own (PSUBSCRIBE and its kin: what they answer is pushed). */
  sendUnanswered(args: readonly RespArg[]): void {
    if (this.#failure !== null) return;
    encodeCommand(this.#outbox, args);
    this.#schedule();
  }

  /** Writes now what was appended, without waiting for the end of the turn. For what the server can begin with. */
  flush(): void {
    this.#write();
  }

  /** Makes sure that `beforeWrite` is called at the end of this turn. Cheap; any number of times is once. */
  touch(): void {
    if (this.#failure === null) this.#schedule();
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

  /** `call` for several commands that leave together; rejects with the first error. */
  async callAll(commands: readonly (readonly RespArg[])[]): Promise<Reply[]> {
    const replies = await this.#exchange(commands);
    for (let i = 0; i < replies.length; i++) {
      const reply = replies[i];
      if (reply instanceof RespError) throw toOperatingError(reply, this.#doing(commands[i]!));
    }
    return replies;
  }

  /** Resolves when at most `bytes` wait to be handed to the socket, or the connection is gone. */
  drained(bytes: number): Promise<void> {
    if (this.#outbox.length <= bytes || this.#failure !== null) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push({ bytes, resolve }));
  }

  /** Gives the connection up with a cause: every open sink hears it once. Twice is once. */
  fail(error: Error): void {
    this.#end(error, this.#isClosing ? null : error);
  }

  /** Writes what was appended, waits `graceMs` at most for open replies, and closes. Twice is once. */
  async close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    if (this.#isClosing || this.#failure !== null) return;
    this.#isClosing = true;
    if (graceMs > 0 && (this.#replies.length > 0 || this.#outbox.length > 0 || this.#isWriting)) {
      const over = new AbortController();
      const { promise, resolve } = Promise.withResolvers<void>();
      this.send(["PING"], { onReply: () => resolve(), onLost: () => resolve() });
      const limit = this.#world.clock.sleep(graceMs, over.signal).catch(() => {});
      await Promise.race([promise, limit]);
      over.abort();
    }
    this.#end(new ConnectionLost(`The connection to ${this.#name} is closed`), null);
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
      for (const command of commands) this.send(command, sink);
    });
  }

  /** A command in words for an error: its name and, where it has one, its first argument that is no secret. */
  #doing(args: readonly RespArg[]): string {
    const name = String(args[0]).toUpperCase();
    return `run ${name} on ${this.#name}`;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isWriting) return;
    this.#isScheduled = true;
    this.#world.clock.defer(() => {
      this.#write();
    });
  }

  #write(): void {
    if (this.#isWriting || this.#failure !== null) return;
    // What the hook appends is written right here, not in a turn of its own.
    this.#isScheduled = true;
    this.beforeWrite?.();
    this.#isScheduled = false;
    if (this.#outbox.length === 0) return;
    const view = this.#outbox.take();
    this.#isWriting = true;
    this.#stream.write(view).then(() => {
      this.#isWriting = false;
      this.#outbox.release(view);
      this.#write();
      this.#tellDrained();
    }, (error) => {
      this.#isWriting = false;
      this.#outbox.release(view);
      this.fail(this.#lostError(errorText(error), error));
    });
  }

  #tellDrained(): void {
    if (this.#drainWaiters.length === 0) return;
    const waiting = this.#outbox.length;
    this.#drainWaiters = this.#drainWaiters.filter((waiter) => {
      const isOver = waiting <= waiter.bytes || this.#failure !== null;
      if (isOver) waiter.resolve();
      return !isOver;
    });
  }

  async #readLoop(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    while (this.#failure === null) {
      let count: number | null;
      try {
        count = await this.#stream.read(buffer);
      } catch (error) {
        return this.fail(this.#lostError(errorText(error), error));
      }
      if (this.#failure !== null) return;
      if (count === null) return this.fail(this.#lostError("the server closed it", null));
      this.#heardMs = this.#world.clock.monoMs();
      try {
        this.#decoder.feed(buffer.subarray(0, count));
      } catch (error) {
        this.fail(error instanceof Error ? error : new ConnectionLost(errorText(error)));
        // Bytes that break the protocol end the connection; an error of our own code ends the program.
        if (!(error instanceof OperatingError)) throw error;
      }
    }
  }

  #onReply(reply: Reply): void {
    if (this.#failure !== null) return;
    if (this.#facts.protocol === 2 && Array.isArray(reply) && SUBSCRIBER_KINDS.has(reply[0])) {
      this.#options.onPush?.(reply);
      return;
    }
    const sink = this.#replies.take();
    if (sink !== null) sink.onReply(reply);
    else if (reply instanceof RespError) {
      this.#onUnheard(toOperatingError(reply, `run a command on ${this.#name}`));
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
    if (this.#failure !== null) return;
    const healthMs = this.#options.healthCheckMs ?? HEALTH_CHECK_MS;
    const replyMs = this.#options.replyTimeoutMs ?? REPLY_TIMEOUT_MS;
    const everyMs = Math.min(healthMs > 0 ? healthMs / 2 : Infinity, replyMs > 0 ? replyMs / 4 : Infinity);
    if (everyMs === Infinity) return;
    const clock = this.#world.clock;
    const plannedMs = clock.monoMs() + everyMs;
    this.#disarmWatch = clock.arm(plannedMs, () => {
      const nowMs = clock.monoMs();
      // We ourselves were stopped (a suspended machine, a long turn): the peer gets its time anew.
      if (nowMs - plannedMs > everyMs) this.#heardMs = nowMs;
      const quietSinceMs = Math.max(this.#heardMs, this.#waitingSinceMs);
      if (this.#replies.length > 0) {
        if (replyMs > 0 && nowMs - quietSinceMs > replyMs) {
          return this.fail(this.#lostError(`no answer in ${replyMs / 1000} s`, null));
        }
      } else if (healthMs > 0 && nowMs - quietSinceMs >= healthMs) {
        this.send(["PING"], null);
      }
      this.#watch();
    });
  }

  #loginTimeout(): DialError {
    const why = `no answer in ${this.#options.timeoutMs / 1000} s`;
    return new DialError(`Cannot log in at ${this.#name}: ${why}`, { isRetryable: true });
  }

  #lostError(why: string, cause: unknown): ConnectionLost {
    return new ConnectionLost(`Lost the connection to ${this.#name}: ${why}`, { cause, isRetryable: true });
  }

  #end(failure: Error, told: Error | null): void {
    if (this.#failure !== null) return;
    this.#failure = failure;
    this.#disarmWatch?.();
    this.#disarmWatch = null;
    this.#stream.close();
    this.#resolveLost(told);
    this.#tellDrained();
    this.#replies.fail(failure);
  }
}

function addressName(address: Address): string {
  if (address.kind === "unix") return address.path;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
