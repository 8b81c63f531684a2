/**
 * The transport layer of every client connection: a stream that is read until it ends, and an outbox whose
 * bytes are written once per turn.
 *
 * A lost stream is never reused; its owner opens a new one.
 */

import {
  type Address,
  atMost,
  type ByteStream,
  type Clock,
  ConnectionLost,
  errorText,
  OperatingError,
  Outbox,
} from "../base/mod.ts";
import { SLICE_BYTES, WAITED_MS } from "./patience.ts";

/** The owner's callbacks, called synchronously. */
export interface BatchedStreamEvents {
  /**
   * Receives a chunk, which is valid until this returns. Throws OperatingError on bytes that break the
   * protocol.
   */
  onBytes(chunk: Uint8Array): void;
  /** Called before a write, so that the owner can append what it has only collected during the turn. */
  onWrite(): void;
  /** Called when bytes have been handed to the socket. */
  onSent?(): void;
  /**
   * Called once when the stream has ended: by `close`, by `fail`, or because the connection was lost. `lost`
   * is settled by then.
   */
  onEnd(failure: Error): void;
}

const READ_BYTES = 256 * 1024;

/** A stream with its outbox. `logIn` starts reading. */
export class BatchedStream {
  /** The peer: "host:port", or the path of a socket. */
  readonly name: string;
  /** Resolves when the stream has ended: with the cause, or with null after `close`. Never rejects. */
  readonly lost: Promise<Error | null>;
  /** The output buffer. After appending to it, call `touch` to have it written. */
  readonly outbox: Outbox = new Outbox();
  /** When bytes were last received, monotonic milliseconds. */
  heardMs: number;
  /** When a write that had waited for the peer last went on, monotonic milliseconds. */
  takenMs: number;
  #clock: Clock;
  #stream: ByteStream;
  #events: BatchedStreamEvents;
  #resolveLost: (cause: Error | null) => void;
  #failure: Error | null = null;
  #isClosing = false;
  #isScheduled = false;
  #isWriting = false;
  #drainWaiters: { bytes: number; resolve: () => void }[] = [];

  constructor(clock: Clock, stream: ByteStream, address: Address, events: BatchedStreamEvents) {
    this.name = addressName(address);
    this.#clock = clock;
    this.#stream = stream;
    this.#events = events;
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.lost = promise;
    this.#resolveLost = resolve;
    this.heardMs = this.takenMs = clock.monoMs();
  }

  /** The error that ended the stream; null while it is open. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** True from `close` on. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** True while bytes are appended or on their way to the socket. */
  get isBusy(): boolean {
    return this.outbox.length > 0 || this.#isWriting;
  }

  /**
   * Starts reading and runs `login`. If that rejects, takes longer than `timeoutMs` or is aborted, the stream
   * ends. Rejects with the error of the login, the error from `late`, or the signal's reason.
   */
  async logIn<T>(
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
    late: () => Error,
    login: () => Promise<T>,
  ): Promise<T> {
    const { timeoutMs, signal } = options;
    void this.#readLoop();
    const disarm = this.#clock.arm(this.#clock.monoMs() + timeoutMs, () => this.fail(late()));
    const onAbort = () => this.fail(new ConnectionLost("Cannot log in: cancelled"));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await login();
    } catch (error) {
      this.fail(new ConnectionLost("Cannot log in", { cause: error }));
      signal?.throwIfAborted();
      throw error;
    } finally {
      disarm();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Schedules one write at the end of this turn. Cheap, and idempotent within a turn. */
  touch(): void {
    if (this.#isScheduled || this.#isWriting || this.#failure !== null) return;
    this.#isScheduled = true;
    this.#clock.defer(() => this.flush());
  }

  /** Writes the outbox now, or right after the write that is under way. */
  flush(): void {
    if (this.#isWriting || this.#failure !== null) return;
    // Set so that a `touch` in `onWrite` schedules nothing: what the owner appends there is part of this
    // write.
    this.#isScheduled = true;
    this.#events.onWrite();
    this.#isScheduled = false;
    if (this.outbox.length === 0) return;
    const view = this.outbox.take();
    this.#isWriting = true;
    this.#events.onSent?.();
    const writing = view.length <= SLICE_BYTES ? this.#stream.write(view) : this.#writeSlices(view);
    writing.then(() => {
      this.#isWriting = false;
      this.outbox.release(view);
      this.flush();
      this.#resolveDrained();
    }, (error) => {
      this.#isWriting = false;
      this.outbox.release(view);
      this.fail(this.lostError(errorText(error), error));
    });
  }

  /** Resolves when the outbox holds at most `bytes`, or the stream has ended. Never rejects. */
  drained(bytes: number): Promise<void> {
    if (this.outbox.length <= bytes || this.#failure !== null) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push({ bytes, resolve }));
  }

  /**
   * Closes the stream in good order. `ask` appends a last command and resolves with the peer's reply, for at
   * most `graceMs`; it must not reject, and is not called if `graceMs` is 0. A second call waits for the
   * first. Never rejects.
   */
  async close(graceMs: number, ask: () => Promise<void>): Promise<void> {
    if (this.#failure !== null) return;
    if (this.#isClosing) {
      await this.lost;
      return;
    }
    this.#isClosing = true;
    if (graceMs > 0) await atMost(this.#clock, graceMs, Promise.race([ask(), this.lost]));
    this.fail(new ConnectionLost(`The connection to ${this.name} is closed`));
  }

  /** Ends the stream at once with a cause. Idempotent. */
  fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#stream.close();
    this.#resolveLost(this.#isClosing ? null : error);
    this.#resolveDrained();
    this.#events.onEnd(error);
  }

  /** Returns the error of a connection that was lost; `why` is the reason in a few words. */
  lostError(why: string, cause: unknown = null): ConnectionLost {
    return new ConnectionLost(`Lost the connection to ${this.name}: ${why}`, { cause, isRetryable: true });
  }

  /** Writes a large view in slices and notes when a slice that had waited was taken. */
  async #writeSlices(view: Uint8Array): Promise<void> {
    for (let from = 0; from < view.length && this.#failure === null; from += SLICE_BYTES) {
      const beganMs = this.#clock.monoMs();
      await this.#stream.write(view.subarray(from, from + SLICE_BYTES));
      const nowMs = this.#clock.monoMs();
      if (nowMs - beganMs >= WAITED_MS) this.takenMs = nowMs;
    }
  }

  async #readLoop(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    while (this.#failure === null) {
      let count: number | null;
      try {
        count = await this.#stream.read(buffer);
      } catch (error) {
        return this.fail(this.lostError(errorText(error), error));
      }
      if (this.#failure !== null) return;
      if (count === null) return this.fail(this.lostError("the server closed it"));
      this.heardMs = this.#clock.monoMs();
      try {
        this.#events.onBytes(buffer.subarray(0, count));
      } catch (error) {
        this.fail(error instanceof Error ? error : new ConnectionLost(errorText(error)));
        // Bytes that break the protocol end the connection. Any other error is a fault of this program and
        // must end it.
        if (!(error instanceof OperatingError)) throw error;
      }
    }
  }

  #resolveDrained(): void {
    if (this.#drainWaiters.length === 0) return;
    const waiting = this.outbox.length;
    this.#drainWaiters = this.#drainWaiters.filter((waiter) => {
      const isDrained = waiting <= waiter.bytes || this.#failure !== null;
      if (isDrained) waiter.resolve();
      return !isDrained;
    });
  }
}

function addressName(address: Address): string {
  if (address.kind === "unix") return address.path;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
