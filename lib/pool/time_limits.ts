/**
 * Soft and hard time limits, enforced from outside the slot, so that they hold even for a busy loop.
 *
 * No timer is armed per job. A slot has one deadline, and its limits are checked when that comes; most jobs
 * have ended by then and cost nothing.
 */

import type { Held } from "./held.ts";
import type { Slot } from "./slot.ts";

/** Milliseconds after which jobs behind a running one are recalled. */
const RECALL_MS = 50;
/**
 * How long before a hard limit a slot of many jobs is checked, milliseconds: about the time that a
 * replacement needs to start.
 */
const NEAR_MS = 700;

/** Actions for limits that have passed. Each is called once per job. */
export interface LimitActions {
  onSoft(held: Held): void;
  /** The hard limit of a job in a concurrent slot is near. */
  onNear(): void;
  onHard(held: Held): void;
  /** The jobs behind the running job are to run in other slots. */
  onRecall(): void;
}

/**
 * Returns when to check a slot next, monotonic milliseconds; Infinity: never. Per batch. Jobs without a limit
 * and with no job behind them cost nothing.
 */
export function nextCheckMs(slot: Slot): number {
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
 * Enforces the limits that have passed and returns when to check again. Limits apply only to jobs that run,
 * according to the slot's journal.
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
  // Nothing is due according to the slot's reports, so the journal need not be read.
  const earliestMs = nextCheckMs(slot);
  if (earliestMs > nowMs) return earliestMs;
  const running = slot.running();
  if (running === null) return Infinity;
  const nextMs = enforceOne(running, slot.beganMs, nowMs, actions);
  const recallMs = recallAtMs(slot, running);
  if (recallMs > nowMs) return Math.min(nextMs, recallMs);
  slot.recalledBehind = running.job.seq;
  // It is not a short frame after all: send nothing behind it again.
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
