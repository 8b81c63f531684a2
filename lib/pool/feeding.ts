/** How jobs are cut into frames: one job, or several that together take about a millisecond. */

import type { Job } from "./pool.ts";

/** Milliseconds that a frame of several jobs may be expected to take. */
export const SHORT_MS = 1;
/** Jobs in a frame at most. */
export const FRAME_JOBS_MAX = 64;

/** How many jobs of an expected length (milliseconds; Infinity: unknown) a frame takes. */
export function shortJobsPerFrame(expectedMs: number): number {
  if (!(expectedMs <= SHORT_MS)) return 1;
  return Math.max(1, Math.min(FRAME_JOBS_MAX, Math.floor(SHORT_MS / Math.max(expectedMs, 0.001))));
}

/** Takes the next frame's jobs from the queue: at least one, at most `countMax`. */
export function jobsForFrame(queue: JobQueue, countMax: number): Job[] {
  const jobs = [queue.shift()!];
  let sumMs = jobs[0]!.expectedMs;
  const max = Math.min(countMax, FRAME_JOBS_MAX);
  while (jobs.length < max) {
    const next = queue.peek();
    if (next === null) break;
    sumMs += next.expectedMs;
    // Also false where one of them is unknown: Infinity.
    if (!(sumMs <= SHORT_MS)) break;
    jobs.push(queue.shift()!);
  }
  return jobs;
}

/** A first-in first-out queue that takes back at its head. The pool's `free` bounds it. */
export class JobQueue {
  #jobs: Job[] = [];
  #head = 0;

  /** Jobs in it. */
  get length(): number {
    return this.#jobs.length - this.#head;
  }

  /** Appends. */
  push(job: Job): void {
    this.#jobs.push(job);
  }

  /** Puts one before all others. */
  pushFront(job: Job): void {
    if (this.#head > 0) this.#jobs[--this.#head] = job;
    else this.#jobs.unshift(job);
  }

  /** The next one, or null. */
  peek(): Job | null {
    return this.length === 0 ? null : this.#jobs[this.#head]!;
  }

  /** Takes the next one; null where there is none. */
  shift(): Job | null {
    if (this.length === 0) return null;
    const job = this.#jobs[this.#head++]!;
    if (this.#head === this.#jobs.length) {
      this.#jobs.length = 0;
      this.#head = 0;
    } else if (this.#head >= 1024) {
      this.#jobs.splice(0, this.#head);
      this.#head = 0;
    }
    return job;
  }

  /** Empties it. */
  takeAll(): Job[] {
    const all = this.#jobs.slice(this.#head);
    this.#jobs.length = 0;
    this.#head = 0;
    return all;
  }
}
