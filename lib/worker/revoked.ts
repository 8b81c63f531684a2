/**
 * Ids of revoked tasks, the newest ones, as many as Celery keeps.
 *
 * Source: celery 5.2.6 utils/collections.py LimitedSet, worker/state.py REVOKES_MAX, REVOKE_EXPIRES; protocol.md 7.1.
 */

/** How many ids are kept at most; past that the oldest go. */
export const REVOKES_MAX = 50_000;
/** Seconds an id is sure to be kept while there is room. */
export const REVOKE_EXPIRES_SECONDS = 10_800;

/**
 * A set of ids with the time of their insertion, oldest first. Times are seconds of the inserter's monotonic clock,
 * which is what mingle sends. Bounded by `max`: past it the oldest ids are forgotten.
 */
export class LimitedSet {
  /** Counts what was added and removed since its start. */
  changes = 0;
  #entries = new Map<string, number>();
  /**
   * Stands before the oldest entry: all before it have been removed. A new iterator would have to pass by the traces of
   * every removed entry again, each time one is removed.
   */
  #oldest: MapIterator<string> = this.#entries.keys();
  #max: number;
  #expiresSeconds: number;
  #nowSeconds: () => number;

  constructor(options: { max?: number; expiresSeconds?: number; nowSeconds: () => number }) {
    this.#max = options.max ?? REVOKES_MAX;
    this.#expiresSeconds = options.expiresSeconds ?? REVOKE_EXPIRES_SECONDS;
    this.#nowSeconds = options.nowSeconds;
  }

  /** How many ids it holds. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether an id is in it. Data lane: per message where the set is not empty. */
  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Adds an id; one that is there already becomes the newest. */
  add(id: string, atSeconds: number = this.#nowSeconds()): void {
    this.#entries.delete(id);
    this.#entries.set(id, atSeconds);
    this.changes++;
    if (this.#entries.size > this.#max) this.purge();
  }

  /** Removes an id; whether it was there. */
  discard(id: string): boolean {
    this.changes++;
    return this.#entries.delete(id);
  }

  /**
   * Merges another worker's ids with their times; of two times the later one stays. The map is kept in order of time,
   * so that the oldest still go first.
   */
  update(entries: Iterable<readonly [id: string, atSeconds: number]>): void {
    for (const [id, at] of entries) {
      const before = this.#entries.get(id);
      if (before === undefined || before < at) this.#entries.set(id, at);
    }
    this.changes++;
    this.#entries = new Map([...this.#entries].sort((a, b) => a[1] - b[1]));
    this.#oldest = this.#entries.keys();
    this.purge();
  }

  /** Forgets what is past the bound, and of what is beyond it in age only as much as the bound asks for. */
  purge(): void {
    for (let extra = this.#entries.size - this.#max; extra > 0; extra--) {
      const { value, done } = this.#oldest.next();
      if (done) return;
      this.#entries.delete(value);
    }
  }

  /** Forgets every id older than the expiry; for what is saved between restarts. */
  expire(): void {
    const before = this.#nowSeconds() - this.#expiresSeconds;
    for (const [id, at] of this.#entries) {
      if (at >= before) break;
      this.#entries.delete(id);
    }
  }

  /** Ids and times, oldest first. */
  entries(): IterableIterator<[string, number]> {
    return this.#entries.entries();
  }

  /** Forgets all. */
  clear(): void {
    this.changes++;
    this.#entries.clear();
    this.#oldest = this.#entries.keys();
  }
}
