/**
 * Ids of revoked tasks, and of those that have succeeded, the newest ones, as many as Celery keeps.
 *
 * Source: celery 5.2.6 utils/collections.py LimitedSet; 5.6.3 worker/state.py REVOKES_MAX, REVOKE_EXPIRES,
 * SUCCESSFUL_MAX, SUCCESSFUL_EXPIRES; protocol.md 7.1.
 */

import { UsageError } from "../../base/mod.ts";

/** How many ids are kept at most, the oldest go; and seconds an id is sure to be kept while there is room. */
export interface SetLimits {
  readonly max: number;
  readonly expiresSeconds: number;
}

/** Of revoked ids. */
const REVOKED: SetLimits = { max: 50_000, expiresSeconds: 10_800 };
/** Of ids that have succeeded here. */
const SUCCESSFUL: SetLimits = { max: 1000, expiresSeconds: 10_800 };

/** The limits of revoked ids: Celery's, or what its variables say. Throws UsageError. */
export function revokedLimits(env: (name: string) => string | null): SetLimits {
  return limits(env, REVOKED, ["CELERY_WORKER_REVOKES_MAX", "CELERY_WORKER_REVOKE_EXPIRES"]);
}

/** The same of ids that have succeeded. */
export function successfulLimits(env: (name: string) => string | null): SetLimits {
  return limits(env, SUCCESSFUL, ["CELERY_WORKER_SUCCESSFUL_MAX", "CELERY_WORKER_SUCCESSFUL_EXPIRES"]);
}

function limits(
  env: (name: string) => string | null,
  { max, expiresSeconds }: SetLimits,
  [maxName, expiresName]: readonly [string, string],
): SetLimits {
  const read = (name: string, isWhole: boolean): number | null => {
    const text = env(name)?.trim() ?? "";
    if (text === "") return null;
    const value = Number(text);
    if (value >= 0 && Number.isFinite(value) && (!isWhole || Number.isInteger(value))) return value;
    const expected = isWhole ? "a whole number that is not negative" : "a number of seconds";
    throw new UsageError(`Cannot use the variable ${name}="${text}": it must be ${expected}`);
  };
  return { max: read(maxName, true) ?? max, expiresSeconds: read(expiresName, false) ?? expiresSeconds };
}

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
  /** How many ids it holds at most, and seconds that each is sure to be kept. */
  readonly limits: SetLimits;
  #nowSeconds: () => number;

  constructor(options: { limits?: SetLimits; nowSeconds: () => number }) {
    this.limits = options.limits ?? REVOKED;
    this.#nowSeconds = options.nowSeconds;
  }

  /** How many ids it holds. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether an id is in it. Data lane: per message if the set is not empty. */
  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Adds an id; one that is there already becomes the newest. */
  add(id: string): void {
    this.#entries.delete(id);
    this.#entries.set(id, this.#nowSeconds());
    this.changes++;
    if (this.#entries.size > this.limits.max) this.purge();
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
    for (let extra = this.#entries.size - this.limits.max; extra > 0; extra--) {
      const { value, done } = this.#oldest.next();
      if (done) return;
      this.#entries.delete(value);
    }
  }

  /** Forgets every id older than the expiry; for what is saved between restarts. */
  expire(): void {
    const before = this.#nowSeconds() - this.limits.expiresSeconds;
    for (const [id, at] of this.#entries) {
      if (at >= before) break;
      this.#entries.delete(id);
    }
  }

  /** Ids and times, oldest first. */
  entries(): IterableIterator<[string, number]> {
    return this.#entries.entries();
  }
}
