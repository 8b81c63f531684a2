/**
 * Revoked ids as `hello` carries them between workers: id to `[inserted, id]`. `inserted` is in seconds since
 * the sender's machine started, as Python's monotonic clock counts.
 *
 * Source: celery 5.2.6 utils/collections.py LimitedSet.update, worker/control.py hello; protocol.md 7.1.
 */

import type { World } from "../../base/mod.ts";
import type { LimitedSet } from "../lane/revoked.ts";

/** Returns the set in its wire form. */
export function revokedToWire(world: World, revoked: LimitedSet): Record<string, [number, string]> {
  const offset = bootOffset(world);
  const result: Record<string, [number, string]> = {};
  for (const [id, at] of revoked.entries()) result[id] = [at + offset, id];
  return result;
}

/**
 * Merges ids that another worker sent, and returns their number. Their times count from the start of the
 * sender's machine, so only their order is trusted: a time in the future, or older than half the expiry, is
 * moved to that limit. Throws TypeError if `given` is not such a map (or a list of ids).
 */
export function mergeRevoked(world: World, revoked: LimitedSet, given: unknown): number {
  if (given === null || given === undefined) return 0;
  if (typeof given !== "object") throw new TypeError("revoked must be an object of ids");
  const now = world.clock.monoMs() / 1000;
  const offset = bootOffset(world);
  const oldest = now - revoked.limits.expiresSeconds / 2;
  const entries: [string, number][] = [];
  const list: readonly (readonly [string, unknown])[] = Array.isArray(given)
    ? given.map((id) => [String(id), now + offset])
    : Object.entries(given);
  for (const [id, value] of list) {
    const inserted: unknown = Array.isArray(value) ? value[0] : value;
    if (typeof inserted !== "number" || !Number.isFinite(inserted)) {
      throw new TypeError(`Expecting float timestamp, got ${typeof inserted}`);
    }
    if (entries.length < revoked.limits.max) {
      entries.push([id, Math.min(now, Math.max(oldest, inserted - offset))]);
    }
  }
  if (entries.length > 0) revoked.update(entries);
  return entries.length;
}

/**
 * Seconds between the machine's start and the zero of our monotonic clock; 0 if the host does not report its
 * uptime.
 */
function bootOffset({ clock, host }: World): number {
  const uptime = host.uptimeSeconds?.();
  return uptime === undefined ? 0 : uptime - clock.monoMs() / 1000;
}
