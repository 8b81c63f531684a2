/**
 * A queue on a circular buffer: no shifting of arrays, no node per item, and nothing kept of what was taken. A place
 * that is not cleared keeps its item, and with it all it came with, until the collector's next full round.
 */

const FIRST_CAPACITY = 16;

/** A growing ring. Each call costs O(1) but for `toArray` and `clear`; its owner bounds what is pushed. */
export class Ring<T> {
  // The capacity is always a power of two, so that a mask replaces the division.
  #items: (T | undefined)[] = new Array<T | undefined>(FIRST_CAPACITY).fill(undefined);
  #head = 0;
  #length = 0;

  /** How many items wait. */
  get length(): number {
    return this.#length;
  }

  /** Appends at the tail. */
  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Puts one back before the oldest. */
  unshift(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#items.length - 1);
    this.#items[this.#head] = item;
    this.#length++;
  }

  /** Takes the oldest item, or undefined where there is none. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  /** The oldest item, left in place; undefined where there is none. */
  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#head];
  }

  /** The newest item, left in place; undefined where there is none. */
  peekLast(): T | undefined {
    if (this.#length === 0) return undefined;
    return this.#items[(this.#head + this.#length - 1) & (this.#items.length - 1)];
  }

  /** Takes the newest item, or undefined where there is none. */
  pop(): T | undefined {
    if (this.#length === 0) return undefined;
    const at = (this.#head + --this.#length) & (this.#items.length - 1);
    const item = this.#items[at];
    this.#items[at] = undefined;
    return item;
  }

  /** All items, oldest first; a copy. */
  toArray(): T[] {
    const all: T[] = [];
    for (let i = 0; i < this.#length; i++) {
      all.push(this.#items[(this.#head + i) & (this.#items.length - 1)]!);
    }
    return all;
  }

  /** Forgets every item. */
  clear(): void {
    this.#items = new Array<T | undefined>(FIRST_CAPACITY).fill(undefined);
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const before = this.#items;
    const after = new Array<T | undefined>(before.length * 2).fill(undefined);
    for (let i = 0; i < this.#length; i++) after[i] = before[(this.#head + i) & (before.length - 1)];
    this.#items = after;
    this.#head = 0;
  }
}
