/** A job in a slot, and what becomes of it when the slot dies. */

import type { Outcome } from "../app/mod.ts";
import type { JournalRecord } from "./link/journal.ts";
import type { SlotEnd } from "./link/link.ts";
import { hardLimitOutcome, lostOutcome, terminatedOutcome } from "./link/slot_end.ts";
import type { Job } from "./pool.ts";

/** A job in a slot. */
export interface Held {
  readonly job: Job;
  readonly frame: number;
  /** The position of the job among all jobs that the slot was sent, from 1. */
  readonly place: number;
  /** When it began, monotonic milliseconds. Of a sequential slot only the first job's value is used. */
  beganMs: number;
  isNearSeen: boolean;
  isSoftSent: boolean;
  isHardSent: boolean;
}

/** Why the parent killed a slot: the job that was the reason. */
export interface Verdict {
  readonly seq: number;
  readonly kind: "timeout" | "terminated";
  readonly signal: string;
}

/** What the parent knew of a slot when the slot died. */
export interface LastSeen {
  /** Whether the slot was ready; if not, it has begun no job. */
  readonly hadStarted: boolean;
  readonly isConcurrent: boolean;
  /** The frame that it was running. */
  readonly runningFrame: number;
  /** The content of its journal; null if it has none. */
  readonly record: JournalRecord | null;
  /** The job for which it was killed, if there is one. */
  readonly verdict: Verdict | null;
}

/** What became of the jobs of a dead slot. */
export interface DeathReport {
  /** How many jobs had ended normally, according to the journal. */
  readonly ended: number;
  /** Outcomes of the jobs that had begun; those that had ended come first. */
  readonly outcomes: Outcome[];
  /** Jobs that had not begun, oldest first. */
  readonly unbegun: Held[];
}

/**
 * Determines which jobs of a dead slot had ended, had begun, or had not begun. `held`: its jobs, oldest
 * first. Without a journal all jobs of the running frame count as begun. The job of the verdict always counts
 * as begun.
 */
export function judgeDeath(held: Iterable<Held>, end: SlotEnd, seen: LastSeen): DeathReport {
  const { hadStarted, isConcurrent, runningFrame, record, verdict } = seen;
  const left = new Map<number, Held>();
  for (const one of held) left.set(one.job.seq, one);
  const outcomes: Outcome[] = [];
  const unbegun: Held[] = [];
  if (record !== null) {
    for (const outcome of record.outcomes) {
      if (left.get(outcome.seq)?.frame !== record.frameNumber) continue;
      left.delete(outcome.seq);
      outcomes.push(outcome);
    }
  }
  const ended = outcomes.length;
  let isFirst = true;
  for (const one of left.values()) {
    const { job, frame, place } = one;
    let hasBegun: boolean;
    if (!hadStarted) hasBegun = false;
    else if (verdict?.seq === job.seq) hasBegun = true;
    else if (isConcurrent) hasBegun = end.begun === undefined || place <= end.begun;
    else if (record === null) hasBegun = frame === runningFrame;
    // The job after the last journalled outcome had begun.
    else hasBegun = isFirst && frame === record.frameNumber;
    isFirst = false;
    if (hasBegun) outcomes.push(deathOutcome(job, end, verdict));
    else unbegun.push(one);
  }
  return { ended, outcomes, unbegun };
}

function deathOutcome(job: Job, end: SlotEnd, verdict: Verdict | null): Outcome {
  if (verdict === null || verdict.seq !== job.seq) return lostOutcome(job, end);
  return verdict.kind === "timeout" ? hardLimitOutcome(job) : terminatedOutcome(job, verdict.signal);
}
