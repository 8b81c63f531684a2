/**
 * One connection to an AMQP 0-9-1 server.
 *
 * Everything sent in a turn of the loop leaves in one socket write. A connection that is lost stays lost: it is an
 * epoch of its own, its owner opens another one and declares there what it needs.
 *
 * Source: AMQP 0-9-1 specification 2.2.4, 4.2; RabbitMQ "Blocked Connection Notifications", "Authentication Failures".
 */

import {
  type Address,
  assert,
  type ByteStream,
  ConnectionLost,
  type Disarm,
  errorText,
  OperatingError,
  Outbox,
  ProtocolError,
  type World,
} from "../base/mod.ts";
import {
  AMQP_FRAME_MAX,
  AMQP_FRAME_MIN,
  AMQP_FRAMES,
  AMQP_HEADER,
  type AmqpCall,
  AmqpFrameDecoder,
  type AmqpTable,
  decodeMethod,
  encodeHeartbeat,
  encodeMethod,
} from "../wire/mod.ts";
import { AmqpChannel } from "./channel.ts";
import { toConnectionError } from "./errors.ts";
import { Heartbeat } from "./heartbeat.ts";
import { saslAnswer } from "./login.ts";

/** A server and who we are there. */
export interface AmqpTarget {
  readonly address: Address;
  readonly virtualHost: string;
  readonly username: string;
  readonly password: string;
}

/** How to behave on a connection. */
export interface AmqpConnectionOptions {
  /** Milliseconds for connecting and for logging in, each. */
  readonly timeoutMs: number;
  /** What we ask for; the smaller of ours and the server's is agreed on. 0: none. */
  readonly heartbeatSeconds: number;
  /** PLAIN, AMQPLAIN or EXTERNAL; null: PLAIN. */
  readonly loginMethod: string | null;
  /** Shown by the server among its connections. */
  readonly clientName: string;
  /**
   * Without heartbeats: with an answer open, so many milliseconds without a byte mean a dead peer; 0: wait for ever.
   * Default 60 000. Not while the server has blocked us.
   */
  readonly replyTimeoutMs?: number;
  /** Hears that the server takes no publishes, with its reason, and with null that it does again. */
  readonly onBlocked?: (reason: string | null) => void;
  readonly signal?: AbortSignal;
}

const REPLY_TIMEOUT_MS = 60_000;
const READ_BYTES = 256 * 1024;
const CLOSE_GRACE_MS = 2000;
/** Channels asked for at most; servers offer 2047. */
const CHANNEL_MAX = 2047;
/** Frames we send are at most this, also where a server knows no limit. */
const FRAME_MAX = 131_072;

const CLIENT_CAPABILITIES: AmqpTable = {
  consumer_cancel_notify: true,
  "connection.blocked": true,
  authentication_failure_close: true,
  "basic.nack": true,
  publisher_confirms: true,
  exchange_exchange_bindings: true,
};

/** A logged-in connection. */
export class AmqpConnection implements AsyncDisposable {
  /** Resolves when the connection is gone: with the cause, or with null after `close`. Never rejects. */
  readonly lost: Promise<Error | null>;
  /** Called right before a write, to append what was only collected during the turn (acks). */
  beforeWrite: (() => void) | null = null;
  /** Called after each chunk that was read: what came in it may be handed on together. */
  afterRead: (() => void) | null = null;
  /** Where channels append whole frames; `touch` sees to it that they leave. */
  readonly outbox: Outbox = new Outbox();
  #world: World;
  #stream: ByteStream;
  #options: AmqpConnectionOptions;
  #name: string;
  #decoder: AmqpFrameDecoder;
  #channels = new Map<number, AmqpChannel>();
  #channelMax = CHANNEL_MAX;
  #frameMax = FRAME_MAX;
  #serverProperties: AmqpTable = {};
  #heartbeat: Heartbeat | null = null;
  #handshake: ((call: AmqpCall) => void) | null = null;
  #rejectHandshake: ((error: Error) => void) | null = null;
  #resolveLost: (cause: Error | null) => void;
  #failure: Error | null = null;
  #blockedReason: string | null = null;
  #unblockWaiters: (() => void)[] = [];
  #isScheduled = false;
  #isWriting = false;
  #drainWaiters: { bytes: number; resolve: () => void }[] = [];
  #heardMs: number;
  #disarmWatch: Disarm | null = null;
  #isClosing = false;

