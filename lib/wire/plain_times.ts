/**
 * Dates and times of day without a zone (Temporal), and time zones, also for runtimes without Temporal such
 * as Node 20. There a date or a time of day is read as its text, and zones come from Intl.
 */

const HAS_TEMPORAL = typeof Temporal !== "undefined";

/** Returns true for a date without a time. */
export function isPlainDate(value: unknown): value is Temporal.PlainDate {
  return HAS_TEMPORAL && value instanceof Temporal.PlainDate;
}

/** Returns true for a time of day. */
export function isPlainTime(value: unknown): value is Temporal.PlainTime {
  return HAS_TEMPORAL && value instanceof Temporal.PlainTime;
}

/**
 * Reads a date such as "2026-11-30"; without Temporal, returns the text itself. Throws RangeError if it is
 * invalid.
 */
export function plainDate(text: string): Temporal.PlainDate | string {
  if (HAS_TEMPORAL) return Temporal.PlainDate.from(text);
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) throw new RangeError("not a date");
  return text;
}

/**
 * Reads a time such as "12:30:00"; without Temporal, returns the text itself. Throws RangeError if it is
 * invalid.
 */
export function plainTime(text: string): Temporal.PlainTime | string {
  if (HAS_TEMPORAL) return Temporal.PlainTime.from(text);
  if (!/^\d\d:\d\d(:\d\d(\.\d+)?)?$/.test(text)) throw new RangeError("not a time of day");
  return text;
}

/**
 * Returns how far the local time of an IANA zone is ahead of UTC at a moment, in milliseconds. Throws
 * RangeError for an unknown zone.
 */
export function zoneOffsetMs(ms: number, timeZone: string): number {
  const whole = Math.floor(ms);
  if (HAS_TEMPORAL) {
    return Temporal.Instant.fromEpochMilliseconds(whole).toZonedDateTimeISO(timeZone).offsetNanoseconds / 1e6;
  }
  const part: Record<string, number> = {};
  for (const { type, value } of formatOf(timeZone).formatToParts(whole)) part[type] = Number(value);
  const { year, month, day, hour, minute, second } = part;
  const second0 = Math.floor(whole / 1000) * 1000;
  return Date.UTC(year!, month! - 1, day, hour, minute, second) - second0;
}

/**
 * Returns the moment, in milliseconds, at which clocks in a zone show the time that `localMs` is in UTC. A
 * time that a change of clocks skips is moved on by the change; if a time occurs twice, the first is
 * returned.
 */
export function fromLocalMs(localMs: number, timeZone: string): number {
  const before = zoneOffsetMs(localMs - 86_400_000, timeZone);
  const after = zoneOffsetMs(localMs + 86_400_000, timeZone);
  const first = localMs - before;
  if (before === after || zoneOffsetMs(first, timeZone) === before) return first;
  const second = localMs - after;
  return zoneOffsetMs(second, timeZone) === after ? second : first;
}

/** Returns an offset such as "+01:00". Historic offsets may have seconds too. */
export function offsetText(ms: number): string {
  const seconds = Math.abs(ms) / 1000;
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (seconds % 60 !== 0) parts.push(seconds % 60);
  return (ms < 0 ? "-" : "+") + parts.map((part) => String(part).padStart(2, "0")).join(":");
}

let format: { timeZone: string; made: Intl.DateTimeFormat } | null = null;

function formatOf(timeZone: string): Intl.DateTimeFormat {
  if (format?.timeZone !== timeZone) {
    const made = new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    format = { timeZone, made };
  }
  return format!.made;
}
