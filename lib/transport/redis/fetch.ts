/**
 * Fetching: one script call in flight, no polling and no blocking pop.
 *
 * When the script finds everything empty it ends with LLEN on each list. With CLIENT TRACKING on, the server then
 * sends `invalidate` at the next push to one of them, and the script is run again. A slow safety fetch watches over
 * that: if it finds messages that no invalidation announced, the server's tracking is not to be trusted and fetching
 * falls back to polling. So it does where the server has no tracking at all.
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

/** What the fetcher needs besides. */
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

/** The most messages of one fetch: a script holds the server up for some microseconds per message. */
const FETCH_MAX = 512;
const SAFETY_MS = 2000;
const POLL_FIRST_MS = 50;
const RETRY_MS = 1000;
/** How long a server may take to announce what it has done. */
const PROBE_MS = 50;
const TRACKING_LOST =
  "The server does not announce new messages on this connection; asking for them instead, " +
  "every second at the latest";

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
  /** Everything was empty at the last fetch and something will stir us: nothing to fetch. */
  #isDry = false;
  /** Whether `stir` was called since the fetch in flight was written, or since the last one. */
  #wasStirred = false;
  /** The next fetch is one that nothing called for. */
  #isSafety = false;
  /** The fetch in flight is one that nothing called for. */
  #isCheck = false;
  #pollMs = POLL_FIRST_MS;
  #disarm: Disarm | null = null;
  /** Read, and set by another connection: the server is to announce that. Null: it has, or was not asked to. */
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
   * Asks the server to announce pushes. Where it cannot, fetching polls, and the log says so once. Some servers take
   * the request and announce nothing (Dragonfly of 2024), so `announce` sets a key that was read, and what comes of it
   * is looked at meanwhile: nothing waits for that.
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
      // Not allowed, or lost: the safety fetch finds out.
      return;
    }
    if (this.#isClosed || this.#probeKey === null) return;
    const { clock } = this.#options;
    this.#disarmProbe = clock.arm(clock.monoMs() + PROBE_MS, () => {
      if (this.#probeKey !== null && this.#isTracking) this.#distrust();
    });
  }

  /** A push message of the connection. */
  onPush(items: Reply[]): void {
    if (items[0] !== "invalidate") return;
    const keys = items[1];
    if (this.#probeKey !== null && Array.isArray(keys) && keys.includes(this.#probeKey)) {
      this.#probeKey = null;
      this.#disarmProbe();
      this.#base.log.debug("The server announces new messages");
      // It was slow to say so: we or the machine were.
      if (!this.#isTracking) this.#isTracking = true;
      if (keys.length === 1) return;
    }
    this.stir();
  }

  /** Something may be there: fetch although everything was empty. */
  stir(): void {
    this.#wasStirred = true;
    this.#isDry = false;
    this.#pollMs = POLL_FIRST_MS;
    this.wake();
  }

  /** The window may have grown: fetch before the next write unless everything is known to be empty. */
  wake(): void {
    if (!this.#isDry && !this.#isInFlight && !this.#isPaused) this.#base.connection.touch();
  }

  /** Whether nothing is fetched, whatever the window. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Takes some tag numbers for messages that come in another way; the first. */
  reserve(count: number): number {
    const first = this.#next;
    this.#next += count;
    return first;
  }

  /** Whether all queues were empty when last looked at, and nothing has been heard of since. */
  get isDry(): boolean {
    return this.#isDry && !this.#isInFlight && !this.#isPaused && !this.#isClosed;
  }

  /** The tag numbers that a fetch may have recorded whose reply was never heard. Of a lost connection. */
  unheard(): number[] {
    return Array.from({ length: this.#count }, (_, n) => this.#next + n);
  }

  addQueue(name: string): void {
    if (!this.#queues.includes(name)) this.#queues.push(name);
    this.stir();
  }

  /** Resolves when nothing of the queue can arrive any more. */
  removeQueue(name: string): Promise<void> {
    this.#queues = this.#queues.filter((one) => one !== name);
    return this.#idle();
  }

  /** Stops; resolves when no fetch is in flight. */
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
    this.stir();
  }

  /** Appends the next fetch where there is one to make. Called right before each write. */
  write(): void {
    this.#write(0);
  }

  /** `arriving`: messages that came but that `window()` does not count yet. True where a fetch was appended. */
  #write(arriving: number): boolean {
    if (this.#isInFlight || this.#isPaused || this.#isClosed || this.#isDry) return false;
    if (this.#queues.length === 0) return false;
    const count = Math.min(FETCH_MAX, Math.floor(this.#options.window() - arriving));
    // A NaN is not a window either.
    if (!(count > 0)) return false;
    const { keys, id, isRecording, connection } = this.#base;
    const order = this.#options.order === "sorted" ? [...this.#queues].sort() : this.#queues;
    const args: RespArg[] = [keys.unacked, keys.unackedIndex, keys.owner(id)];
    const tails: string[] = [];
    const lists = order.map((name) => keys.lists(name));
    this.#asked = [];
    // For each step every queue, as kombu's BRPOP: what is most urgent comes first whichever queue it is in.
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
    this.#isCheck = this.#isSafety && !this.#wasStirred;
    this.#isSafety = false;
    this.#wasStirred = false;
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
      // An announcement travels ahead of the reply that finds the message, so it would have been heard by now.
      if (this.#isCheck && !this.#wasStirred) this.#distrust();
      this.#pollMs = POLL_FIRST_MS;
      this.#rotate(reply, asked);
    }
    if (isEmpty && !this.#wasStirred) {
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

  /** One list could not be popped, such as one whose key holds something else; the others were. */
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

  /** One timer serves all three: the next poll, the next attempt after an error, the safety fetch. */
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
