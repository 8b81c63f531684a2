/** When an entry is due: what crontab, interval and solar all are. */

/** A schedule that can be asked. All times are epoch milliseconds, whole. */
export interface Timing {
  /** How an entry of this schedule catches up: a crontab has `beat_cron_starting_deadline`. */
  readonly kind: "crontab" | "interval" | "solar";
  /** The first moment after `lastMs`, the time of the last run, at which it is due; null: never again. */
  next(lastMs: number): number | null;
  /**
   * The last moment not after `nowMs` at which it was due, given that `next(lastMs)` is not after `nowMs`.
   */
  latest(lastMs: number, nowMs: number): number;
  /** The time to count the next run from, after a run for `slotMs` that was late by one run or more. */
  resume(slotMs: number, nowMs: number): number;
  /** As Celery prints it: "<freq: 30.00 seconds>". */
  readonly repr: string;
}

/**
 * The last of a schedule's moments that is not after `nowMs`. It is sought backwards in windows that
 * double, from `grainMs` on, so that neither a year of minutes nor a yearly entry takes long.
 */
export function latestByNext(timing: Timing, lastMs: number, nowMs: number, grainMs: number): number {
  let found: number | null = null;
  for (let window = grainMs; found === null; window *= 2) {
    const from = Math.max(lastMs, nowMs - window);
    const first = timing.next(from);
    if (first !== null && first <= nowMs) found = first;
    else if (from === lastMs) return lastMs;
  }
  for (;;) {
    const after = timing.next(found);
    if (after === null || after > nowMs) return found;
    found = after;
  }
}
