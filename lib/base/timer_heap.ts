/**
 * Deadlines, many of them, on one armed timer: eta, time limits, heartbeats, rate limits.
 *
 * A binary heap with lazy deletion; arm and disarm cost O(log n) and O(1). Deadlines due at once fire in order of
 * time, then of arming.
 */

import { assert } from "./assert.ts";
import type { Clock, Disarm } from "./world.ts";

/** One armed deadline. */
export interface Deadline {
  readonly atMs: number;
  readonly order: number;
  fn: (() => void) | null;
}

/** The heap. One per worker; `close` disarms everything. */
export class TimerHeap {
  #clock: Clock;
  #heap: Deadline[] = [];
  #order = 0;
  #live = 0;
  #armedAt = Infinity;
  #disarm: Disarm | null = null;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many deadlines are armed. */
  get size(): number {
    return this.#live;
  }

  /** Calls `fn` once when the monotonic clock reaches `atMs`. An error thrown by `fn` reaches the event loop. */
  arm(atMs: number, fn: () => void): Deadline {
    assert(!this.#closed, "a closed timer heap is not armed");
    assert(Number.isFinite(atMs), "a deadline is a finite time");
    const deadline: Deadline = { atMs, order: this.#order++, fn };
    this.#heap.push(deadline);
    this.#up(this.#heap.length - 1);
    this.#live++;
    this.#schedule();
    return deadline;
  }

  /** Calls `fn` in `ms` milliseconds. */
  armIn(ms: number, fn: () => void): Deadline {
    return this.arm(this.#clock.monoMs() + ms, fn);
  }

  /** Takes a deadline back; one that fired or was taken back already is left alone. */
  disarm(deadline: Deadline | null): void {
    if (!deadline || deadline.fn === null) return;
    deadline.fn = null;
    this.#live--;
    while (this.#heap.length > 0 && this.#heap[0]!.fn === null) this.#pop();
    this.#schedule();
  }

  /** Disarms all. Twice is once. */
  close(): void {
    this.#closed = true;
    for (const deadline of this.#heap) deadline.fn = null;
    this.#heap.length = 0;
    this.#live = 0;
    this.#disarm?.();
    this.#disarm = null;
  }

  #schedule(): void {
    const head = this.#heap[0];
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
      while (this.#heap.length > 0 && this.#heap[0]!.atMs <= now) {
        const { fn } = this.#pop();
        if (fn === null) continue;
        this.#live--;
        fn();
      }
    } finally {
      if (!this.#closed) this.#schedule();
    }
  }

  #pop(): Deadline {
    const heap = this.#heap;
    const head = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      this.#down(0);
    }
    // A popped deadline can no longer be disarmed: its fn is taken by the caller.
    const popped = { atMs: head.atMs, order: head.order, fn: head.fn };
    head.fn = null;
    return popped;
  }

  #before(a: Deadline, b: Deadline): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  }

  #up(index: number): void {
    const heap = this.#heap;
    const item = heap[index]!;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(item, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = item;
  }

  #down(index: number): void {
    const heap = this.#heap;
    const item = heap[index]!;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, item)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = item;
  }
}
