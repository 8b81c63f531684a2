/**
 * One connection to an AMQP 0-9-1 server.
 *
 * Everything sent in one turn leaves in one socket write. A lost connection is never reused; its owner opens
 * a new one and declares there what it needs.
 *
 * Source: AMQP 0-9-1 specification 2.2.4, 4.2; RabbitMQ "Blocked Connection Notifications", "Authentication
 * Failures".
 */

import {
  type Address,
  assert,
  type ByteStream,
  ConnectionLost,
  type Disarm,
  OperatingError,
  type Outbox,
  ProtocolError,
  type World,
} from "../base/mod.ts";
import { BatchedStream } from "../net/mod.ts";
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
import { AmqpProduct } from "./product.ts";

/** A server and the login for it. */
export interface AmqpTarget {
  readonly address: Address;
  readonly virtualHost: string;
  readonly username: string;
  readonly password: string;
}

/** The options of a connection. */
export interface AmqpConnectionOptions {
  /** The time limit of connecting and of logging in, milliseconds each. */
  readonly timeoutMs: number;
  /**
   * The heartbeat interval that we request; the smaller of ours and the server's is used. 0: no heartbeats.
   */
  readonly heartbeatSeconds: number;
  /** PLAIN, AMQPLAIN or EXTERNAL; null: PLAIN. */
  readonly loginMethod: string | null;
  /** The name that the server shows in its list of connections. */
  readonly clientName: string;
  /**
   * Without heartbeats: while a reply is pending, the peer counts as dead after this many milliseconds
   * without a byte; 0: never. Default 60 000. Does not apply while the server has blocked the connection.
   */
  readonly replyTimeoutMs?: number;
  /**
   * Called with the reason when the server stops accepting publishes, and with null when it accepts them
   * again.
   */
  readonly onBlocked?: (reason: string | null) => void;
  readonly signal?: AbortSignal;
}

