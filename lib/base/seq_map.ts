/**
 * A map by ascending whole numbers for what comes and goes with each task.
 *
 * A Map that is filled and emptied all the time replaces its table again and again, and each outgrown table leads
 * to the next one. Once one of them is old, all that follow are kept until the next full collection with what they
 * held then, and grow old themselves: everything that passes through a busy worker would be promoted. Here an
 * entry's place is its number modulo the size of one table that stays; what sits in the way of a newer entry has
 * stayed long, and moves to a Map.
 */

const SIZE = 1024;
const NONE = -1;

/** The map. Keys are whole numbers from 0 on. */
export class SeqMap<V> {
  #keys: number[] = new Array<number>(SIZE).fill(NONE);
  #values: (V | undefined)[] = new Array<V | undefined>(SIZE).fill(undefined);
  #old = new Map<number, V>();
  #size = 0;

  /** Entries in it. */
  get size(): number {
    return this.#size;
  }

  /** The value, or undefined. */
  get(key: number): V | undefined {
    const at = key % SIZE;
    if (this.#keys[at] === key) return this.#values[at];
    return this.#old.size === 0 ? undefined : this.#old.get(key);
  }

  /** Whether there is one. */
  has(key: number): boolean {
    return this.#keys[key % SIZE] === key || this.#old.has(key);
  }

  /** Sets a value, in place of an earlier one. */
  set(key: number, value: V): void {
    const at = key % SIZE;
    const there = this.#keys[at]!;
    if (there === key) {
      this.#values[at] = value;
      return;
    }
    if (this.#old.size > 0 && this.#old.has(key)) {
      this.#old.set(key, value);
      return;
    }
    if (there !== NONE) this.#old.set(there, this.#values[at]!);
    this.#keys[at] = key;
    this.#values[at] = value;
    this.#size++;
  }

  /** Removes an entry; false where there is none. */
  delete(key: number): boolean {
    const at = key % SIZE;
    if (this.#keys[at] === key) {
      this.#keys[at] = NONE;
      this.#values[at] = undefined;
    } else if (this.#old.size === 0 || !this.#old.delete(key)) return false;
    this.#size--;
    return true;
  }

  /** Removes all. */
  clear(): void {
    this.#keys.fill(NONE);
    this.#values.fill(undefined);
    this.#old.clear();
    this.#size = 0;
  }

  /** The keys, ascending. For control, not for the path of a task: it sorts. */
  keys(): number[] {
    const keys = [...this.#old.keys()];
    for (const key of this.#keys) if (key !== NONE) keys.push(key);
    return keys.sort((a, b) => a - b);
  }

  /** The values by ascending key, as `keys`. */
  values(): V[] {
    return this.keys().map((key) => this.get(key)!);
  }
}
