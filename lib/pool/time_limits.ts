/**
 * Soft and hard time limits, looked at from outside the slot: a busy loop cannot hold them up.
 *
 * Nothing is armed per job. A slot has one deadline that is looked at again when it comes; most jobs have
 * ended by then and cost nothing.
 */

import type { Held } from "./held.ts";
import type { Slot } from "./slot.ts";

/** Milliseconds after which jobs behind a running one are asked back. */
const RECALL_MS = 50;
/** How long before a hard limit a slot of many jobs is looked at: were it to be replaced, the next takes as long. */
const NEAR_MS = 700;

/** What to do when a limit has passed; each once per job. */
export interface LimitActions {
  onSoft(held: Held): void;
  /** The hard limit of a job among many is near. */
  onNear(): void;
  onHard(held: Held): void;
  /** What waits behind the running job is to run elsewhere. */
  onRecall(): void;
}

/**
 * When to look at a slot, monotonic milliseconds; Infinity: never. Per batch: jobs that have no limit and
 * nothing behind them cost nothing.
 */
export function nextLookMs(slot: Slot): number {
  let nextMs = Infinity;
  if (slot.hasLimits) {
    for (const held of slot.held.values()) {
      if (slot.isConcurrent) nextMs = Math.min(nextMs, nextLimitMs(held, held.beganMs), nearMs(held));
      else nextMs = Math.min(nextMs, nextLimitMs(held, slot.beganMs));
    }
  }
  return slot.isConcurrent ? nextMs : Math.min(nextMs, recallAtMs(slot, slot.first()));
}

/**
 * Enforces what is due and returns when to look again. Only jobs that run are meant, by the slot's journal.
 */
export function enforceLimits(slot: Slot, nowMs: number, actions: LimitActions): number {
  if (slot.isConcurrent) {
    let nextMs = Infinity;
    for (const held of slot.held.values()) {
      if (nearMs(held) <= nowMs) {
        held.isNearSeen = true;
        actions.onNear();
      }
      nextMs = Math.min(nextMs, enforceOne(held, held.beganMs, nowMs, actions), nearMs(held));
    }
    return nextMs;
  }
  // By what the slot has said nothing is due yet: its journal need not be read.
  const earliestMs = nextLookMs(slot);
  if (earliestMs > nowMs) return earliestMs;
  const running = slot.running();
  if (running === null) return Infinity;
  const nextMs = enforceOne(running, slot.beganMs, nowMs, actions);
  const recallMs = recallAtMs(slot, running);
  if (recallMs > nowMs) return Math.min(nextMs, recallMs);
  slot.recalledBehind = running.job.seq;
  // It is not a short frame after all: nothing is sent behind it again.
  slot.isShort = false;
  actions.onRecall();
  return nextMs;
}

function recallAtMs(slot: Slot, running: Held | null): number {
  const isAlone = slot.isConcurrent || slot.held.size <= 1;
  return isAlone || slot.recalledBehind === running?.job.seq ? Infinity : slot.beganMs + RECALL_MS;
}

function nearMs({ job: { timeLimit }, beganMs, isNearSeen, isHardSent }: Held): number {
  if (!timeLimit || isNearSeen || isHardSent) return Infinity;
  return beganMs + Math.max(timeLimit * 1000 - NEAR_MS, timeLimit * 500);
}

/** A limit of 0 means none, as in Celery. */
function nextLimitMs(held: Held, beganMs: number): number {
  const { softTimeLimit, timeLimit } = held.job;
  let nextMs = Infinity;
  if (timeLimit && !held.isHardSent) nextMs = beganMs + timeLimit * 1000;
  if (softTimeLimit && !held.isSoftSent) nextMs = Math.min(nextMs, beganMs + softTimeLimit * 1000);
  return nextMs;
}

function enforceOne(held: Held, beganMs: number, nowMs: number, actions: LimitActions): number {
  const { softTimeLimit, timeLimit } = held.job;
  if (timeLimit && !held.isHardSent && beganMs + timeLimit * 1000 <= nowMs) {
    held.isHardSent = true;
    held.isSoftSent = true;
    actions.onHard(held);
  } else if (softTimeLimit && !held.isSoftSent && beganMs + softTimeLimit * 1000 <= nowMs) {
    held.isSoftSent = true;
    actions.onSoft(held);
  }
  return nextLimitMs(held, beganMs);
}
