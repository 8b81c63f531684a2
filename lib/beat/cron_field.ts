/**
 * One field of a crontab, in Celery's grammar.
 *
 *   field := part ("," part)*
 *   part  := "*" | "*" "/" step | value | value "-" value | value "-" value "/" step
 *
 * A value is a number, or the first three letters of a month or weekday. Ranges may wrap ("sat-mon", "22-2").
 * There is no "a/n", "L", "W", "#" or "?", and Sunday is only 0.
 *
 * Source: celery 5.2.6 schedules.py crontab_parser, crontab._expand_cronspec; month names since 5.3;
 * protocol.md 9.5.
 */

import type { CrontabField } from "../app/mod.ts";
import { UsageError } from "../base/mod.ts";
import { shownJson } from "../wire/mod.ts";

/** The name and range of a field. */
export interface FieldKind {
  /** Celery's name of the field. */
  readonly name: string;
  readonly min: number;
  readonly max: number;
}

/** The five fields, in cron's order. */
export const FIELDS = {
  minute: { name: "minute", min: 0, max: 59 },
  hour: { name: "hour", min: 0, max: 23 },
  dayOfMonth: { name: "day_of_month", min: 1, max: 31 },
  monthOfYear: { name: "month_of_year", min: 1, max: 12 },
  dayOfWeek: { name: "day_of_week", min: 0, max: 6 },
} as const satisfies Record<string, FieldKind>;

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/** Returns the values of a field, ascending, each once. Throws UsageError with field, text and reason. */
export function expandField(field: CrontabField, kind: FieldKind): number[] {
  const values = new Set<number>();
  if (typeof field === "string") {
    for (const part of field.split(",")) {
      for (const value of expandPart(part.trim(), field, kind)) values.add(value);
    }
  } else {
    for (const value of typeof field === "number" ? [field] : listOf(field, kind)) {
      values.add(checked(value, field, kind));
    }
  }
  if (values.size === 0) throw wrong(kind, field, "it has no values");
  return [...values].sort((a, b) => a - b);
}

function listOf(field: unknown, kind: FieldKind): number[] {
  const list = field instanceof Set || Array.isArray(field) ? [...field] : null;
  if (list === null) throw wrong(kind, field, "it must be a number, a string or a list of numbers");
  return list as number[];
}

function checked(value: unknown, field: unknown, kind: FieldKind): number {
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw wrong(kind, field, `${shownJson(value)} is not a whole number`);
  }
  if (value < kind.min || value > kind.max) {
    throw wrong(kind, field, `${value} is not within ${kind.min}-${kind.max}`);
  }
  return value;
}

function expandPart(part: string, field: string, kind: FieldKind): number[] {
  if (part === "") throw wrong(kind, field, "a part between commas is empty");
  const [range, step, ...rest] = part.split("/") as [string, ...string[]];
  if (rest.length > 0) throw wrong(kind, field, `"${part}" has two steps`);
  let all: number[];
  const bounds = /^([^-]+)-([^-]+)$/.exec(range);
  if (range === "*") all = span(kind.min, kind.max);
  else if (bounds) {
    const from = valueOf(bounds[1]!, field, kind);
    const to = valueOf(bounds[2]!, field, kind);
    all = from <= to ? span(from, to) : [...span(from, kind.max), ...span(kind.min, to)];
  } else if (step !== undefined) {
    throw wrong(kind, field, `"${part}" steps through no range: write "*/${step}" or "a-b/${step}"`);
  } else all = [valueOf(range, field, kind)];
  if (step === undefined) return all;
  if (!/^\d+$/.test(step) || Number(step) < 1) {
    throw wrong(kind, field, `"${step}" is not a step (a whole number from 1)`);
  }
  return all.filter((_, at) => at % Number(step) === 0);
}

function valueOf(text: string, field: string, kind: FieldKind): number {
  if (/^-\d/.test(text)) throw wrong(kind, field, "values must not be negative");
  if (/^\d+$/.test(text)) return checked(Number(text), field, kind);
  const short = text.slice(0, 3).toLowerCase();
  // As in Celery, each field takes the name of any month or weekday whose number is in its range.
  const month = MONTHS.indexOf(short) + 1;
  if (month > 0) return checked(month, field, kind);
  const weekday = WEEKDAYS.indexOf(short);
  if (weekday >= 0) return checked(weekday, field, kind);
  throw wrong(kind, field, `"${text}" is neither a number nor the name of a month or a weekday`);
}

function span(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}

function wrong(kind: FieldKind, field: unknown, reason: string): UsageError {
  return new UsageError(`Cannot read ${kind.name} ${shownJson(field)} of a crontab: ${reason}`);
}
