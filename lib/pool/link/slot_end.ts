/**
 * What is said of a slot that ended and of the job it had.
 *
 * The texts are Celery's. `summary` of such an outcome is what the worker makes the exception from: the
 * whole message for "lost", the limit in seconds for "timeout", the signal's name for "terminated".
 *
 * Source: billiard 3.6 pool.py (WorkerLostError's text, human_status), protocol.md 10.2 and 10.8.
 */

import { bareOutcome, type Outcome } from "../../app/mod.ts";
import { errorText, nodeOs } from "../../base/mod.ts";
import { strictRepr } from "../../wire/mod.ts";
import type { SlotEnd } from "./link.ts";
import type { Job } from "../pool.ts";

/** "signal 9 (SIGKILL)" or "exitcode 3". */
export function endText(end: SlotEnd): string {
  if (end.signal === null) return `exitcode ${end.code}`;
  const number = (nodeOs().constants.signals as Record<string, number | undefined>)[end.signal] ?? end.code;
  return `signal ${number} (${end.signal})`;
}

/** The slot died under the job. */
export function lostOutcome(job: Pick<Job, "seq">, end: SlotEnd): Outcome {
  const text = `Worker exited prematurely: ${endText(end)} Job: ${job.seq}.`;
  return bareOutcome(job.seq, "lost", text, `WorkerLostError('${text}')`);
}

/** The job has ended in a way that cannot be told: nobody is to wait for it. */
export function untoldOutcome(job: Pick<Job, "seq">, error: unknown): Outcome {
  const text = `Cannot tell the outcome of the task: ${errorText(error)}`;
  return bareOutcome(job.seq, "lost", text, `WorkerLostError(${strictRepr(text)})`);
}

/** The job's hard limit passed. */
export function hardLimitOutcome(job: Job): Outcome {
  const limit = String(job.timeLimit ?? 0);
  return bareOutcome(job.seq, "timeout", limit, `TimeLimitExceeded(${limit})`);
}

/** The job was ended on request. */
export function terminatedOutcome(job: Job, signal: string): Outcome {
  return bareOutcome(job.seq, "terminated", signal, "Terminated()");
}

/** The job never began: the worker has it again. */
export function returnedOutcome(job: Job): Outcome {
  return bareOutcome(job.seq, "returned");
}