  private constructor(world: World, stream: ByteStream, name: string, options: AmqpConnectionOptions) {
    this.#world = world;
    this.#stream = stream;
    this.#name = name;
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.lost = promise;
    this.#resolveLost = resolve;
    this.#heardMs = world.clock.monoMs();
    this.#decoder = new AmqpFrameDecoder({
      onFrame: (type, channel, payload) => this.#onFrame(type, channel, payload),
    });
  }

  /**
   * Connects and logs in. Rejects with DialError, AccessRefused (wrong password, no such virtual host), UsageError
   * (login method), ConnectionLost or ProtocolError, or with the signal's reason; nothing stays open then.
   */
  static async open(
    world: World,
    target: AmqpTarget,
    options: AmqpConnectionOptions,
  ): Promise<AmqpConnection> {
    const { timeoutMs, signal } = options;
    const stream = await world.dialer.dial(target.address, { timeoutMs, ...(signal ? { signal } : {}) });
    const connection = new AmqpConnection(world, stream, addressName(target.address), options);
    void connection.#readLoop();
    const disarm = world.clock.arm(
      world.clock.monoMs() + timeoutMs,
      () =>
        connection.fail(
          new ConnectionLost(`Cannot log in to ${connection.#name}: no answer in ${timeoutMs / 1000} s`, {
            isRetryable: true,
          }),
        ),
    );
    const onAbort = () => connection.fail(new ConnectionLost("Cannot log in: given up"));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await connection.#login(target);
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

  /** Where it goes, "host:port". */
  get name(): string {
    return this.#name;
  }

  /** What the server says of itself: product, version, capabilities. */
  get serverProperties(): AmqpTable {
    return this.#serverProperties;
  }

  /** Bytes of a frame at most. */
  get frameMax(): number {
    return this.#frameMax;
  }

  /** True once the connection is gone or closed. */
  get isLost(): boolean {
    return this.#failure !== null || this.#isClosing;
  }

  /** Why the server takes no publishes right now; null: it does. */
  get blockedReason(): string | null {
    return this.#blockedReason;
  }

  /** Whether the server has a capability. */
  has(capability: string): boolean {
    const all = this.#serverProperties["capabilities"];
    return typeof all === "object" && all !== null && (all as AmqpTable)[capability] === true;
  }

  /** Resolves when the server takes publishes; rejects where the connection goes. */
  async unblocked(): Promise<void> {
    while (this.#blockedReason !== null && this.#failure === null) {
      await new Promise<void>((resolve) => this.#unblockWaiters.push(resolve));
    }
    if (this.#failure !== null) throw this.#failure;
  }

  /** Opens a channel. Rejects where the connection is gone, or has as many as the server allows. */
  async openChannel(): Promise<AmqpChannel> {
    if (this.#failure !== null) throw this.#failure;
    let id = 1;
    while (this.#channels.has(id)) id++;
    if (id > this.#channelMax) {
      throw new OperatingError(`Cannot open a channel on ${this.#name}: all ${this.#channelMax} are in use`);
    }
    const channel = new AmqpChannel(this, id);
    this.#channels.set(id, channel);
    await channel.call("channel.open", {}, `open a channel on ${this.#name}`);
    return channel;
  }

  /** Makes sure that what was appended leaves at the end of this turn. Cheap; any number of times is once. */
  touch(): void {
    if (this.#failure === null) this.#schedule();
  }

  /** Writes now what was appended, without waiting for the end of the turn. */
  flush(): void {
    this.#write();
  }

  /** Resolves when at most `bytes` wait to be handed to the socket, or the connection is gone. */
  drained(bytes: number): Promise<void> {
    if (this.outbox.length <= bytes || this.#failure !== null) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push({ bytes, resolve }));
  }

  /** Of AmqpChannel: an answer is waited for. */
  waits(): void {
    if (this.#heartbeat === null) this.#watchReplies();
  }

  /** Of AmqpChannel: it is gone. */
  forget(channel: AmqpChannel): void {
    if (this.#channels.get(channel.id) === channel) this.#channels.delete(channel.id);
  }

  /** Gives the connection up with a cause: every channel hears it once. Twice is once. */
  fail(error: Error): void {
    this.#end(error, this.#isClosing ? null : error);
  }

  /** Writes what was appended, says goodbye, waits `graceMs` at most for the answer, and closes. Twice is once. */
  async close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    if (this.#failure !== null) return;
    if (this.#isClosing) {
      await this.lost;
      return;
    }
    // What was collected and not appended yet goes first.
    this.beforeWrite?.();
    this.#isClosing = true;
    if (graceMs > 0) {
      const over = new AbortController();
      const answered = new Promise<void>((resolve) => this.#handshake = () => resolve());
      encodeMethod(this.outbox, 0, "connection.close", { "reply-code": 200, "reply-text": "Goodbye" });
      this.#schedule();
      const limit = this.#world.clock.sleep(graceMs, over.signal).catch(() => {});
      await Promise.race([answered, limit, this.lost]);
      over.abort();
    }
    this.#end(new ConnectionLost(`The connection to ${this.#name} is closed`), null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #login(target: AmqpTarget): Promise<void> {
    this.outbox.bytes(AMQP_HEADER);
    this.#schedule();
    const start = await this.#next("connection.start");
    if (start.args["version-major"] !== 0 || start.args["version-minor"] !== 9) {
      const { args } = start;
      throw new ProtocolError(
        `Cannot speak AMQP 0-9-1: the server speaks ${args["version-major"]}-${args["version-minor"]}`,
      );
    }
    this.#serverProperties = start.args["server-properties"] as AmqpTable;
    const mechanisms = new TextDecoder().decode(start.args["mechanisms"] as Uint8Array);
    const { mechanism, response } = saslAnswer(this.#options.loginMethod, target, mechanisms);
    this.#send("connection.start-ok", {
      "client-properties": {
        product: "Lovage",
        platform: "Deno",
        connection_name: this.#options.clientName,
        capabilities: CLIENT_CAPABILITIES,
      },
      mechanism,
      response,
      locale: "en_US",
    });
    const tune = await this.#next("connection.tune");
    const heartbeat = this.#tune(tune.args);
    this.#send("connection.open", { "virtual-host": target.virtualHost });
    await this.#next("connection.open-ok");
    this.#startHeartbeat(heartbeat);
  }

  /** Agrees on limits: the smaller of both where both have one. The heartbeat, in seconds. */
  #tune(args: Record<string, unknown>): number {
    const frameMax = args["frame-max"] as number;
    if (frameMax !== 0 && frameMax < AMQP_FRAME_MIN) {
      throw new ProtocolError(
        `Cannot agree on frames of ${frameMax} bytes: at least ${AMQP_FRAME_MIN} are needed`,
      );
    }
    this.#frameMax = Math.min(frameMax || FRAME_MAX, AMQP_FRAME_MAX);
    this.#channelMax = Math.min(args["channel-max"] as number || 65_535, CHANNEL_MAX);
    const [ours, theirs] = [Math.ceil(this.#options.heartbeatSeconds), args["heartbeat"] as number];
    const heartbeat = ours === 0 ? 0 : theirs === 0 ? Math.min(ours, 65_535) : Math.min(ours, theirs);
    this.#decoder.setFrameMax(this.#frameMax);
    this.#send("connection.tune-ok", {
      "channel-max": this.#channelMax,
      "frame-max": this.#frameMax,
      heartbeat,
    });
    return heartbeat;
  }

  #startHeartbeat(seconds: number): void {
    if (seconds === 0 || this.#failure !== null) return;
    this.#heartbeat = new Heartbeat(this.#world.clock, seconds, {
      onQuiet: () => {
        encodeHeartbeat(this.outbox);
        this.#schedule();
      },
      onDead: (silent) => this.fail(this.#lostError(`no heartbeat in ${silent} s`, null)),
    });
  }

  #send(method: string, args: Record<string, unknown>): void {
    encodeMethod(this.outbox, 0, method, args);
    this.#schedule();
  }

  /** The next method of the handshake, which must be this one. */
  async #next(name: string): Promise<AmqpCall> {
    for (;;) {
      const call = await new Promise<AmqpCall>((resolve, reject) => {
        if (this.#failure !== null) return reject(this.#failure);
        this.#handshake = resolve;
        this.#rejectHandshake = reject;
      });
      this.#handshake = this.#rejectHandshake = null;
      if (call.method.name === name) return call;
      if (call.method.name !== "connection.secure") {
        throw new ProtocolError(`Cannot log in: ${call.method.name} came instead of ${name}`);
      }
      // None of our mechanisms has a second step.
      this.#send("connection.secure-ok", { response: "" });
    }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isWriting) return;
    this.#isScheduled = true;
    this.#world.clock.defer(() => this.#write());
  }

  #write(): void {
    if (this.#isWriting || this.#failure !== null) return;
    // What the hook appends is written right here, not in a turn of its own.
    this.#isScheduled = true;
    if (!this.#isClosing) this.beforeWrite?.();
    this.#isScheduled = false;
    if (this.outbox.length === 0) return;
    const view = this.outbox.take();
    this.#isWriting = true;
    this.#heartbeat?.sent();
    this.#stream.write(view).then(() => {
      this.#isWriting = false;
      this.outbox.release(view);
      this.#write();
      this.#tellDrained();
    }, (error) => {
      this.#isWriting = false;
      this.outbox.release(view);
      this.fail(this.#lostError(errorText(error), error));
    });
  }

  #tellDrained(): void {
    if (this.#drainWaiters.length === 0) return;
    const waiting = this.outbox.length;
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
      this.#heartbeat?.heard();
      try {
        this.#decoder.feed(buffer.subarray(0, count));
        this.afterRead?.();
      } catch (error) {
        this.fail(error instanceof Error ? error : new ConnectionLost(errorText(error)));
        // Bytes that break the protocol end the connection; an error of our own code ends the program.
        if (!(error instanceof OperatingError)) throw error;
      }
    }
  }

  #onFrame(type: number, channelId: number, payload: Uint8Array): void {
    if (this.#failure !== null) return;
    if (type === AMQP_FRAMES.heartbeat) {
      if (channelId !== 0) throw new ProtocolError("Cannot read a heartbeat of a channel");
      return;
    }
    if (channelId === 0) {
      if (type !== AMQP_FRAMES.method) throw new ProtocolError("Cannot read content on channel 0");
      return this.#onMethod(decodeMethod(payload));
    }
    const channel = this.#channels.get(channelId);
    if (channel === undefined) {
      // A channel that both sides close at once: what came on it meanwhile is nobody's.
      if (this.#isClosing) return;
      throw new ProtocolError(`Cannot read a frame of channel ${channelId}: it is not open`);
    }
    channel.onFrame(type, payload);
  }

  #onMethod(call: AmqpCall): void {
    const { args, method } = call;
    switch (method.name) {
      case "connection.close": {
        this.#send("connection.close-ok", {});
        this.#write();
        const reason = {
          code: args["reply-code"] as number,
          text: args["reply-text"] as string,
          methodId: (args["class-id"] as number) * 65536 + (args["method-id"] as number),
        };
        return this.fail(toConnectionError(reason, this.#name));
      }
      case "connection.blocked":
        this.#blockedReason = args["reason"] as string || "no reason given";
        return this.#options.onBlocked?.(this.#blockedReason);
      case "connection.unblocked":
        this.#blockedReason = null;
        for (const resolve of this.#unblockWaiters.splice(0)) resolve();
        return this.#options.onBlocked?.(null);
      case "connection.update-secret":
        throw new ProtocolError("Cannot understand connection.update-secret: it is for servers");
    }
    if (this.#handshake === null) {
      throw new ProtocolError(`Cannot understand ${method.name}: nothing was asked that it answers`);
    }
    this.#handshake(call);
  }

  /** Without heartbeats: looks while answers are open whether anything comes at all. */
  #watchReplies(): void {
    const limitMs = this.#options.replyTimeoutMs ?? REPLY_TIMEOUT_MS;
    if (limitMs === 0 || this.#disarmWatch !== null || this.#failure !== null) return;
    const { clock } = this.#world;
    let sinceMs = clock.monoMs();
    const look = (): void => {
      const plannedMs = clock.monoMs() + limitMs / 4;
      this.#disarmWatch = clock.arm(plannedMs, () => {
        this.#disarmWatch = null;
        const nowMs = clock.monoMs();
        const isWaiting = [...this.#channels.values()].some((channel) => channel.isWaiting);
        if (!isWaiting) return;
        // Stopped ourselves, or told to wait: the peer gets its time anew.
        if (nowMs - plannedMs > limitMs / 4 || this.#blockedReason !== null) sinceMs = nowMs;
        if (nowMs - Math.max(sinceMs, this.#heardMs) > limitMs) {
          return this.fail(this.#lostError(`no answer in ${limitMs / 1000} s`, null));
        }
        look();
      });
    };
    look();
  }

  #lostError(why: string, cause: unknown): ConnectionLost {
    return new ConnectionLost(`Lost the connection to ${this.#name}: ${why}`, { cause, isRetryable: true });
  }

  #end(failure: Error, told: Error | null): void {
    if (this.#failure !== null) return;
    this.#failure = failure;
    this.#heartbeat?.stop();
    this.#disarmWatch?.();
    this.#disarmWatch = null;
    this.#stream.close();
    this.#rejectHandshake?.(failure);
    this.#handshake?.({ method: CLOSED_METHOD, args: {} });
    this.#resolveLost(told);
    this.#tellDrained();
    for (const resolve of this.#unblockWaiters.splice(0)) resolve();
    for (const channel of [...this.#channels.values()]) channel.fail(failure);
    assert(this.#channels.size === 0, "a lost connection has no channels");
  }
}

/** Stands for the answer that a closed connection no longer gives. */
const CLOSED_METHOD = {
  id: 0,
  classId: 0,
  methodId: 0,
  name: "closed",
  fields: [],
  hasContent: false,
  replies: [],
};

function addressName(address: Address): string {
  if (address.kind === "unix") return address.path;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
