/**
 * Intervals: every so many seconds since the last run, or (`relative`) when the clock's unit turns.
 *
 * The rhythm is kept: the next run counts from when the last one was due, not from when it was sent. Only
 * after a whole run was missed does the interval start again from now, as Celery's does after every run.
 *
 * Source: celery 5.2.6 schedules.py schedule, utils/time.py remaining, delta_resolution; protocol.md 9.6.
 */

import { humanizeSeconds, UsageError } from "../base/mod.ts";
import type { Timing } from "./timing.ts";
import type { Zone } from "./zone.ts";

/** Units that a relative interval is rounded down to, milliseconds. */
const UNITS = [86_400_000, 3_600_000, 60_000];

const COUNT = "(\\d+(?:[.,]\\d+)?)";
/** Weeks alone, or days and a time; not empty. */
const DURATION = new RegExp(
  `^P(?=.)(?:${COUNT}W|(?:${COUNT}D)?(?:T(?=.)(?:${COUNT}H)?(?:${COUNT}M)?(?:${COUNT}S)?)?)$`,
  "i",
);

/** The longest interval; the runtime's dates reach about a hundred times further. */
const SECONDS_MAX = 1e10;

/** An interval. */
export class Interval implements Timing {
  readonly kind = "interval";
  readonly everyMs: number;
  readonly #unit: number | null;
  readonly #zone: Zone;

  /** `seconds` from 0.001 to 10 billion (317 years). Throws UsageError for others. */
  constructor(seconds: number, relative: boolean, zone: Zone) {
    if (!Number.isFinite(seconds) || seconds < 0.001) {
      throw new UsageError(`Cannot schedule every ${seconds} seconds: the shortest interval is 0.001`);
    }
    if (seconds > SECONDS_MAX) {
      throw new UsageError(
        `Cannot schedule every ${seconds} seconds: the longest interval is ${SECONDS_MAX}`,
      );
    }
    this.everyMs = seconds * 1000;
    this.#unit = relative ? UNITS.find((unit) => this.everyMs >= unit) ?? 1000 : null;
    this.#zone = zone;
  }

  get repr(): string {
    return `<freq: ${humanizeSeconds(this.everyMs / 1000)}>`;
  }

  next(lastMs: number): number {
    const end = lastMs + this.everyMs;
    if (this.#unit === null) return Math.round(end);
    if (this.#unit === 1000) return Math.floor(end / 1000) * 1000;
    const wall = this.#zone.wallOf(end);
    const rounded = this.#zone.instantOf(Math.floor(wall / this.#unit) * this.#unit);
    // If the clocks went back within the unit, the first of two equal times may lie before the last run.
    return rounded > lastMs ? rounded : Math.round(end);
  }

  latest(lastMs: number, nowMs: number): number {
    const first = this.next(lastMs);
    return first + Math.floor(Math.floor((nowMs - first) / this.everyMs) * this.everyMs);
  }

  resume(_dueMs: number, nowMs: number): number {
    return nowMs;
  }
}

/**
 * Returns the seconds of an ISO 8601 duration: "PT30S", "PT1H30M", "P1DT12H", "P2W". Throws UsageError for
 * years and months, whose length varies, and for anything else.
 */
export function isoDurationSeconds(text: string): number {
  const read = DURATION.exec(text.trim());
  if (!read) {
    throw new UsageError(
      `Cannot read duration "${text}": ISO 8601 in weeks, days, hours, minutes and seconds is expected, ` +
        'e.g. "PT1H30M"',
    );
  }
  const [weeks, days, hours, minutes, seconds] = read.slice(1).map((part) =>
    part === undefined ? 0 : Number(part.replace(",", "."))
  ) as [number, number, number, number, number];
  return weeks * 604_800 + days * 86_400 + hours * 3600 + minutes * 60 + seconds;
}
