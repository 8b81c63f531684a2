/**
 * Starts of slots that fail or take long: when to try again, and when the pool gives up.
 */

import { OperatingError } from "../base/mod.ts";

/** Milliseconds until the second try; each further one comes after twice as long. */
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 30_000;
/** The longest such wait if the slot did not fail but was killed. */
const BACKOFF_CUT_OFF_MS = 500;
/** Times that the wait for a slow start doubles. */
const SLOW_STARTS_MAX = 6;

/** What is known of the starts of a pool's slots. */
export class SlotStarts {
  #failures = 0;
  /** Slots in a row that were not up in time: each gives the next one twice as long. */
  #slow = 0;
  /** The start of the pool, until a slot is ready; `left`: slots that have not failed. */
  #first: { reject: (error: Error) => void; left: number } | null = null;

  /** The pool starts `count` slots; `reject` is told if none of them can start. */
  begin(count: number, reject: (error: Error) => void): void {
    this.#first = { reject, left: count };
  }

  /** A slot is up. */
  onReady(): void {
    this.#failures = 0;
    this.#slow = 0;
    this.#first = null;
  }

  /** A slot was not up in time. */
  onSlow(): void {
    this.#slow++;
  }

  /** How many times the usual wait the next slot gets to be up: 1..64. */
  get patience(): number {
    return 2 ** Math.min(SLOW_STARTS_MAX, this.#slow);
  }

  /**
   * A slot ended before it had done anything. `isFault`: by its own fault, before it was ready; `isCutOff`: somebody
   * killed it. Returns the milliseconds until another may be tried; null: others of the pool's first slots may still
   * start; Infinity: none of them could, `fail` the pool.
   */
  onFailure(isFault: boolean, isCutOff: boolean): number | null {
    this.#failures++;
    if (this.#first !== null && isFault) return --this.#first.left > 0 ? null : Infinity;
    return Math.min(
      isCutOff ? BACKOFF_CUT_OFF_MS : BACKOFF_MAX_MS,
      BACKOFF_FIRST_MS * 2 ** Math.min(20, this.#failures - 1),
    );
  }

  /** The pool is closed. */
  cancel(): void {
    this.fail(new OperatingError("The pool was closed before it had started"));
  }

  /** Rejects the start of the pool, if it is under way. */
  fail(error: Error): void {
    this.#first?.reject(error);
    this.#first = null;
  }
}
