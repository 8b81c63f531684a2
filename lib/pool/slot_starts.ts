/** Failed and slow starts of slots: when to try again, and when the pool gives up. */

import { OperatingError } from "../base/mod.ts";

/** Milliseconds until the second attempt; the delay doubles with each further one. */
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 30_000;
/** Maximum delay in milliseconds if the slot did not fail but was killed. */
const BACKOFF_CUT_OFF_MS = 500;
/** How many times the limit for a slow start may double. */
const SLOW_STARTS_MAX = 6;

/** The record of a pool's slot starts. */
export class SlotStarts {
  #failures = 0;
  /** Number of slots in a row that were not ready in time. The limit for the next slot doubles with each. */
  #slow = 0;
  /** The start of the pool, until a slot is ready. `left`: slots that have not failed. */
  #first: { reject: (error: Error) => void; left: number } | null = null;

  /** The pool starts `count` slots. `reject` is called if none of them can start. */
  begin(count: number, reject: (error: Error) => void): void {
    this.#first = { reject, left: count };
  }

  /** Call it when a slot is ready. */
  onReady(): void {
    this.#failures = 0;
    this.#slow = 0;
    this.#first = null;
  }

  /** Call it when a slot was not ready in time. */
  onSlow(): void {
    this.#slow++;
  }

  /** Factor for the time that the next slot has to become ready: 1..64. */
  get patience(): number {
    return 2 ** Math.min(SLOW_STARTS_MAX, this.#slow);
  }

  /**
   * Call it when a slot ended before it had run a job. `isFault`: it failed by itself before it was ready;
   * `isCutOff`: it was killed. Returns the milliseconds until the next attempt; null if others of the pool's
   * first slots may still start; Infinity if none of them could: then `fail` the pool.
   */
  onFailure(isFault: boolean, isCutOff: boolean): number | null {
    this.#failures++;
    if (this.#first !== null && isFault) return --this.#first.left > 0 ? null : Infinity;
    return Math.min(
      isCutOff ? BACKOFF_CUT_OFF_MS : BACKOFF_MAX_MS,
      BACKOFF_FIRST_MS * 2 ** Math.min(20, this.#failures - 1),
    );
  }

  /** Rejects the start of the pool because the pool is closed. */
  cancel(): void {
    this.fail(new OperatingError("The pool was closed before it had started"));
  }

  /** Rejects the start of the pool, if it is under way. */
  fail(error: Error): void {
    this.#first?.reject(error);
    this.#first = null;
  }
}
