/**
 * How long a reply may take while a large upload is under way: a peer that takes bytes is alive.
 *
 * If a write had to wait and then went on, the peer has taken bytes. If a write completes at once, it proves
 * nothing, since the kernel buffers some megabytes even for a dead peer. So a reply also gets the time that
 * those megabytes take on a slow line.
 */

/** The size of one write, so that the progress of a large upload can be observed. */
export const SLICE_BYTES = 64 * 1024;
/** A write that took this long, milliseconds, had to wait for the peer. */
export const WAITED_MS = 20;
/** The most that the kernels of both sides buffer of an upload. */
const KERNEL_BYTES_MAX = 8 * 1024 * 1024;
/** The speed of a slow line, bytes per millisecond. */
const SLOW_BYTES_PER_MS = 64;

/**
 * Returns the milliseconds that a reply may take beyond its limit while `bytes` of its command are under way.
 */
export function extraMs(bytes: number): number {
  return Math.min(bytes, KERNEL_BYTES_MAX) / SLOW_BYTES_PER_MS;
}
