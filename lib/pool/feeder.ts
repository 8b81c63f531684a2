/**
 * Distributes the jobs of a pool among its slots.
 *
 * Jobs wait in one queue. A slot gets a frame when it is idle, or one frame ahead while it runs jobs that are
 * known to be short. So a long job delays no other: a job that was put behind it by mistake is recalled. If
 * no slot is idle, a job of some milliseconds may also wait behind another such job, since it can be taken
 * back at any time, even from a busy slot (link/journal.ts).
 */

import { Ring } from "../base/mod.ts";
import { BEHIND_MAX_MS, jobsForFrame, SHORT_MS, shortJobsPerFrame } from "./feeding.ts";
import type { Job } from "./pool.ts";
import type { Slot } from "./slot.ts";

/** What a feeder needs from its pool. */
export interface FeederParts {
  /** The pool's slots, as they are at each call. */
  readonly slots: readonly Slot[];
  readonly maxTasksPerChild: number | null;
  /** The pool's concurrency. */
  size(): number;
  /** Called after a slot was sent a frame. `isBehind`: the frame waits behind a running job. */
  onSent(slot: Slot, isBehind: boolean): void;
}

/** The queue of a pool. Its length is bounded by the pool's `free`, which limits what is submitted. */
export class Feeder {
  readonly #parts: FeederParts;
  readonly #queue = new Ring<Job>();
  /** The expected duration of the job submitted last, milliseconds. */
  #expectedMs = Infinity;

  /** Sends nothing until `feed` is called. */
  constructor(parts: FeederParts) {
    this.#parts = parts;
  }

  /** How many more jobs like the last one can be sent to slots soon. */
  get free(): number {
    let room = -this.#queue.length;
    const perFrame = shortJobsPerFrame(this.#expectedMs);
    for (const slot of this.#parts.slots) {
      if (!slot.isFeedable) continue;
      if (slot.isConcurrent) room += this.#parts.size() - slot.held.size;
      else if (slot.held.size === 0) room += slot.mayTakeSeveral ? perFrame : 1;
      else if (perFrame > 1 && slot.mayTakeAhead) room += slot.mayTakeSeveral ? perFrame : 1;
      else if (this.#expectedMs <= BEHIND_MAX_MS && slot.mayTakeBehind) room++;
    }
    return Math.max(0, room);
  }

  /** Appends jobs to the queue. */
  add(jobs: readonly Job[]): void {
    for (const job of jobs) this.#queue.push(job);
    if (jobs.length > 0) this.#expectedMs = jobs[jobs.length - 1]!.expectedMs;
  }

  /** Puts a job that a slot had not begun at the head of the queue. */
  giveBack(job: Job): void {
    this.#queue.unshift(job);
  }

  /** Removes and returns all jobs, oldest first. */
  clear(): Job[] {
    const jobs = this.#queue.toArray();
    this.#queue.clear();
    return jobs;
  }

  /** Sends every job that can be sent now. Data lane, per batch. */
  feed(): void {
    while (this.#queue.length > 0) {
      const next = this.#queue.peek()!;
      const keeper = this.#parts.slots.find((slot) => slot.keepsMessageOf(next));
      if (keeper !== undefined) {
        this.#sendTo(keeper, 1);
        continue;
      }
      let idle = 0, ahead = 0;
      let chosen: Slot | null = null, behind: Slot | null = null;
      const { expectedMs } = next;
      for (const slot of this.#parts.slots) {
        if (!slot.isFeedable) continue;
        const isIdle = slot.isConcurrent ? slot.held.size < this.#parts.size() : slot.held.size === 0;
        if (isIdle) {
          if (idle++ === 0) chosen = slot;
        } else if (slot.mayTakeAhead) {
          ahead++;
          chosen ??= slot;
        } else if (expectedMs <= BEHIND_MAX_MS && slot.mayTakeBehind) behind ??= slot;
      }
      if (idle > 0 || (chosen !== null && expectedMs <= SHORT_MS)) {
        this.#sendTo(chosen!, Math.ceil(this.#queue.length / (idle || ahead)));
      } else if (behind !== null) this.#sendTo(behind, 1, true);
      else return;
    }
    this.#balance();
  }

  /** Moves jobs that wait behind a running job to idle slots. */
  #balance(): void {
    for (const full of this.#parts.slots) {
      if (!full.hasOpenAhead) continue;
      const idle = this.#parts.slots.find((slot) => slot.isFeedable && slot.held.size === 0);
      if (idle === undefined) return;
      const job = full.takeBack();
      if (job === null) continue;
      this.#queue.unshift(job);
      this.#sendTo(idle, 1);
    }
  }

  #sendTo(slot: Slot, share: number, isBehind = false): void {
    const max = this.#parts.maxTasksPerChild;
    const left = max === null ? Infinity : max - slot.sent;
    if (slot.isConcurrent) {
      const jobs: Job[] = [];
      const room = Math.min(left, this.#parts.size() - slot.held.size);
      while (jobs.length < room && this.#queue.length > 0) jobs.push(this.#queue.shift()!);
      slot.send(jobs, false);
    } else {
      const jobs = jobsForFrame(this.#queue, Math.min(share, left, slot.mayTakeSeveral ? Infinity : 1));
      // A longer job is a frame of its own, and nothing is sent behind it.
      slot.send(jobs, jobs[0]!.expectedMs <= SHORT_MS, isBehind);
    }
    this.#parts.onSent(slot, isBehind);
  }
}
