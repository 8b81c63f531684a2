/**
 * How long an answer may take while much is on its way: a peer that takes bytes is not dead.
 *
 * A write that had to wait and then went on tells that the peer took something. One that goes through at once tells
 * nothing, since the kernel takes some megabytes for a peer that is gone. So beside what is seen of the peer, an answer
 * gets the time that those megabytes take on a slow line.
 */

/** Bytes of one write, so that each step of a long upload is seen. */
export const SLICE_BYTES = 64 * 1024;
/** A write that took so long, milliseconds, had to wait for the peer. */
export const WAITED_MS = 20;
/** What both kernels hold of an upload, at most. */
const KERNEL_BYTES_MAX = 8 * 1024 * 1024;
/** A slow line, bytes per millisecond. */
const SLOW_BYTES_PER_MS = 64;

/** Milliseconds that an answer may take beyond its limit, with so many bytes of its command on their way. */
export function extraMs(bytes: number): number {
  return Math.min(bytes, KERNEL_BYTES_MAX) / SLOW_BYTES_PER_MS;
}
