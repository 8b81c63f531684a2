/** How jobs are grouped into frames: one job, or several that together take about a millisecond. */

import type { Ring } from "../base/mod.ts";
import type { Job } from "./pool.ts";

/** Maximum expected duration of a frame of several jobs, milliseconds. */
export const SHORT_MS = 1;
/** Maximum number of jobs in a frame. */
const FRAME_JOBS_MAX = 64;

/**
 * Maximum expected duration, in milliseconds, of a job that may wait in a slot behind another such job. For
 * short jobs the time that a job needs to reach the slot matters. The waiting job is taken back when the
 * running one takes longer than expected (time_limits.ts), or as soon as another slot is idle.
 */
export const BEHIND_MAX_MS = 40;

/** Returns how many jobs of an expected duration (milliseconds; Infinity: unknown) a frame takes. */
export function shortJobsPerFrame(expectedMs: number): number {
  if (!(expectedMs <= SHORT_MS)) return 1;
  return Math.max(1, Math.min(FRAME_JOBS_MAX, Math.floor(SHORT_MS / Math.max(expectedMs, 0.001))));
}

/** Takes the jobs of the next frame from the queue: at least one, at most `countMax`. */
export function jobsForFrame(queue: Ring<Job>, countMax: number): Job[] {
  const jobs = [queue.shift()!];
  let sumMs = jobs[0]!.expectedMs;
  const max = Math.min(countMax, FRAME_JOBS_MAX);
  while (jobs.length < max) {
    const next = queue.peek();
    if (next === undefined) break;
    sumMs += next.expectedMs;
    // Also false if one of the durations is unknown (Infinity).
    if (!(sumMs <= SHORT_MS)) break;
    jobs.push(queue.shift()!);
  }
  return jobs;
}
