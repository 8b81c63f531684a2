/**
 * The meaning of a crontab: which moments match, in a time zone, across changes of its clocks.
 *
 * All five fields must match, days of the month as well as days of the week. When clocks change:
 *
 * - hours that are named (`hour: 2`): each local time fires once. A time that occurs twice fires the first
 *   time; one that does not occur fires later by as much as the clocks went forward. Celery does the same.
 * - every hour (`hour: "*"`): the entry continues in real time. The repeated hour fires again, the missing
 *   hour does not. Celery sends nothing during the whole repeated hour.
 *
 * The search uses plain numbers, because it runs for each of 10,000 entries at every start: a calendar
 * library takes 0.1 ms or more for each, this about 0.5 µs. The tests compare it with Croner.
 *
 * Source: celery 5.2.6 schedules.py crontab; 5.6.3 where they differ; protocol.md 9.5.
 */

import type { CrontabField, CrontabSchedule } from "../app/mod.ts";
import { UsageError } from "../base/mod.ts";
import { pythonRepr } from "../wire/mod.ts";
import { expandField, type FieldKind, FIELDS } from "./cron_field.ts";
import { latestByNext, type Timing } from "./timing.ts";
import type { Zone } from "./zone.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** The 29th of February falls on a given weekday at least once in 40 years, across 2100 too. */
const DAYS_MAX = 41 * 366;
/**
 * How far around a change of clocks to search; more if clocks change by more (a whole day when the date line
 * moved).
 */
const CHANGE_MS = 3 * 3_600_000;

/** A crontab in a time zone. */
export class Crontab implements Timing {
  readonly kind = "crontab";
  readonly zone: Zone;
  /** For each number: the smallest value of the field that is not below it, or -1. */
  readonly #minute: Int8Array;
  readonly #hour: Int8Array;
  readonly #days: Uint8Array;
  readonly #months: Uint8Array;
  readonly #weekdays: Uint8Array;
  readonly #fields: CrontabSchedule;
  readonly #isEveryHour: boolean;
  readonly #isEveryDay: boolean;

  /** Throws UsageError if a field cannot be read, or if no day ever matches. */
  constructor(fields: CrontabSchedule, zone: Zone) {
    const { minute, hour, dayOfMonth, monthOfYear, dayOfWeek } = fields;
    this.zone = zone;
    this.#fields = fields;
    const inHour = tablesOf(minute, FIELDS.minute);
    const inDay = tablesOf(hour, FIELDS.hour);
    const days = tablesOf(dayOfMonth, FIELDS.dayOfMonth);
    const months = tablesOf(monthOfYear, FIELDS.monthOfYear);
    const weekdays = tablesOf(dayOfWeek, FIELDS.dayOfWeek);
    this.#minute = inHour.next;
    this.#hour = inDay.next;
    this.#days = days.has;
    this.#months = months.has;
    this.#weekdays = weekdays.has;
    this.#isEveryHour = inDay.isEvery;
    this.#isEveryDay = days.isEvery && months.isEvery && weekdays.isEvery;
    if (this.#nextWall(0) === null) {
      throw new UsageError(`The schedule ${this.repr} never runs: none of its months has such a day`);
    }
  }

  get repr(): string {
    const { minute, hour, dayOfMonth, monthOfYear, dayOfWeek } = this.#fields;
    return `<crontab: ${
      [minute, hour, dayOfMonth, monthOfYear, dayOfWeek].map(text).join(" ")
    } (m/h/dM/MY/d)>`;
  }

  next(lastMs: number): number | null {
    return this.#isEveryHour ? this.#nextInRealTime(lastMs) : this.#nextOnTheClock(lastMs);
  }

  latest(lastMs: number, nowMs: number): number {
    return latestByNext(this, lastMs, nowMs, 2 * MINUTE_MS);
  }

  resume(dueMs: number, _nowMs: number): number {
    return dueMs;
  }

