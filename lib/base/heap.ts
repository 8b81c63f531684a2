/** A binary heap: adds an item and takes the first one in O(log n), in an order given by the owner. */

/** The heap. `before` returns true if `a` comes out before `b`. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  /** The number of items. */
  get size(): number {
    return this.#items.length;
  }

  /** Returns the first item and leaves it in; undefined if the heap is empty. */
  peek(): T | undefined {
    return this.#items[0];
  }

  /** Adds an item. */
  push(item: T): void {
    this.#items.push(item);
    this.#up(this.#items.length - 1);
  }

  /** Removes and returns the first item. The heap must not be empty. */
  pop(): T {
    const items = this.#items;
    const head = items[0]!;
    const last = items.pop()!;
    if (items.length > 0) {
      items[0] = last;
      this.#down(0);
    }
    return head;
  }

  /**
   * Replaces all items, in O(n). Without `items`: restores the order after the items' sort keys have changed.
   */
  fill(items: Iterable<T> = [...this.#items]): void {
    this.#items.length = 0;
    for (const item of items) this.#items.push(item);
    for (let at = (this.#items.length >> 1) - 1; at >= 0; at--) this.#down(at);
  }

  /** Iterates over all items, in no particular order. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.#items.values();
  }

  #up(index: number): void {
    const items = this.#items;
    const item = items[index]!;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(item, items[parent]!)) break;
      items[index] = items[parent]!;
      index = parent;
    }
    items[index] = item;
  }

  #down(index: number): void {
    const items = this.#items;
    const item = items[index]!;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#before(items[child + 1]!, items[child]!)) child++;
      if (!this.#before(items[child]!, item)) break;
      items[index] = items[child]!;
      index = child;
    }
    items[index] = item;
  }
}
