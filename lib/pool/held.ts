/**
 * A job as its slot holds it, and what becomes of it when the slot dies.
 */

import type { Outcome } from "../app/mod.ts";
import type { JournalRecord } from "./link/journal.ts";
import type { SlotEnd } from "./link/link.ts";
import { hardLimitOutcome, lostOutcome, terminatedOutcome } from "./link/slot_end.ts";
import type { Job } from "./pool.ts";

/** A job in a slot. */
export interface Held {
  readonly job: Job;
  readonly frame: number;
  /** Which job in the life of the slot it is, from 1. */
  readonly place: number;
  /** When it began, monotonic; of a sequential slot only the first one's counts. */
  beganMs: number;
  isNearSeen: boolean;
  isSoftSent: boolean;
  isHardSent: boolean;
}

/** Why the parent ended a slot: which job it was about. */
export interface Verdict {
  readonly seq: number;
  readonly kind: "timeout" | "terminated";
  readonly signal: string;
}

/** What the parent knew of a slot when it died. */
export interface LastSeen {
  /** Whether it was ready before; otherwise it has begun nothing. */
  readonly hadStarted: boolean;
  readonly isConcurrent: boolean;
  /** The frame it ran. */
  readonly runningFrame: number;
  /** What its journal says; null: it has none. */
  readonly record: JournalRecord | null;
  /** The job for which it was ended, if it was. */
  readonly verdict: Verdict | null;
}

/** What became of the jobs of a dead slot. */
export interface DeathReport {
  /** How many had ended by themselves, according to the journal. */
  readonly ended: number;
  /** Of jobs that had begun: of those that had ended first. */
  readonly outcomes: Outcome[];
  /** Oldest first. */
  readonly unbegun: Held[];
}

/**
 * Tells which jobs of a dead slot had ended, begun or not begun. `held`: its jobs, oldest first. If it has no journal,
 * the whole running frame may have begun. The job a verdict is about counts as begun, whether it had or not.
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
    // The one after the last journalled outcome had begun.
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