  /**
   * Goes through spans of constant offset. A local time in a span fires, even if the span before had it too.
   */
  #nextInRealTime(lastMs: number): number | null {
    let span = this.zone.spanAt(lastMs);
    let wall = lastMs + span.offset;
    for (;;) {
      const next = this.#nextWall(wall);
      if (next === null) return null;
      const at = next - span.offset;
      if (at < span.end) return at;
      span = this.zone.spanAt(span.end);
      wall = span.start + span.offset - 1;
    }
  }

  #nextOnTheClock(lastMs: number): number | null {
    const { zone } = this;
    const span = zone.spanAt(lastMs);
    const wall = lastMs + span.offset;
    const change = span.start === -Infinity ? 0 : Math.abs(span.offset - zone.spanAt(span.start - 1).offset);
    if (lastMs - change >= span.start) {
      const next = this.#nextWall(wall);
      if (next === null) return null;
      if (next - span.offset < span.end) return next - span.offset;
    }
    // Near a change, a later local time may be an earlier moment: compare all within reach.
    const reach = Math.max(
      CHANGE_MS,
      change,
      span.end === Infinity ? 0 : Math.abs(span.offset - zone.spanAt(span.end).offset),
    );
    let best: number | null = null;
    for (let next = this.#nextWall(wall - reach); next !== null; next = this.#nextWall(next)) {
      const at = zone.instantOf(next);
      if (best !== null && at > best + reach) break;
      if (at > lastMs && (best === null || at < best)) best = at;
    }
    return best;
  }

  /** Returns the first matching local time after `wall`; null if there is none. */
  #nextWall(wall: number): number | null {
    let day = Math.floor(wall / DAY_MS);
    const minutes = Math.floor((wall - day * DAY_MS) / MINUTE_MS) + 1;
    if (minutes < 1440 && this.#isDay(day)) {
      const found = this.#inDay(Math.floor(minutes / 60), minutes % 60);
      if (found >= 0) return day * DAY_MS + found * MINUTE_MS;
    }
    for (let left = DAYS_MAX; left > 0; left--) {
      if (this.#isDay(++day)) return day * DAY_MS + this.#inDay(0, 0) * MINUTE_MS;
    }
    return null;
  }

  /** Returns minutes since midnight of the first match at or after an hour and minute; -1: none that day. */
  #inDay(fromHour: number, fromMinute: number): number {
    const hour = this.#hour[fromHour]!;
    if (hour < 0) return -1;
    const minute = hour === fromHour ? this.#minute[fromMinute]! : this.#minute[0]!;
    if (minute >= 0) return hour * 60 + minute;
    const later = fromHour < 23 ? this.#hour[fromHour + 1]! : -1;
    return later < 0 ? -1 : later * 60 + this.#minute[0]!;
  }

  #isDay(day: number): boolean {
    if (this.#isEveryDay) return true;
    // 1970-01-01 was a Thursday.
    if (this.#weekdays[(((day + 4) % 7) + 7) % 7] === 0) return false;
    const { month, dayOfMonth } = civil(day);
    return this.#months[month] === 1 && this.#days[dayOfMonth] === 1;
  }
}

/**
 * Returns month and day of the month of a day counted from 1970-01-01. Source: Howard Hinnant,
 * chrono-compatible low-level date algorithms.
 */
function civil(day: number): { month: number; dayOfMonth: number } {
  const shifted = day + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  return {
    month: fromMarch < 10 ? fromMarch + 3 : fromMarch - 9,
    dayOfMonth: dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1,
  };
}

/**
 * A field as lookup tables. Crontabs with equal fields share them, since there may be ten thousand crontabs.
 */
interface FieldTables {
  /** For each number: the smallest value of the field that is not below it, or -1. */
  readonly next: Int8Array;
  /** For each number: 1 if the field has it. */
  readonly has: Uint8Array;
  readonly isEvery: boolean;
}

const known = new Map<string, FieldTables>();
const KNOWN_MAX = 5000;

function tablesOf(field: CrontabField, kind: FieldKind): FieldTables {
  const key = typeof field === "object" ? null : `${kind.name} ${typeof field} ${field}`;
  const found = key === null ? undefined : known.get(key);
  if (found) return found;
  const values = expandField(field, kind);
  const next = new Int8Array(kind.max + 1);
  const has = new Uint8Array(kind.max + 1);
  for (let at = 0; at <= kind.max; at++) next[at] = values.find((value) => value >= at) ?? -1;
  for (const value of values) has[value] = 1;
  const made: FieldTables = { next, has, isEvery: values.length === kind.max - kind.min + 1 };
  if (key !== null) {
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(key, made);
  }
  return made;
}

function text(field: CrontabField): string {
  if (field instanceof Set) return `{${[...field].join(", ")}}`;
  return typeof field === "object" ? pythonRepr([...field]) : String(field);
}
