/**
 * Ids of tasks that were revoked, or have succeeded: the newest ones, as many as Celery keeps.
 *
 * Source: celery 5.2.6 utils/collections.py LimitedSet; 5.6.3 worker/state.py REVOKES_MAX, REVOKE_EXPIRES,
 * SUCCESSFUL_MAX, SUCCESSFUL_EXPIRES; protocol.md 7.1.
 */

import { UsageError } from "../../base/mod.ts";

/**
 * Maximum number of ids, past which the oldest are forgotten; and seconds after which `expire` forgets an id.
 */
export interface SetLimits {
  readonly max: number;
  readonly expiresSeconds: number;
}

/** Limits of revoked ids. */
const REVOKED: SetLimits = { max: 50_000, expiresSeconds: 10_800 };
/** Limits of ids that have succeeded here. */
const SUCCESSFUL: SetLimits = { max: 1000, expiresSeconds: 10_800 };

/**
 * Returns the limits of revoked ids: Celery's, or those in Celery's environment variables. Throws UsageError.
 */
export function revokedLimits(env: (name: string) => string | null): SetLimits {
  return limits(env, REVOKED, ["CELERY_WORKER_REVOKES_MAX", "CELERY_WORKER_REVOKE_EXPIRES"]);
}

/** Returns the limits of ids that have succeeded, in the same way. */
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
 * A set of ids with the time of their insertion, oldest first. Times are seconds of this process's monotonic
 * clock; revoked_wire.ts converts them for mingle. At most `limits.max` ids: past it the oldest are
 * forgotten.
 */
export class LimitedSet {
  /** Number of changes since the set was made. */
  changes = 0;
  #entries = new Map<string, number>();
  /**
   * An iterator at the oldest entry: all entries before it have been removed. A new iterator would have to
   * skip the holes of every removed entry, each time one is removed.
   */
  #oldest: MapIterator<string> = this.#entries.keys();
  /** Maximum number of ids, and seconds after which `expire` forgets one. */
  readonly limits: SetLimits;
  #nowSeconds: () => number;

  constructor(options: { limits?: SetLimits; nowSeconds: () => number }) {
    this.limits = options.limits ?? REVOKED;
    this.#nowSeconds = options.nowSeconds;
  }

  /** Number of ids in the set. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether the set has an id. Data lane: per message if the set is not empty. */
  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Adds an id; an id that is already there becomes the newest. */
  add(id: string): void {
    this.#entries.delete(id);
    this.#entries.set(id, this.#nowSeconds());
    this.changes++;
    if (this.#entries.size > this.limits.max) this.purge();
  }

  /**
   * Merges another worker's ids with their times; of two times the later one stays. The map is sorted by time
   * again, so that the oldest are forgotten first.
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

  /** Forgets the oldest ids past the maximum, whatever their age. */
  purge(): void {
    for (let extra = this.#entries.size - this.limits.max; extra > 0; extra--) {
      const { value, done } = this.#oldest.next();
      if (done) return;
      this.#entries.delete(value);
    }
  }

  /** Forgets every id older than the expiry; called before the set is saved between restarts. */
  expire(): void {
    const before = this.#nowSeconds() - this.limits.expiresSeconds;
    for (const [id, at] of this.#entries) {
      if (at >= before) break;
      this.#entries.delete(id);
    }
  }

  /** Returns ids and times, oldest first. */
  entries(): IterableIterator<[string, number]> {
    return this.#entries.entries();
  }
}
