/**
 * A map with ascending whole numbers as keys, for entries that are added and removed with each task.
 *
 * A Map that is filled and emptied all the time replaces its table again and again, and each outgrown table
 * refers to the next one. Once one of them is in the old generation of the heap, it keeps all later tables
 * alive, with their contents, until the next full collection, and they grow old too: everything that passes
 * through a busy worker would be promoted. Here there is one fixed table, and an entry's place is its key
 * modulo the table's size. If an older entry occupies the place of a new one, it has stayed long and moves to
 * a Map.
 */

const SIZE = 1024;
const NONE = -1;

/** The map. Keys are whole numbers from 0 on. */
export class SeqMap<V> {
  #keys: number[] = new Array<number>(SIZE).fill(NONE);
  #values: (V | undefined)[] = new Array<V | undefined>(SIZE).fill(undefined);
  #old = new Map<number, V>();
  #size = 0;

  /** The number of entries. */
  get size(): number {
    return this.#size;
  }

  /** Returns the value of a key, or undefined. */
  get(key: number): V | undefined {
    const at = key % SIZE;
    if (this.#keys[at] === key) return this.#values[at];
    return this.#old.size === 0 ? undefined : this.#old.get(key);
  }

  /** Returns true if the map has this key. */
  has(key: number): boolean {
    return this.#keys[key % SIZE] === key || this.#old.has(key);
  }

  /** Sets the value of a key and replaces an earlier one. */
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

  /** Removes an entry. Returns false if there is none. */
  delete(key: number): boolean {
    const at = key % SIZE;
    if (this.#keys[at] === key) {
      this.#keys[at] = NONE;
      this.#values[at] = undefined;
    } else if (this.#old.size === 0 || !this.#old.delete(key)) return false;
    this.#size--;
    return true;
  }

  /** Removes all entries. */
  clear(): void {
    this.#keys.fill(NONE);
    this.#values.fill(undefined);
    this.#old.clear();
    this.#size = 0;
  }

  /** Returns the keys in ascending order. For the control lane only, because it sorts. */
  keys(): number[] {
    const keys = [...this.#old.keys()];
    for (const key of this.#keys) if (key !== NONE) keys.push(key);
    return keys.sort((a, b) => a - b);
  }

  /** Returns the values in ascending order of their keys. */
  values(): V[] {
    return this.keys().map((key) => this.get(key)!);
  }
}
