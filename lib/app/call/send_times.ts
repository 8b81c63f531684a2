/**
 * The times and limits of a call: read, checked and written for its message. Values that no worker could read
 * are refused here, so that the caller gets the error.
 *
 * Source: celery 5.2.6 app/amqp.py as_task_v2, _verify_seconds; Python's datetime (years 1 to 9999).
 */

import { quoted, UsageError } from "../../base/mod.ts";
import { isPythonTime, parseIso, toPythonIso } from "../../wire/mod.ts";
import { checkPriority, type SendOptions } from "./send_options.ts";

/** An expiry in the forms that a message carries. */
export interface Expiry {
  /** ISO 8601 text for the header. */
  readonly text: string;
  /** Milliseconds until the expiry, at least 0, as text for the broker. */
  readonly expiration: string;
  /** Seconds since the expiry; positive if it has passed. */
  readonly pastSeconds: number;
}

/**
 * Returns the time before which a call does not run, as text; null: at once. A countdown of 0 means none.
 * Throws UsageError for a value that is not a time, or that no worker can read.
 */
export function etaText(options: SendOptions, name: string, nowMs: number): string | null {
  const { countdown, eta } = options;
  if (countdown !== undefined && countdown !== null && countdown !== 0) {
    return toPythonIso(momentOf(countdown, { what: "countdown", name, nowMs }));
  }
  if (eta === undefined || eta === null || eta === "") return null;
  if (typeof eta === "number") throw refused(name, "eta", eta, "must be a Date or ISO 8601 text");
  const atMs = momentOf(eta, { what: "eta", name, nowMs });
  return typeof eta === "string" ? eta : toPythonIso(atMs);
}

/** Returns the expiry of a call; null: never. Throws like `etaText`. */
export function expiryOf(expires: SendOptions["expires"], name: string, nowMs: number): Expiry | null {
  if (expires === undefined || expires === null || expires === "") return null;
  const atMs = momentOf(expires, { what: "expires", name, nowMs });
  return {
    text: typeof expires === "string" ? expires : toPythonIso(atMs),
    expiration: String(Math.trunc(Math.max(0, atMs - nowMs))),
    pastSeconds: (nowMs - atMs) / 1000,
  };
}

/** Throws UsageError for times, limits or a priority that cannot be sent. */
export function checkSendOptions(name: string, options: SendOptions): void {
  etaText(options, name, 0);
  expiryOf(options.expires, name, 0);
  checkLimits(name, options.timeLimit ?? null, options.softTimeLimit ?? null);
  checkPriority(name, options.priority);
}

/** Throws UsageError for time limits that a worker would refuse. */
export function checkLimits(name: string, timeLimit: number | null, softTimeLimit: number | null): void {
  if (timeLimit !== null && !isLimit(timeLimit)) {
    throw refused(name, "timeLimit", timeLimit, "must be a number of seconds, 0 or more");
  }
  if (softTimeLimit !== null && !isLimit(softTimeLimit)) {
    throw refused(name, "softTimeLimit", softTimeLimit, "must be a number of seconds, 0 or more");
  }
  if (softTimeLimit !== null && timeLimit !== null && softTimeLimit > timeLimit) {
    throw new UsageError(
      `Cannot send task "${name}": soft_time_limit ${softTimeLimit} must be less than or equal to ` +
        `time_limit ${timeLimit}`,
    );
  }
}

function isLimit(seconds: number): boolean {
  return typeof seconds === "number" && seconds >= 0 && seconds < Infinity;
}

/** Returns milliseconds since the epoch for seconds from now, a Date or ISO 8601 text. */
function momentOf(
  value: number | Date | string,
  about: { what: string; name: string; nowMs: number },
): number {
  const { what, name, nowMs } = about;
  let atMs: number;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw refused(name, what, value, "must be a number of seconds");
    atMs = nowMs + value * 1000;
  } else if (value instanceof Date) atMs = value.getTime();
  else if (typeof value === "string" && what !== "countdown") {
    try {
      atMs = parseIso(value);
    } catch {
      throw refused(name, what, value, `must be ISO 8601 text such as "2030-01-31T12:00:00+00:00"`);
    }
  } else atMs = NaN;
  if (Number.isNaN(atMs)) {
    const wanted = what === "countdown" ? "a number of seconds" : "seconds, a Date or ISO 8601 text";
    throw refused(name, what, value, `must be ${what === "eta" ? "a Date or ISO 8601 text" : wanted}`);
  }
  if (!isPythonTime(atMs)) {
    const hint = typeof value === "number"
      ? "it is counted in seconds from now, not in milliseconds or from 1970"
      : "years are 1 to 9999";
    throw refused(name, what, value, `is out of range: ${hint}`);
  }
  return atMs;
}

function refused(name: string, what: string, value: unknown, why: string): UsageError {
  const text = typeof value === "string"
    ? quoted(value.slice(0, 100))
    : value instanceof Date && !Number.isNaN(value.getTime())
    ? value.toISOString()
    : String(value).slice(0, 100);
  return new UsageError(`Cannot send task "${name}": ${what} ${text} ${why}`);
}
