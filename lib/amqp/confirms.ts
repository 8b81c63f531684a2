/**
 * Publisher confirms: tracks which publishes of a channel the broker has accepted, in batches of consecutive
 * numbers.
 *
 * Source: RabbitMQ "Consumer Acknowledgements and Publisher Confirms".
 */

import { Ring } from "../base/mod.ts";

/** A run of publishes that were sent together. */
export interface ConfirmBatch {
  /** The first and last sequence number on the channel, both included. */
  readonly first: number;
  readonly last: number;
  /** The sequence numbers that the broker refused. */
  readonly refused: number[];
  /** Called when every publish was answered; `refused` has the ones that were not accepted. */
  onSettled(): void;
  /**
   * Called when the channel or its connection has ended; the numbers in `unanswered` will never be answered.
   */
  onLost(error: Error, unanswered: readonly number[]): void;
}

/** The pending confirms of one channel. */
export class Confirms {
  #sent = 0;
  /** Every number up to this one is answered. */
  #low = 0;
  /** Numbers above `#low` that were answered out of order. */
  #ahead = new Set<number>();
  #batches = new Ring<ConfirmBatch>();

  /** The number of publishes without an answer. */
  get open(): number {
    return this.#sent - this.#low - this.#ahead.size;
  }

  /** The sequence number of the next publish. */
  get next(): number {
    return this.#sent + 1;
  }

  /** Adds the batch of publishes just sent. It must begin at `next`. */
  expect(batch: ConfirmBatch): void {
    this.#sent = batch.last;
    this.#batches.push(batch);
  }

  /**
   * Handles an ack (`isTaken`) or a nack of one number or, with `multiple`, of all up to it. Numbers never
   * sent are ignored.
   */
  answer(tag: number, multiple: boolean, isTaken: boolean): void {
    // With `multiple`, 0 means everything sent so far.
    const upTo = multiple && tag === 0 ? this.#sent : Math.min(tag, this.#sent);
    if (!isTaken) this.#refuse(multiple ? this.#low + 1 : upTo, upTo);
    if (multiple) {
      if (this.#ahead.size > 0) {
        for (let one = this.#low + 1; one <= upTo && this.#ahead.size > 0; one++) this.#ahead.delete(one);
      }
      this.#low = Math.max(this.#low, upTo);
    } else if (tag === this.#low + 1) this.#low = tag;
    else if (tag > this.#low && tag <= this.#sent) this.#ahead.add(tag);
    while (this.#ahead.size > 0 && this.#ahead.delete(this.#low + 1)) this.#low++;
    for (let batch = this.#batches.peek(); batch !== undefined && batch.last <= this.#low;) {
      this.#batches.shift();
      batch.onSettled();
      batch = this.#batches.peek();
    }
  }

  /** Calls `onLost` of every open batch. */
  fail(error: Error): void {
    for (let batch = this.#batches.shift(); batch !== undefined; batch = this.#batches.shift()) {
      const unanswered: number[] = [];
      for (let one = Math.max(batch.first, this.#low + 1); one <= batch.last; one++) {
        if (!this.#ahead.has(one)) unanswered.push(one);
      }
      batch.onLost(error, unanswered);
    }
    this.#low = this.#sent;
    this.#ahead.clear();
  }

  #refuse(first: number, last: number): void {
    const waiting: ConfirmBatch[] = [];
    for (let batch = this.#batches.shift(); batch !== undefined; batch = this.#batches.shift()) {
      waiting.push(batch);
    }
    for (const batch of waiting) {
      this.#batches.push(batch);
      for (let one = Math.max(first, batch.first); one <= Math.min(last, batch.last); one++) {
        if (one > this.#low && !this.#ahead.has(one)) batch.refused.push(one);
      }
    }
  }
}
