/**
 * Fetching: one script call in flight, no polling and no blocking pop.
 *
 * When the script finds everything empty it ends with LLEN on each list. With CLIENT TRACKING on, the server
 * then sends `invalidate` at the next push to one of them, and the script is run again. A slow safety fetch
 * verifies that: if it finds messages that no invalidation announced, tracking does not work on this server
 * and fetching falls back to polling, as it does on a server without tracking.
 */

import { type Clock, ConnectionLost, type Disarm, errorText } from "../../base/mod.ts";
import {
  isMovedError,
  type RedisConnection,
  type ReplySink,
  sendScript,
  toOperatingError,
} from "../../redis/mod.ts";
import { type Reply, type RespArg, RespError } from "../../wire/mod.ts";
import { unackedTail } from "./keys.ts";
import { NO_LEASE, POP, POP_OLD } from "./scripts.ts";
import { LAPSED } from "./lease.ts";
import type { ConsumerBase } from "./unacked.ts";

/** Options of `Fetcher`. */
export interface FetcherOptions {
  readonly clock: Clock;
  readonly order: "round_robin" | "sorted" | "priority";
  /** The longest pause while polling. */
  readonly pollingMs: number;
  window(): number;
  /** Texts of one list, oldest first; their tags count up from `first`. */
  onTexts(queueName: string, texts: Reply[], first: number): void;
  /** Called after the last `onTexts` of a reply. */
  onFetched(): void;
}

/** The most messages of one fetch: a script blocks the server for some microseconds per message. */
const FETCH_MAX = 512;
const SAFETY_MS = 2000;
const POLL_FIRST_MS = 50;
const RETRY_MS = 1000;
/** How long a server may take to announce the change of the probe key. */
const PROBE_MS = 50;
const TRACKING_LOST =
  "The server does not announce new messages on this connection; polling for them instead";

/** Fetches for one consumer. */
export class Fetcher {
  #base: ConsumerBase;
  #options: FetcherOptions;
  #queues: string[] = [];
  #next = 1;
  #isTracking = false;
  #isOld: boolean;
  #isInFlight = false;
  /** How many messages the fetch in flight asked for. */
  #count = 0;
  #isPaused = true;
  #isClosed = false;
  /** Every queue was empty at the last fetch: nothing is fetched until a notification or a timer. */
  #isDry = false;
  /** Whether `notify` was called since the last fetch was written. */
  #wasNotified = false;
  /** The next fetch is the periodic safety fetch. */
  #isSafety = false;
  /** The fetch in flight is a safety fetch that no notification preceded. */
  #isCheck = false;
  #pollMs = POLL_FIRST_MS;
  #disarm: Disarm | null = null;
  /** The probe key, whose change the server must announce. Null: it has done so, or there is no probe. */
  #probeKey: string | null = null;
  #disarmProbe: Disarm = () => {};
  #idleWaiters: (() => void)[] = [];
  #sink: ReplySink;
  /** The queue of each list of the fetch in flight. */
  #asked: string[] = [];
  #warned: string | null = null;

