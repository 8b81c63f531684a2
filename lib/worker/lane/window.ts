/**
 * How many unsettled messages this worker may hold: Celery's prefetch count, and more while tasks are short.
 *
 * Celery holds `concurrency × worker_prefetch_multiplier`. If the multiplier is not set and tasks are short,
 * that leaves the pool idle between fetches. So the limit grows until about 20 ms of measured work is held,
 * and falls back at once when tasks turn out to be long.
 *
 * Source: celery 5.2.6 worker/components.py Consumer.create; 5.6.3 worker/consumer/consumer.py (reduction
 * after a reconnect).
 */

/** Maximum number of messages held, whatever the settings say. */
export const WINDOW_MAX = 10_000;
/**
 * Maximum number of messages held after the limit has grown: enough to hide the time of a fetch, few enough
 * to be settled before the collector sees them twice.
 */
export const ADAPTIVE_MAX = 512;
/** Milliseconds of measured work to hold per slot. */
const WORK_ON_HAND_MS = 20;
/** If a batch's mean is this many times the running mean, the work has changed; it is not noise. */
const TURNED_LONG = 4;
const NEWEST_WEIGHT = 0.2;

/** The limit and its growth, as plain numbers. The lane reads it before every fetch. */
export class PrefetchWindow {
  #concurrency: number;
  #multiplier: number;
  readonly #isAdaptive: boolean;
  #limit: number;
  #meanMs = NaN;

  /** `multiplier` 0: only WINDOW_MAX limits. `isAdaptive`: the user has not set the multiplier. */
  constructor(options: { concurrency: number; multiplier: number; isAdaptive: boolean }) {
    this.#concurrency = options.concurrency;
    this.#multiplier = options.multiplier;
    this.#isAdaptive = options.isAdaptive && options.multiplier > 0;
    this.#limit = this.base;
  }

  /** Celery's prefetch count. */
  get base(): number {
    if (this.#multiplier === 0) return WINDOW_MAX;
    return Math.min(WINDOW_MAX, Math.max(1, this.#concurrency * this.#multiplier));
  }

  /** How many messages may be held now. */
  get limit(): number {
    return this.#limit;
  }

  /** True if more than Celery's prefetch count may be held. */
  get isGrown(): boolean {
    return this.#limit > this.base;
  }

  /** Follows a new size of the pool. */
  resize(concurrency: number): void {
    const grown = this.isGrown;
    this.#concurrency = concurrency;
    if (!grown || this.#limit < this.base) this.#limit = this.base;
  }

  /**
   * The limit after a reconnect, while `running` tasks of the old connection still hold their slots: lower by
   * their share, but at least one slot's.
   */
  reduced(running: number): number {
    if (running === 0 || this.#multiplier === 0) return this.#limit;
    return Math.max(this.#multiplier, this.base - running * this.#multiplier);
  }

  /**
   * Learns from ended runs: their number, and the sum and the longest of their runtimes in milliseconds. Once
   * per batch.
   */
  observe(count: number, sumMs: number, longestMs: number): void {
    if (!this.#isAdaptive || count === 0) return;
    const mean = sumMs / count;
    if (Number.isNaN(this.#meanMs)) this.#meanMs = mean;
    else this.#meanMs += (mean - this.#meanMs) * NEWEST_WEIGHT;
    if (longestMs > WORK_ON_HAND_MS || mean > TURNED_LONG * this.#meanMs) {
      this.#meanMs = Math.max(this.#meanMs, longestMs);
      this.#limit = Math.min(this.#limit, this.#target());
      return;
    }
    // Doubles per batch at most: the first measurements are of few tasks.
    this.#limit = Math.max(this.base, Math.min(this.#target(), this.#limit * 2));
  }

  /** Returns to Celery's prefetch count at once, because a task has run for `ms` and still runs. */
  shrink(ms: number): void {
    this.#meanMs = Number.isNaN(this.#meanMs) ? ms : Math.max(this.#meanMs, ms);
    this.#limit = this.base;
  }

  #target(): number {
    const worth = Math.ceil(WORK_ON_HAND_MS * this.#concurrency / Math.max(this.#meanMs, 0.001));
    return Math.max(this.base, Math.min(worth, ADAPTIVE_MAX));
  }
}
