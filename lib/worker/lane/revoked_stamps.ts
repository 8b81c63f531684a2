/**
 * Stamps whose tasks are revoked.
 *
 * Source: celery 5.6.3 worker/state.py revoked_stamps, worker/request.py Request.revoked.
 */

import { forgetOldest } from "../../base/mod.ts";
import { pythonText } from "../../wire/mod.ts";

/** Names, and values of each name, kept at most; the oldest are forgotten first. */
const NAMES_MAX = 1000;
const VALUES_MAX = 10_000;

/** Revoked stamps by name. */
export class RevokedStamps {
  #stamps = new Map<string, Set<string>>();

  /** Number of names; 0: nothing needs to be checked. */
  get size(): number {
    return this.#stamps.size;
  }

  /** Adds values of a stamp. */
  add(name: string, values: readonly string[]): void {
    const known = this.#stamps.get(name) ?? new Set<string>();
    this.#stamps.delete(name);
    this.#stamps.set(name, known);
    for (const value of values) {
      known.add(value);
      forgetOldest(known, VALUES_MAX);
    }
    forgetOldest(this.#stamps, NAMES_MAX);
  }

  /** Returns the name of a revoked stamp that a task bears, or null. Per message, if there are any. */
  find(stamps: Readonly<Record<string, unknown>>): string | null {
    for (const name in stamps) {
      const revoked = this.#stamps.get(name);
      if (revoked === undefined) continue;
      const own = stamps[name];
      if (
        Array.isArray(own) ? own.some((one) => revoked.has(pythonText(one))) : revoked.has(pythonText(own))
      ) {
        return name;
      }
    }
    return null;
  }
}