  constructor(base: ConsumerBase, options: FetcherOptions) {
    this.#base = base;
    this.#options = options;
    this.#isOld = !base.connection.isAtLeast(6, 2);
    this.#sink = {
      onReply: (reply) => this.#onReply(reply),
      onLost: () => {
        this.#isInFlight = false;
        this.stop();
        this.#notifyIdle();
      },
    };
  }

  /**
   * Asks the server to announce pushes. If it cannot, fetching polls, and the log says so once. Some servers
   * accept the request and announce nothing (Dragonfly of 2024), so `announce` changes a key that was read
   * before, and the result is checked later without anybody waiting. Rejects if the connection is lost.
   */
  async startTracking(connection: RedisConnection, announce: (key: string) => Promise<void>): Promise<void> {
    if (connection.protocol === 3) {
      try {
        await connection.call(["CLIENT", "TRACKING", "ON", "NOLOOP"]);
        this.#isTracking = true;
        void this.#probe(connection, announce);
        return;
      } catch (error) {
        if (connection.isLost) throw error;
        this.#base.log.info(`Cannot receive announcements of new messages: ${errorText(error)}`);
      }
    }
    this.#base.log.warning(TRACKING_LOST);
  }

  async #probe(connection: RedisConnection, announce: (key: string) => Promise<void>): Promise<void> {
    const key = this.#base.keys.probe(this.#base.id);
    try {
      await connection.call(["EXISTS", key]);
      this.#probeKey = key;
      await announce(key);
    } catch {
      // Not permitted, or the connection is lost: the safety fetch finds out.
      return;
    }
    if (this.#isClosed || this.#probeKey === null) return;
    const { clock } = this.#options;
    this.#disarmProbe = clock.arm(clock.monoMs() + PROBE_MS, () => {
      if (this.#probeKey !== null && this.#isTracking) this.#distrust();
    });
  }

  /** Handles a push message of the connection. */
  onPush(items: Reply[]): void {
    if (items[0] !== "invalidate") return;
    const keys = items[1];
    if (this.#probeKey !== null && Array.isArray(keys) && keys.includes(this.#probeKey)) {
      this.#probeKey = null;
      this.#disarmProbe();
      this.#base.log.debug("The server announces new messages");
      // The announcement was late because this process or the machine was slow.
      if (!this.#isTracking) this.#isTracking = true;
      if (keys.length === 1) return;
    }
    this.notify();
  }

  /** Reports that messages may have arrived: fetches even if every queue was empty. */
  notify(): void {
    this.#wasNotified = true;
    this.#isDry = false;
    this.#pollMs = POLL_FIRST_MS;
    this.wake();
  }

  /**
   * Fetches with the next write, since the window may have grown, unless every queue is known to be empty.
   */
  wake(): void {
    if (!this.#isDry && !this.#isInFlight && !this.#isPaused) this.#base.connection.touch();
  }

  /** Whether nothing is fetched, whatever the window. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Reserves tag numbers for messages that arrive without a fetch; returns the first. */
  reserve(count: number): number {
    const first = this.#next;
    this.#next += count;
    return first;
  }

  /** Whether every queue was empty at the last fetch, with no notification since. */
  get isDry(): boolean {
    return this.#isDry && !this.#isInFlight && !this.#isPaused && !this.#isClosed;
  }

  /** Returns the tag numbers that a lost connection's unanswered fetch may have recorded. */
  unanswered(): number[] {
    return Array.from({ length: this.#count }, (_, n) => this.#next + n);
  }

  addQueue(name: string): void {
    if (!this.#queues.includes(name)) this.#queues.push(name);
    this.notify();
  }

  /** Stops fetching from a queue; resolves when no message of it can arrive any more. */
  removeQueue(name: string): Promise<void> {
    this.#queues = this.#queues.filter((one) => one !== name);
    return this.#idle();
  }

  /** Stops fetching; resolves when no fetch is in flight. */
  pause(): Promise<void> {
    this.#isPaused = true;
    this.#disarm?.();
    this.#disarm = null;
    return this.#idle();
  }

  /** Stops for good, at once. */
  stop(): void {
    this.#isClosed = true;
    this.#disarmProbe();
    this.#disarm?.();
    this.#disarm = null;
  }

  resume(): void {
    if (this.#isClosed) return;
    this.#isPaused = false;
    this.#arm(SAFETY_MS);
    this.notify();
  }

  /** Appends the next fetch if one is needed. Called right before each write. */
  write(): void {
    this.#write(0);
  }

  /**
   * Returns true if a fetch was appended. `arriving`: received messages that `window()` does not count yet.
   */
  #write(arriving: number): boolean {
    if (this.#isInFlight || this.#isPaused || this.#isClosed || this.#isDry) return false;
    if (this.#queues.length === 0) return false;
    const count = Math.min(FETCH_MAX, Math.floor(this.#options.window() - arriving));
    // Written so that NaN stops as well.
    if (!(count > 0)) return false;
    const { keys, id, isRecording, connection } = this.#base;
    const order = this.#options.order === "sorted" ? [...this.#queues].sort() : this.#queues;
    const args: RespArg[] = [keys.unacked, keys.unackedIndex, keys.owner(id)];
    const tails: string[] = [];
    const lists = order.map((name) => keys.lists(name));
    this.#asked = [];
    // All queues at one step, then all at the next, as in kombu's BRPOP: the most urgent messages of any
    // queue come first.
    for (let step = 0; step < lists[0]!.length; step++) {
      for (let i = 0; i < order.length; i++) {
        args.push(lists[i]![step]!);
        tails.push(unackedTail(order[i]!));
        this.#asked.push(order[i]!);
      }
    }
    const keyCount = args.length;
    args.push(count, `${id}:`, this.#next, isRecording ? "1" : "");
    for (const tail of tails) args.push(tail);
    this.#isInFlight = true;
    this.#count = count;
    this.#isCheck = this.#isSafety && !this.#wasNotified;
    this.#isSafety = false;
    this.#wasNotified = false;
    sendScript(connection, this.#isOld ? POP_OLD : POP, keyCount, args, this.#sink);
    return true;
  }

  #onReply(reply: Reply): void {
    this.#isInFlight = false;
    this.#count = 0;
    if (!Array.isArray(reply)) {
      this.#notifyIdle();
      return this.#onRefused(reply);
    }
    if (reply[1] === NO_LEASE) return this.#base.connection.fail(new ConnectionLost(LAPSED));
    if (reply[1] !== "") this.#onListRefused(new RespError(String(reply[1]).replace(/^-/, "")));
    const asked = this.#asked;
    const first = this.#next;
    let count = 0;
    for (let i = 3; i < reply.length; i += 2) count += (reply[i] as Reply[]).length;
    this.#next += count;
    const isEmpty = reply[0] === 1;
    if (count > 0) {
      // An announcement arrives before the reply that returns the message, so it would be here by now.
      if (this.#isCheck && !this.#wasNotified) this.#distrust();
      this.#pollMs = POLL_FIRST_MS;
      this.#rotate(reply, asked);
    }
    if (isEmpty && !this.#wasNotified) {
      this.#isDry = true;
      if (!this.#isTracking && !this.#isPaused) this.#arm(this.#nextPollMs());
    }
    // The next fetch leaves before these messages are decoded: the server works while we do.
    if (count > 0 && !this.#isDry && this.#write(count)) this.#base.connection.flush();
    this.#deliver(reply, asked, first);
    this.#notifyIdle();
    this.wake();
  }

  #deliver(reply: Reply[], asked: readonly string[], first: number): void {
    if (reply.length === 2) return;
    let number = first;
    for (let i = 2; i + 1 < reply.length; i += 2) {
      const texts = reply[i + 1] as Reply[];
      this.#options.onTexts(asked[reply[i] as number]!, texts, number);
      number += texts.length;
    }
    this.#options.onFetched();
  }

  #distrust(): void {
    this.#isTracking = false;
    this.#base.log.warning(TRACKING_LOST);
  }

  /**
   * Handles a list that could not be popped, for example because its key has another type; the others were
   * popped.
   */
  #onListRefused(reply: RespError): void {
    const error = toOperatingError(reply, "fetch from every queue");
    if (isMovedError(reply)) this.#base.connection.fail(error);
    else this.#warn(error.message);
  }

  #onRefused(reply: Reply): void {
    const { connection } = this.#base;
    if (!(reply instanceof RespError)) return;
    const error = toOperatingError(reply, "fetch messages");
    if (isMovedError(reply) || !error.isRetryable) return connection.fail(error);
    this.#warn(error.message);
    this.#isDry = true;
    this.#arm(RETRY_MS);
  }

  /** Round robin: a queue that delivered goes to the end. Source: kombu 5.2.4 utils/scheduling.py. */
  #rotate(reply: Reply[], asked: readonly string[]): void {
    if (this.#options.order !== "round_robin" || this.#queues.length < 2) return;
    for (let i = 2; i < reply.length; i += 2) {
      const at = this.#queues.indexOf(asked[reply[i] as number]!);
      if (at < 0) continue;
      const [name] = this.#queues.splice(at, 1);
      this.#queues.push(name!);
    }
  }

  #nextPollMs(): number {
    const now = this.#pollMs;
    this.#pollMs = Math.min(this.#options.pollingMs, now * 1.5);
    return now;
  }

  /** Arms the one timer that serves the next poll, the next attempt after an error and the safety fetch. */
  #arm(ms: number): void {
    this.#disarm?.();
    this.#disarm = this.#options.clock.arm(this.#options.clock.monoMs() + ms, () => {
      this.#disarm = null;
      if (this.#isPaused || this.#isClosed) return;
      this.#isSafety = this.#isDry && this.#isTracking && ms === SAFETY_MS;
      this.#isDry = false;
      this.#arm(SAFETY_MS);
      this.wake();
    });
  }

  #warn(text: string): void {
    if (this.#warned === text) return;
    this.#warned = text;
    this.#base.log.warning(text);
  }

  #idle(): Promise<void> {
    if (!this.#isInFlight) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #notifyIdle(): void {
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resolve of waiters) resolve();
  }
}
