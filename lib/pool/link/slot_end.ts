/**
 * Outcomes and texts for slots that ended and the jobs they had.
 *
 * The texts are Celery's. From `summary` of such an outcome the worker makes the exception: it is the whole
 * message for "lost", the limit in seconds for "timeout", the signal's name for "terminated".
 *
 * Source: billiard 3.6 pool.py (WorkerLostError's text, human_status), protocol.md 10.2 and 10.8.
 */

import { bareOutcome, type Outcome } from "../../app/mod.ts";
import { errorText, nodeOs } from "../../base/mod.ts";
import { strictRepr } from "../../wire/mod.ts";
import type { SlotEnd } from "./link.ts";
import type { Job } from "../pool.ts";

/** Returns "signal 9 (SIGKILL)" or "exitcode 3". */
export function endText(end: SlotEnd): string {
  if (end.signal === null) return `exitcode ${end.code}`;
  const number = (nodeOs().constants.signals as Record<string, number | undefined>)[end.signal] ?? end.code;
  return `signal ${number} (${end.signal})`;
}

/** The outcome of a job whose slot died. */
export function lostOutcome(job: Pick<Job, "seq">, end: SlotEnd): Outcome {
  const text = `Worker exited prematurely: ${endText(end)} Job: ${job.seq}.`;
  return bareOutcome(job.seq, "lost", text, `WorkerLostError('${text}')`);
}

/** The outcome of a job whose real outcome cannot be encoded, or whose runner failed. It ends as lost. */
export function unknownOutcome(job: Pick<Job, "seq">, error: unknown): Outcome {
  const text = `Cannot report the outcome of the task: ${errorText(error)}`;
  return bareOutcome(job.seq, "lost", text, `WorkerLostError(${strictRepr(text)})`);
}

/** The outcome of a job that reached its hard limit. */
export function hardLimitOutcome(job: Job): Outcome {
  const limit = String(job.timeLimit ?? 0);
  return bareOutcome(job.seq, "timeout", limit, `TimeLimitExceeded(${limit})`);
}

/** The outcome of a job that was ended on request. */
export function terminatedOutcome(job: Job, signal: string): Outcome {
  return bareOutcome(job.seq, "terminated", signal, "Terminated()");
}

/** The outcome of a job that has not begun and goes back to the worker. */
export function returnedOutcome(job: Job): Outcome {
  return bareOutcome(job.seq, "returned");
}
