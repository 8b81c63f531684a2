/** How jobs are cut into frames: one job, or several that together take about a millisecond. */

import type { Ring } from "../base/mod.ts";
import type { Job } from "./pool.ts";

/** Milliseconds that a frame of several jobs may be expected to take. */
export const SHORT_MS = 1;
/** Jobs in a frame at most. */
const FRAME_JOBS_MAX = 64;

/**
 * A job expected to take at most so many milliseconds may wait in a slot behind another such one: the way to the slot
 * would be felt. It is taken back by the time that the one before it turns out longer (time_limits.ts), or as soon as
 * another slot has nothing to do.
 */
export const BEHIND_MAX_MS = 40;

/** How many jobs of an expected length (milliseconds; Infinity: unknown) a frame takes. */
export function shortJobsPerFrame(expectedMs: number): number {
  if (!(expectedMs <= SHORT_MS)) return 1;
  return Math.max(1, Math.min(FRAME_JOBS_MAX, Math.floor(SHORT_MS / Math.max(expectedMs, 0.001))));
}

/** Takes the next frame's jobs from the queue: at least one, at most `countMax`. */
export function jobsForFrame(queue: Ring<Job>, countMax: number): Job[] {
  const jobs = [queue.shift()!];
  let sumMs = jobs[0]!.expectedMs;
  const max = Math.min(countMax, FRAME_JOBS_MAX);
  while (jobs.length < max) {
    const next = queue.peek();
    if (next === undefined) break;
    sumMs += next.expectedMs;
    // Also false where one of them is unknown: Infinity.
    if (!(sumMs <= SHORT_MS)) break;
    jobs.push(queue.shift()!);
  }
  return jobs;
}
