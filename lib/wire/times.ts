/**
 * Times as Celery writes and reads them: ISO 8601 with microseconds, or without a fraction if they are zero.
 *
 * Source: celery 5.2.6 utils/iso8601.py parse_iso8601, utils/time.py maybe_iso8601; Python
 * datetime.isoformat.
 */

import { quoted } from "../base/mod.ts";
import { DecodeError } from "./errors.ts";
import { fromLocalMs, offsetText, zoneOffsetMs } from "./plain_times.ts";

/**
 * Reads ISO 8601 text. Returns milliseconds since the epoch, with microseconds as a fraction. Lenient:
 * accepts "Z", "+00:00", "+0000", "+00", no offset, no seconds, no fraction, no time at all, a blank instead
 * of "T", no dashes and colons. Text without an offset is UTC; with `assumeUtc: false` it is local time in
 * `timeZone` (IANA name; default UTC). Throws DecodeError with a text of one line.
 */
export function parseIso(text: string, options: { assumeUtc?: boolean; timeZone?: string } = {}): number {
  const ms = isoMs(text);
  if (Number.isNaN(ms)) {
    throw new DecodeError(`Cannot read time ${quoted(text.slice(0, 100))}: not ISO 8601`);
  }
  const zone = options.assumeUtc === false ? options.timeZone ?? "UTC" : "UTC";
  if (zone === "UTC" || hasOffset(text)) return ms;
  const whole = Math.floor(ms);
  return fromLocalMs(whole, zone) + (ms - whole);
}

/** Returns true if ISO 8601 text has an offset from UTC. */
export function hasOffset(text: string): boolean {
  return /(?:[zZ]|[T ]\d\d:?\d\d.*[+-]\d\d(?::?\d\d){0,2})$/.test(text);
}

/**
 * Returns milliseconds since the epoch as Python's `isoformat()` of that time in UTC: six digits of
 * microseconds, or no fraction if they are zero. `offset` is appended, default "+00:00"; null gives the naive
 * form.
 */
export function toPythonIso(ms: number, options: { offset?: "+00:00" | null } = {}): string {
  const offset = options.offset === undefined ? "+00:00" : options.offset;
  let second = Math.floor(ms / 1000);
  let micros = Math.round((ms - second * 1000) * 1000);
  if (micros === 1_000_000) {
    second++;
    micros = 0;
  }
  // Many stamps in a row have the same second, so its text is cached (0.1 µs instead of 0.5).
  if (second !== cachedSecond) {
    cachedText = new Date(second * 1000).toISOString().slice(0, -5);
    cachedSecond = second;
  }
  const fraction = micros === 0 ? "" : "." + String(micros).padStart(6, "0");
  return cachedText + fraction + (offset ?? "");
}

let cachedSecond = NaN;
let cachedText = "";

/**
 * Like `toPythonIso`, in a time zone (IANA name): local time with its offset, such as `+01:00`. Celery writes
 * `date_done` and the times of beat in the app's zone.
 */
export function toPythonIsoIn(ms: number, timeZone: string): string {
  if (timeZone === "UTC") return toPythonIso(ms);
  const aheadMs = zoneOffsetMs(ms, timeZone);
  return toPythonIso(ms + aheadMs, { offset: null }) + offsetText(aheadMs);
}

/** Returns true for the name of a known time zone, or an offset such as "+02:00". */
export function isTimeZone(name: string): boolean {
  try {
    zoneOffsetMs(0, name);
    return true;
  } catch {
    // A RangeError means an unknown zone.
    return false;
  }
}

/** The first and the last millisecond that Python's datetime can represent: the years 1 to 9999. */
const PYTHON_FIRST_MS = -62_135_596_800_000;
const PYTHON_LAST_MS = 253_402_300_799_999;

/**
 * Returns true for a time, in milliseconds since the epoch, that Python's datetime can represent: in the
 * years 1 to 9999.
 */
export function isPythonTime(ms: number): boolean {
  return ms >= PYTHON_FIRST_MS && ms <= PYTHON_LAST_MS;
}

/** Returns why a Date cannot be written, such as "an invalid Date"; null if it can. */
export function dateFault(date: Date): string | null {
  if (Number.isNaN(date.getTime())) return "an invalid Date";
  return isPythonTime(date.getTime()) ? null : "a Date outside of the years 1 to 9999";
}

const ISO_TIME = new RegExp(
  /^(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?/.source +
    /\s*(Z|z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?$/.source,
);

/**
 * Returns ISO 8601 text as milliseconds since the epoch, with microseconds as a fraction; NaN if it is
 * invalid. Text without an offset is UTC.
 */
export function isoMs(text: string): number {
  const found = ISO_TIME.exec(text);
  if (!found) return NaN;
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone = "Z"] = found;
  const whole = Date.UTC(+year!, +month! - 1, +day!, +hour, +minute, +second);
  const check = new Date(whole);
  // Date.UTC turns 31 February into a day of March, and reads years below 100 as 19xx.
  if (
    check.getUTCDate() !== +day! || check.getUTCMonth() !== +month! - 1 || +hour > 23 || +minute > 59 ||
    +second > 59
  ) {
    return NaN;
  }
  if (+year! < 100) check.setUTCFullYear(+year!);
  const micros = fraction === "" ? 0 : Math.floor(+`0.${fraction}` * 1e6 + 1e-6);
  return check.getTime() + micros / 1000 - offsetMs(zone);
}

function offsetMs(zone: string): number {
  if (zone === "Z" || zone === "z") return 0;
  const digits = zone.slice(1).replaceAll(":", "").padEnd(6, "0");
  const size = +digits.slice(0, 2) * 3_600_000 + +digits.slice(2, 4) * 60_000 + +digits.slice(4, 6) * 1000;
  return zone[0] === "-" ? -size : size;
}
