/**
 * A queue on a circular buffer: it shifts no arrays, allocates no node per item, and clears the place of a
 * taken item. A place that is not cleared would keep its item, and everything that the item refers to, until
 * the next full garbage collection.
 */

const FIRST_CAPACITY = 16;

/**
 * A growing ring. Every call costs O(1), except `toArray` and `clear`. Its owner must bound the number of
 * items.
 */
export class Ring<T> {
  // The capacity is always a power of two, so that a mask replaces the division.
  #items: (T | undefined)[] = new Array<T | undefined>(FIRST_CAPACITY).fill(undefined);
  #head = 0;
  #length = 0;

  /** The number of items. */
  get length(): number {
    return this.#length;
  }

  /** Appends at the tail. */
  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Puts an item before the oldest. */
  unshift(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#items.length - 1);
    this.#items[this.#head] = item;
    this.#length++;
  }

  /** Removes and returns the oldest item; undefined if the ring is empty. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  /** Returns the oldest item and leaves it in; undefined if the ring is empty. */
  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#head];
  }

  /** Returns the newest item and leaves it in; undefined if the ring is empty. */
  peekLast(): T | undefined {
    if (this.#length === 0) return undefined;
    return this.#items[(this.#head + this.#length - 1) & (this.#items.length - 1)];
  }

  /** Removes and returns the newest item; undefined if the ring is empty. */
  pop(): T | undefined {
    if (this.#length === 0) return undefined;
    const at = (this.#head + --this.#length) & (this.#items.length - 1);
    const item = this.#items[at];
    this.#items[at] = undefined;
    return item;
  }

  /** Returns a copy of all items, oldest first. */
  toArray(): T[] {
    const all: T[] = [];
    for (let i = 0; i < this.#length; i++) {
      all.push(this.#items[(this.#head + i) & (this.#items.length - 1)]!);
    }
    return all;
  }

  /** Removes all items. */
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
