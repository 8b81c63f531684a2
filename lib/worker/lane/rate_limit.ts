/**
 * Rate limits: how often this worker may start tasks of one type.
 *
 * Source: kombu 5.2.4 utils/limits.py TokenBucket; celery 5.2.6 utils/time.py rate,
 * worker/consumer/consumer.py _limit_task, _schedule_bucket_request.
 */

import { UsageError } from "../../base/mod.ts";

const PER_SECOND: Readonly<Record<string, number>> = { s: 1, m: 1 / 60, h: 1 / 3600 };

/**
 * Returns tasks a second from Celery's strings (`"10/m"`, `"0.5/s"`, `"2/h"`, `"10"`) or a number. 0 means no
 * limit (null, 0, empty text). Throws UsageError with Python's words for anything else.
 */
export function parseRate(rate: string | number | null): number {
  if (rate === null || rate === "" || rate === 0) return 0;
  if (typeof rate === "number") return rate;
  const slash = rate.indexOf("/");
  const count = slash < 0 ? rate : rate.slice(0, slash);
  const unit = slash < 0 ? "s" : rate.slice(slash + 1) || "s";
  const number = /^\s*[+-]?(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i.test(count) ? Number(count) : NaN;
  const factor = PER_SECOND[unit];
  if (factor === undefined) throw new UsageError(`Invalid rate limit string: KeyError('${unit}')`);
  if (Number.isNaN(number)) {
    throw new UsageError(
      `Invalid rate limit string: ValueError("could not convert string to float: '${count}'")`,
    );
  }
  return Math.max(0, number * factor);
}

/** A bucket that gets one token every `1 / perSecond` seconds and holds one at most. */
export class TokenBucket {
  readonly perSecond: number;
  /** True while a timer is armed that will look for the next token. */
  isArmed = false;
  #tokens = 1;
  #atMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.perSecond = perSecond;
    this.#atMs = nowMs;
  }

  /** Takes a token; returns false if there is none. */
  take(nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Returns the milliseconds until there is a token. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    return this.#tokens >= 1 ? 0 : (1 - this.#tokens) / this.perSecond * 1000;
  }

  #fill(nowMs: number): void {
    if (this.#tokens < 1) {
      // The tiny surplus prevents a timer that fires to the millisecond from finding 0.9999999 tokens.
      this.#tokens = Math.min(1, this.#tokens + (nowMs - this.#atMs) / 1000 * this.perSecond + 1e-9);
    }
    this.#atMs = nowMs;
  }
}
