/**
 * How many messages this worker may hold that it has not settled: Celery's prefetch, and what short tasks allow
 * beyond it.
 *
 * Celery holds `concurrency × worker_prefetch_multiplier`. Where nobody has set the multiplier and tasks are short,
 * that starves the pool between fetches, so the limit grows while about 20 ms of measured work is on hand, and falls
 * back at once when tasks turn out long.
 *
 * Source: celery 5.2.6 worker/components.py Consumer.create; 5.6.3 worker/consumer/consumer.py (reduction after a
 * reconnect).
 */

/** Messages held at most, whatever the settings say. */
export const WINDOW_MAX = 10_000;
/**
 * Messages held at most if the limit has grown by itself: enough to hide a fetch, and few enough to be gone before
 * the collector looks twice.
 */
export const ADAPTIVE_MAX = 512;
/** Milliseconds of measured work that are worth having on hand, per slot. */
const WORK_ON_HAND_MS = 20;
/** A batch whose mean is this much above the running mean is a change of work, not noise. */
const TURNED_LONG = 4;
const NEWEST_WEIGHT = 0.2;

/** The limit and its growth. Plain numbers; the lane asks it before every fetch. */
export class PrefetchWindow {
  #concurrency: number;
  #multiplier: number;
  readonly #isAdaptive: boolean;
  #limit: number;
  #meanMs = NaN;

  /** `multiplier` 0: no limit but WINDOW_MAX. `isAdaptive`: the multiplier was nobody's choice. */
  constructor(options: { concurrency: number; multiplier: number; isAdaptive: boolean }) {
    this.#concurrency = options.concurrency;
    this.#multiplier = options.multiplier;
    this.#isAdaptive = options.isAdaptive && options.multiplier > 0;
    this.#limit = this.base;
  }

  /** Celery's own count. */
  get base(): number {
    if (this.#multiplier === 0) return WINDOW_MAX;
    return Math.min(WINDOW_MAX, Math.max(1, this.#concurrency * this.#multiplier));
  }

  /** What may be held now. */
  get limit(): number {
    return this.#limit;
  }

  /** True while more than Celery's count may be held. */
  get isGrown(): boolean {
    return this.#limit > this.base;
  }

  /** The pool has changed its size. */
  resize(concurrency: number): void {
    const grown = this.isGrown;
    this.#concurrency = concurrency;
    if (!grown || this.#limit < this.base) this.#limit = this.base;
  }

  /**
   * The limit after a reconnect, while `running` tasks of the old connection still hold their slots: lower by their
   * share, at least one slot's worth.
   */
  reduced(running: number): number {
    if (running === 0 || this.#multiplier === 0) return this.#limit;
    return Math.max(this.#multiplier, this.base - running * this.#multiplier);
  }

  /** Learns from ended runs: their number, the sum and the longest of their milliseconds. Once per batch. */
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
    // At most doubled per batch: the first measurements are of few tasks.
    this.#limit = Math.max(this.base, Math.min(this.#target(), this.#limit * 2));
  }

  /** Back to Celery's count at once: something has run for `ms` and runs still. */
  shrink(ms: number): void {
    this.#meanMs = Number.isNaN(this.#meanMs) ? ms : Math.max(this.#meanMs, ms);
    this.#limit = this.base;
  }

  #target(): number {
    const worth = Math.ceil(WORK_ON_HAND_MS * this.#concurrency / Math.max(this.#meanMs, 0.001));
    return Math.max(this.base, Math.min(worth, ADAPTIVE_MAX));
  }
}