const REPLY_TIMEOUT_MS = 60_000;
const CLOSE_GRACE_MS = 2000;
/** The maximum number of channels that we request; servers offer 2047. */
const CHANNEL_MAX = 2047;
/** The maximum size of a frame if the server sets no limit, bytes. */
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
  /** Called right before a write, to append what was only collected during the turn (acks). */
  beforeWrite: (() => void) | null = null;
  /** Called after each chunk that was read, so that its messages can be handed on together. */
  afterRead: (() => void) | null = null;
  /**
   * Sends the server a fresh login after it has refused something. Null if the login never changes. Set by an
   * owner with rotating credentials.
   */
  renewLogin: (() => Promise<void>) | null = null;
  #world: World;
  #stream: BatchedStream;
  #options: AmqpConnectionOptions;
  #decoder: AmqpFrameDecoder;
  #channels = new Map<number, AmqpChannel>();
  #channelMax = CHANNEL_MAX;
  #frameMax = FRAME_MAX;
  #serverProperties: AmqpTable = {};
  #heartbeat: Heartbeat | null = null;
  #handshake: ((call: AmqpCall) => void) | null = null;
  #rejectHandshake: ((error: Error) => void) | null = null;
  #blockedReason: string | null = null;
  /** Set by `hold` until the server accepts a publish again; and the timer that ends the wait. */
  #holdReason: string | null = null;
  #disarmHold: Disarm | null = null;
  #unblockWaiters: (() => void)[] = [];
  #disarmWatch: Disarm | null = null;

  private constructor(world: World, stream: ByteStream, address: Address, options: AmqpConnectionOptions) {
    this.#world = world;
    this.#options = options;
    this.#decoder = new AmqpFrameDecoder({
      onFrame: (type, channel, payload) => this.#onFrame(type, channel, payload),
    });
    this.#stream = new BatchedStream(world.clock, stream, address, {
      onBytes: (chunk) => {
        this.#heartbeat?.heard();
        this.#decoder.feed(chunk);
        this.afterRead?.();
      },
      // Nothing may follow `connection.close`.
      onWrite: () => this.#stream.isClosing || this.beforeWrite?.(),
      onSent: () => this.#heartbeat?.sent(),
      onEnd: (failure) => this.#onEnd(failure),
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
    const connection = new AmqpConnection(world, stream, target.address, options);
    const late = () =>
      new ConnectionLost(`Cannot log in to ${connection.name}: no answer in ${timeoutMs / 1000} s`, {
        isRetryable: true,
      });
    await connection.#stream.logIn(options, late, () => connection.#login(target));
    return connection;
  }

  /** Resolves when the connection has ended: with the cause, or with null after `close`. Never rejects. */
  get lost(): Promise<Error | null> {
    return this.#stream.lost;
  }

  /** The output buffer. Channels append whole frames to it and call `touch` to have them written. */
  get outbox(): Outbox {
    return this.#stream.outbox;
  }

  /** The peer: "host:port", or the path of a socket. */
  get name(): string {
    return this.#stream.name;
  }

  /** What the server reports about itself: product, version, capabilities. */
  get serverProperties(): AmqpTable {
    return this.#serverProperties;
  }

  /** The maximum size of a frame, bytes. */
  get frameMax(): number {
    return this.#frameMax;
  }

  /** True once the connection has ended or is closing. */
  get isLost(): boolean {
    return this.#stream.failure !== null || this.#stream.isClosing;
  }

  /** Why the server does not accept publishes now; null: it does. */
  get blockedReason(): string | null {
    return this.#blockedReason;
  }

  /** Resolves when the server accepts publishes. Rejects with the connection's error if it is lost. */
  async unblocked(): Promise<void> {
    while (this.#blockedReason !== null && this.#stream.failure === null) {
      await new Promise<void>((resolve) => this.#unblockWaiters.push(resolve));
    }
    if (this.#stream.failure !== null) throw this.#stream.failure;
  }

  /**
   * Treats the server as blocked for `ms` milliseconds, after it has refused a publish for lack of space
   * without blocking the connection. Publishers wait, and the next publish after that is a new attempt.
   */
  hold(reason: string, ms: number): void {
    if (this.#blockedReason !== null || this.isLost) return;
    this.#holdReason = this.#blockedReason = reason;
    this.#options.onBlocked?.(reason);
    const { clock } = this.#world;
    this.#disarmHold = clock.arm(clock.monoMs() + ms, () => this.#unblock());
  }

  /** Notes that the server has accepted a publish, so that a `hold` is over. Cheap. */
  taken(): void {
    if (this.#holdReason === null || this.#blockedReason !== null) return;
    this.#holdReason = null;
    this.#options.onBlocked?.(null);
  }

  /**
   * Sends the server a new password for this open connection (`connection.update-secret`). Resolves when the
   * server has accepted it, or if the server does not support it: then the connection stays as it is. Rejects
   * with the connection's error: a server that refuses the password closes the connection.
   */
  async updateSecret(password: string): Promise<void> {
    if (this.#stream.failure !== null) throw this.#stream.failure;
    if (!takesSecret(new AmqpProduct(this.#serverProperties), password) || this.isLost) return;
    assert(this.#handshake === null, "one reply is pending at a time");
    this.#send("connection.update-secret", { "new-secret": password, reason: "The password has changed" });
    await this.#next("connection.update-secret-ok");
  }

  /**
   * Opens a channel. Rejects with the connection's error if it is lost, with OperatingError if the server
   * allows no more channels, and as `AmqpChannel.call` does.
   */
  async openChannel(): Promise<AmqpChannel> {
    if (this.#stream.failure !== null) throw this.#stream.failure;
    let id = 1;
    while (this.#channels.has(id)) id++;
    if (id > this.#channelMax) {
      throw new OperatingError(`Cannot open a channel on ${this.name}: all ${this.#channelMax} are in use`);
    }
    const channel = new AmqpChannel(this, id);
    this.#channels.set(id, channel);
    await channel.call("channel.open", {}, `open a channel on ${this.name}`);
    return channel;
  }

  /** Schedules one write at the end of this turn. Cheap, and idempotent within a turn. */
  touch(): void {
    this.#stream.touch();
  }

  /** Writes the outbox now instead of at the end of the turn. */
  flush(): void {
    this.#stream.flush();
  }

  /** Resolves when the outbox holds at most `bytes`, or the connection has ended. Never rejects. */
  drained(bytes: number): Promise<void> {
    return this.#stream.drained(bytes);
  }

  /** For AmqpChannel: notes that a reply is pending. */
  waits(): void {
    if (this.#heartbeat === null) this.#watchReplies();
  }

  /** For AmqpChannel: removes a channel that has ended. */
  forget(channel: AmqpChannel): void {
    if (this.#channels.get(channel.id) === channel) this.#channels.delete(channel.id);
  }

  /** Ends the connection at once with a cause, which every channel gets once. Idempotent. */
  fail(error: Error): void {
    this.#stream.fail(error);
  }

  /**
   * Writes the outbox, sends `connection.close`, waits at most 2 s for the reply, and closes. Idempotent;
   * never rejects.
   */
  close(): Promise<void> {
    const stream = this.#stream;
    // Append what was only collected so far; nothing may follow `connection.close`.
    if (stream.failure === null && !stream.isClosing) this.beforeWrite?.();
    return stream.close(CLOSE_GRACE_MS, () => {
      const answer = new Promise<void>((resolve) => this.#handshake = () => resolve());
      this.#send("connection.close", { "reply-code": 200, "reply-text": "Goodbye" });
      return answer;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #login(target: AmqpTarget): Promise<void> {
    this.outbox.bytes(AMQP_HEADER);
    this.touch();
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

  /**
   * Replies with the agreed limits: the smaller value if both sides have one. Returns the heartbeat interval
   * in seconds.
   */
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
    if (seconds === 0 || this.#stream.failure !== null) return;
    this.#heartbeat = new Heartbeat(this.#world.clock, seconds, {
      onQuiet: () => {
        encodeHeartbeat(this.outbox);
        this.touch();
      },
      onDead: (silent) => this.fail(this.#stream.lostError(`no heartbeat in ${silent} s`)),
    });
  }

  #send(method: string, args: Record<string, unknown>): void {
    encodeMethod(this.outbox, 0, method, args);
    this.touch();
  }

  /** Waits for the next method on channel 0, which must have this name. */
  async #next(name: string): Promise<AmqpCall> {
    for (;;) {
      const call = await new Promise<AmqpCall>((resolve, reject) => {
        if (this.#stream.failure !== null) return reject(this.#stream.failure);
        this.#handshake = resolve;
        this.#rejectHandshake = reject;
      });
      this.#handshake = this.#rejectHandshake = null;
      if (call.method.name === name) return call;
      if (call.method.name !== "connection.secure") {
        throw new ProtocolError(`Cannot log in: ${call.method.name} came instead of ${name}`);
      }
      // Our mechanisms all have a single step.
      this.#send("connection.secure-ok", { response: "" });
    }
  }

  #onFrame(type: number, channelId: number, payload: Uint8Array): void {
    if (this.#stream.failure !== null) return;
    if (type === AMQP_FRAMES.heartbeat) {
      if (channelId !== 0) throw new ProtocolError("Cannot read a heartbeat on a channel");
      return;
    }
    if (channelId === 0) {
      if (type !== AMQP_FRAMES.method) throw new ProtocolError("Cannot read content on channel 0");
      return this.#onMethod(decodeMethod(payload));
    }
    const channel = this.#channels.get(channelId);
    if (channel === undefined) {
      // The frame belongs to a channel that has been closed; it is ignored while the connection closes.
      if (this.#stream.isClosing) return;
      throw new ProtocolError(`Cannot read a frame of channel ${channelId}: it is not open`);
    }
    channel.onFrame(type, payload);
  }

  #onMethod(call: AmqpCall): void {
    const { args, method } = call;
    switch (method.name) {
      case "connection.close": {
        this.#send("connection.close-ok", {});
        this.flush();
        const reason = {
          code: args["reply-code"] as number,
          text: args["reply-text"] as string,
          methodId: (args["class-id"] as number) * 65536 + (args["method-id"] as number),
        };
        return this.fail(toConnectionError(reason, this.name));
      }
      case "connection.blocked":
        this.#disarmHold?.();
        this.#holdReason = null;
        this.#blockedReason = args["reason"] as string || "no reason given";
        return this.#options.onBlocked?.(this.#blockedReason);
      case "connection.unblocked":
        this.#unblock();
        return this.#options.onBlocked?.(null);
      case "connection.update-secret":
        throw new ProtocolError("Cannot understand connection.update-secret: it is for servers");
    }
    if (this.#handshake === null) {
      throw new ProtocolError(`Cannot understand ${method.name}: it answers no open request`);
    }
    this.#handshake(call);
  }

  #unblock(): void {
    this.#blockedReason = null;
    for (const resolve of this.#unblockWaiters.splice(0)) resolve();
  }

  /** Without heartbeats: checks that bytes arrive while replies are pending. */
  #watchReplies(): void {
    const limitMs = this.#options.replyTimeoutMs ?? REPLY_TIMEOUT_MS;
    if (limitMs === 0 || this.#disarmWatch !== null || this.#stream.failure !== null) return;
    const { clock } = this.#world;
    let sinceMs = clock.monoMs();
    const look = (): void => {
      const plannedMs = clock.monoMs() + limitMs / 4;
      this.#disarmWatch = clock.arm(plannedMs, () => {
        this.#disarmWatch = null;
        const nowMs = clock.monoMs();
        const isWaiting = [...this.#channels.values()].some((channel) => channel.isWaiting);
        if (!isWaiting) return;
        // This process was stopped, or the server has blocked us: restart the peer's time.
        if (nowMs - plannedMs > limitMs / 4 || this.#blockedReason !== null) sinceMs = nowMs;
        if (nowMs - Math.max(sinceMs, this.#stream.heardMs, this.#stream.takenMs) > limitMs) {
          return this.fail(this.#stream.lostError(`no answer in ${limitMs / 1000} s`));
        }
        look();
      });
    };
    look();
  }

  #onEnd(failure: Error): void {
    this.#heartbeat?.stop();
    this.#disarmHold?.();
    this.#disarmWatch?.();
    this.#disarmWatch = null;
    this.#rejectHandshake?.(failure);
    this.#handshake?.({ method: CLOSED_METHOD, args: {} });
    for (const resolve of this.#unblockWaiters.splice(0)) resolve();
    for (const channel of [...this.#channels.values()]) channel.fail(failure);
    assert(this.#channels.size === 0, "a lost connection has no channels");
  }
}

/**
 * Returns true if the server accepts this secret in `connection.update-secret`. RabbitMQ does from 3.8 on.
 * LavinMQ accepts only tokens, and closes the connection of a user with a password. Source: LavinMQ
 * src/lavinmq/amqp/client.cr handle_update_secret.
 */
function takesSecret(server: AmqpProduct, secret: string): boolean {
  if (server.isLavin) return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(secret);
  return server.isRabbitFrom(3, 8);
}

/** Stands for the reply that a closed connection no longer sends. */
const CLOSED_METHOD = {
  id: 0,
  classId: 0,
  methodId: 0,
  name: "closed",
  fields: [],
  hasContent: false,
  replies: [],
};
