/**
 * Many deadlines on one armed timer: eta, time limits, heartbeats, rate limits.
 *
 * A heap with lazy deletion. Arming costs O(log n); disarming costs O(1), or O(log n) for the first deadline.
 * Deadlines that are due together fire in order of time, then of arming.
 */

import { assert } from "./assert.ts";
import { Heap } from "./heap.ts";
import type { Clock, Disarm } from "./world.ts";

/** Later than any clock goes and still an exact number, milliseconds. */
const FAR_MS = 2 ** 52;

/** One armed deadline. */
export interface Deadline {
  readonly atMs: number;
  readonly order: number;
  fn: (() => void) | null;
}

/** The heap. A worker has one. `close` disarms everything. */
export class TimerHeap {
  #clock: Clock;
  #heap = new Heap<Deadline>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order));
  #order = 0;
  #live = 0;
  #armedAt = Infinity;
  #disarm: Disarm | null = null;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The number of armed deadlines. */
  get size(): number {
    return this.#live;
  }

  /** Calls `fn` once when the monotonic clock reaches `atMs`. An error thrown by `fn` is not caught here. */
  arm(atMs: number, fn: () => void): Deadline {
    assert(!this.#closed, "a closed timer heap is not armed");
    assert(Number.isFinite(atMs), "a deadline is a finite time");
    const deadline: Deadline = { atMs, order: this.#order++, fn };
    this.#heap.push(deadline);
    this.#live++;
    this.#schedule();
    return deadline;
  }

  /**
   * Calls `fn` once in `ms` milliseconds. A time that no clock reaches is allowed: a message may have a limit
   * of 1e308 s.
   */
  armIn(ms: number, fn: () => void): Deadline {
    return this.arm(this.#clock.monoMs() + Math.min(ms, FAR_MS), fn);
  }

  /** Disarms a deadline. Does nothing for null, or if it has fired or was disarmed before. */
  disarm(deadline: Deadline | null): void {
    if (!deadline || deadline.fn === null) return;
    deadline.fn = null;
    this.#live--;
    while (this.#heap.peek()?.fn === null) this.#heap.pop();
    this.#schedule();
  }

  /** Disarms all deadlines. Idempotent; nothing can be armed afterwards. */
  close(): void {
    this.#closed = true;
    for (const deadline of this.#heap) deadline.fn = null;
    this.#heap.fill([]);
    this.#live = 0;
    this.#disarm?.();
    this.#disarm = null;
  }

  #schedule(): void {
    const head = this.#heap.peek();
    const at = head ? head.atMs : Infinity;
    if (at === this.#armedAt && this.#disarm) return;
    this.#disarm?.();
    this.#disarm = null;
    this.#armedAt = at;
    if (head) this.#disarm = this.#clock.arm(at, () => this.#fire());
  }

  #fire(): void {
    this.#disarm = null;
    this.#armedAt = Infinity;
    const now = this.#clock.monoMs();
    try {
      for (let head = this.#heap.peek(); head && head.atMs <= now; head = this.#heap.peek()) {
        const { fn } = this.#heap.pop();
        if (fn === null) continue;
        // From here on `disarm` does nothing to it.
        head.fn = null;
        this.#live--;
        fn();
      }
    } finally {
      if (!this.#closed) this.#schedule();
    }
  }
}
