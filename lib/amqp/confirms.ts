/**
 * Publisher confirms: which publishes of a channel the broker has taken. Batches settle by range.
 *
 * Source: RabbitMQ "Consumer Acknowledgements and Publisher Confirms".
 */

import { Ring } from "../base/mod.ts";

/** A run of publishes that was sent together. */
export interface ConfirmBatch {
  /** Sequence numbers on the channel, both included. */
  readonly first: number;
  readonly last: number;
  /** Sequence numbers that the broker refused. */
  readonly refused: number[];
  /** All of it was answered; `refused` says what was not taken. */
  onSettled(): void;
  /** The channel or its connection is gone; the numbers in `unanswered` will have no answer. */
  onLost(error: Error, unanswered: readonly number[]): void;
}

/** The open confirms of one channel. */
export class Confirms {
  #sent = 0;
  /** Everything up to here is answered. */
  #low = 0;
  /** Answered out of order, above `#low`. */
  #ahead = new Set<number>();
  #batches = new Ring<ConfirmBatch>();

  /** How many publishes wait for their answer. */
  get open(): number {
    return this.#sent - this.#low - this.#ahead.size;
  }

  /** The number that the next publish has. */
  get next(): number {
    return this.#sent + 1;
  }

  /** Counts publishes just sent: their batch begins at `next` and is the newest. */
  expect(batch: ConfirmBatch): void {
    this.#sent = batch.last;
    this.#batches.push(batch);
  }

  /** An ack or a nack of one number, or of all up to it. A number never sent is ignored. */
  answer(tag: number, multiple: boolean, isTaken: boolean): void {
    // With `multiple`, 0 means everything so far.
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

  /** Tells every open batch that no answer will come. */
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
