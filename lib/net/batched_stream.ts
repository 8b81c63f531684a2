/**
 * What every client connection is beneath its protocol: a stream that is read until it ends, and an outbox whose bytes
 * of one turn leave in one write.
 *
 * One that is lost stays lost: it is an epoch of its own, its owner opens another one.
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

/** What the owner does. Called synchronously. */
export interface BatchedStreamEvents {
  /** A chunk was read; it is free again when this returns. Throws OperatingError on bytes that break the protocol. */
  onBytes(chunk: Uint8Array): void;
  /** A write is about to leave: the time to append what was only collected during the turn. */
  onWrite(): void;
  /** Bytes have been handed to the socket. */
  onSent?(): void;
  /** It is over, by `end`, `fail` or by itself. Once; `lost` is settled by then. */
  onEnd(failure: Error): void;
}

const READ_BYTES = 256 * 1024;

/** A stream with its outbox. `logIn` starts the reading. */
export class BatchedStream {
  /** Where it goes: "host:port", or the path of a socket. */
  readonly name: string;
  /** Resolves when it is gone: with the cause, or with null after `close`. Never rejects. */
  readonly lost: Promise<Error | null>;
  /** Where bytes are appended; `touch` sees to it that they leave. */
  readonly outbox: Outbox = new Outbox();
  /** When bytes came last, monotonic milliseconds. */
  heardMs: number;
  /** When the peer last took bytes that had waited for it, monotonic milliseconds. */
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

  /** Why it is gone; null: it is not. */
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
   * Begins to read and runs a login. Where that rejects, takes longer than `timeoutMs` (then with `late`'s error) or is
   * aborted, the stream ends and the error, or the signal's reason, is thrown.
   */
  async logIn<T>(
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
    late: () => Error,
    login: () => Promise<T>,
  ): Promise<T> {
    const { timeoutMs, signal } = options;
    void this.#readLoop();
    const disarm = this.#clock.arm(this.#clock.monoMs() + timeoutMs, () => this.fail(late()));
    const onAbort = () => this.fail(new ConnectionLost("Cannot log in: given up"));
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

  /** Makes sure that what was appended leaves at the end of this turn. Cheap; any number of times is once. */
  touch(): void {
    if (this.#isScheduled || this.#isWriting || this.#failure !== null) return;
    this.#isScheduled = true;
    this.#clock.defer(() => this.flush());
  }

  /** Writes now what was appended; while a write is under way, right after it. */
  flush(): void {
    if (this.#isWriting || this.#failure !== null) return;
    // What the owner appends is written right here, not in a turn of its own.
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

  /** Resolves when at most `bytes` wait to be handed to the socket, or it is gone. */
  drained(bytes: number): Promise<void> {
    if (this.outbox.length <= bytes || this.#failure !== null) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push({ bytes, resolve }));
  }

  /**
   * Ends it in order: `ask` appends what the peer answers last and resolves with its answer, for which it waits
   * `graceMs` at most; 0 asks nothing. A second call waits for the first one. Never rejects.
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

  /** Gives it up with a cause. Twice is once. */
  fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#stream.close();
    this.#resolveLost(this.#isClosing ? null : error);
    this.#resolveDrained();
    this.#events.onEnd(error);
  }

  /** The error of a connection that went by itself; `why` in a few words. */
  lostError(why: string, cause: unknown = null): ConnectionLost {
    return new ConnectionLost(`Lost the connection to ${this.name}: ${why}`, { cause, isRetryable: true });
  }

  /** Writes much, step by step, and notes when the peer took some of it. */
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
        // Bytes that break the protocol end the connection; an error of our own code ends the program.
        if (!(error instanceof OperatingError)) throw error;
      }
    }
  }

  #resolveDrained(): void {
    if (this.#drainWaiters.length === 0) return;
    const waiting = this.outbox.length;
    this.#drainWaiters = this.#drainWaiters.filter((waiter) => {
      const isOver = waiting <= waiter.bytes || this.#failure !== null;
      if (isOver) waiter.resolve();
      return !isOver;
    });
  }
}

function addressName(address: Address): string {
  if (address.kind === "unix") return address.path;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
