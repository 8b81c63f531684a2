/**
 * Revoked ids as `hello` carries them between workers: id to `[inserted, id]`, `inserted` in seconds since the
 * sender's machine started, which is what Python's monotonic clock counts.
 *
 * Source: celery 5.2.6 utils/collections.py LimitedSet.update, worker/control.py hello; protocol.md 7.1.
 */

import type { World } from "../../base/mod.ts";
import type { LimitedSet } from "../lane/revoked.ts";

/** The set for the wire. */
export function revokedToWire(world: World, revoked: LimitedSet): Record<string, [number, string]> {
  const offset = bootOffset(world);
  const result: Record<string, [number, string]> = {};
  for (const [id, at] of revoked.entries()) result[id] = [at + offset, id];
  return result;
}

/**
 * Merges what another worker sent; how many ids it held. Of times only the order is trusted, since the sender's clock
 * began when its machine did: one that lies ahead of us, or so far back that the id would be forgotten at once, is
 * moved to where it is kept. Throws TypeError for anything but such a map.
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

/** Seconds between the machine's start and the zero of our monotonic clock. */
function bootOffset({ clock, host }: World): number {
  const uptime = host.uptimeSeconds?.();
  return uptime === undefined ? 0 : uptime - clock.monoMs() / 1000;
}
