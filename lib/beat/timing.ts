/** When an entry is due: the interface of crontab, interval and solar event. */

/** A schedule. All times are epoch milliseconds, whole. */
export interface Timing {
  /** The kind decides how an entry catches up: `beat_cron_starting_deadline` applies to crontabs. */
  readonly kind: "crontab" | "interval" | "solar";
  /** Returns the first due time after `lastMs`, the time of the last run; null: never again. */
  next(lastMs: number): number | null;
  /** Returns the last due time that is not after `nowMs`. `next(lastMs)` must not be after `nowMs`. */
  latest(lastMs: number, nowMs: number): number;
  /**
   * Returns the time from which to count the next run, after a run due at `dueMs` that was late by one run or
   * more.
   */
  resume(dueMs: number, nowMs: number): number;
  /** The schedule as Celery prints it: "<freq: 30.00 seconds>". */
  readonly repr: string;
}

/**
 * Returns the last due time of a schedule that is not after `nowMs`. It searches backwards in windows that
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
