/**
 * The kinds of values that settings may have: which values are accepted, how an error describes the kind, and
 * how a text of a command line is parsed.
 *
 * Source: the types of celery 5.2.6 app/defaults.py Option.typemap.
 */

import { booleanOf, isOptions, trimmedUrl } from "../../base/mod.ts";
import { canCompress, isTimeZone, shownJson } from "../../wire/mod.ts";

/** Returned by `accept` and `parse` for a value that is not of the kind. */
export const REFUSED: unique symbol = Symbol("refused");

/** A kind with its default: one row of the table. */
export interface Setting<T> {
  /** Completes "must be …". */
  readonly expected: string;
  readonly defaultValue: T;
  /** Returns the value to keep, or `REFUSED`. */
  accept(value: unknown): T | typeof REFUSED;
  /** Returns the value that a text of a command line stands for, or `REFUSED`. */
  parse(text: string): unknown;
}

/** One row for each member of a settings interface. */
export type SettingTable<S> = { readonly [K in keyof S]: Setting<S[K]> };

const NULL_WORDS = new Set(["none", "null", ""]);

function setting<T>(
  expected: string,
  defaultValue: T,
  accept: (value: unknown) => T | typeof REFUSED,
  parse: (text: string) => unknown,
): Setting<T> {
  return { expected, defaultValue, accept, parse };
}

/** The same kind, or null. */
export function orNull<T>(kind: Setting<T>, defaultValue: T | null = null): Setting<T | null> {
  return setting<T | null>(
    `${kind.expected} or null`,
    defaultValue,
    (value) => value === null || value === undefined ? null : kind.accept(value),
    (text) => NULL_WORDS.has(text.toLowerCase()) ? null : kind.parse(text),
  );
}

/** True or false. */
export function flag(defaultValue: boolean): Setting<boolean> {
  return setting(
    "true or false",
    defaultValue,
    (value) => typeof value === "boolean" ? value : value === 0 ? false : value === 1 ? true : REFUSED,
    (text) => booleanOf(text) ?? REFUSED,
  );
}

function numeric(text: string): unknown {
  return text.trim() === "" || Number.isNaN(Number(text)) ? REFUSED : Number(text);
}

/** A number that is not negative, fractions allowed. `unit` is a plural such as "seconds". */
export function amount(defaultValue: number, unit: string): Setting<number> {
  return setting(
    `a number of ${unit}`,
    defaultValue,
    (value) => typeof value === "number" && value >= 0 ? value : REFUSED,
    numeric,
  );
}

/** Maximum seconds of a setting: 317 years. A broker cannot keep a longer time. */
const SECONDS_MAX = 1e10;

/** A number of seconds, at least `least`. */
export function seconds(defaultValue: number, least: number = 0): Setting<number> {
  return setting(
    least === 0 ? "a number of seconds" : `a number of seconds, at least ${least}`,
    defaultValue,
    (value) => typeof value === "number" && value >= least && value <= SECONDS_MAX ? value : REFUSED,
    numeric,
  );
}

/** The name of a compressor that is available; "" means none. */
export function compressor(): Setting<string> {
  return setting(
    "gzip, zlib, brotli or zstd",
    "",
    (value) => typeof value === "string" && (value === "" || canCompress(value)) ? value : REFUSED,
    (given) => given,
  );
}

/** A whole number, at least `least` and, if `most` is given, at most that. */
export function count(defaultValue: number, least: number = 0, most: number = Infinity): Setting<number> {
  const isOne = (value: unknown) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
  return setting(
    most === Infinity ? `a whole number, at least ${least}` : `a whole number from ${least} to ${most}`,
    defaultValue,
    (value) => isOne(value) ? value as number : REFUSED,
    numeric,
  );
}

/** Text. */
export function text(defaultValue: string): Setting<string> {
  return setting(
    "text",
    defaultValue,
    (value) => typeof value === "string" ? value : REFUSED,
    (given) => given,
  );
}

/** How often a task may start: Celery's text, or a number a second; 0 and "" mean no limit. */
export function rate(): Setting<string | number> {
  return shaped<string | number>(
    'a rate such as "10/m"',
    0,
    (value) => typeof value === "number" ? value >= 0 : typeof value === "string" && RATE.test(value),
  );
}

const RATE = /^(?:\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*(?:\/[smh]?)?)?$/;

/** The name of a time zone, or null; "" is null, as in Celery. */
export function timeZone(): Setting<string | null> {
  return setting<string | null>(
    'a time zone such as "Europe/Prague" or null',
    null,
    (value) => {
      if (value === null || value === undefined || value === "") return null;
      return typeof value === "string" && isTimeZone(value) ? value : REFUSED;
    },
    (given) => NULL_WORDS.has(given.toLowerCase()) ? null : given,
  );
}

/** One of some words or numbers. */
export function choice<T extends string | number>(defaultValue: T, choices: readonly T[]): Setting<T> {
  const shown = choices.map((one) => shownJson(one));
  return setting(
    shown.length === 1 ? shown[0]! : `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}`,
    defaultValue,
    (value) => choices.includes(value as T) ? value as T : REFUSED,
    (given) => typeof choices[0] === "number" ? numeric(given) : given,
  );
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A text that is not JSON is a normal case: the caller reports what was expected.
    return REFUSED;
  }
}

/**
 * A list of strings; a single string stands for a list of one. On a command line: separated by commas, or
 * JSON.
 */
export function names(defaultValue: readonly string[]): Setting<readonly string[]> {
  return setting<readonly string[]>(
    "a list of strings",
    defaultValue,
    (value) => {
      if (typeof value === "string") return [value];
      if (value instanceof Set) value = [...value];
      return Array.isArray(value) && value.every((one) => typeof one === "string")
        ? value as string[]
        : REFUSED;
    },
    (given) =>
      given.trimStart().startsWith("[")
        ? parsedJson(given)
        : given.split(",").map((one) => one.trim()).filter(Boolean),
  );
}

/** An object of options. On a command line: JSON. */
export function options(): Setting<Record<string, unknown>> {
  return setting<Record<string, unknown>>(
    "an object",
    {},
    (value) => isOptions(value) ? value : REFUSED,
    parsedJson,
  );
}

/** A URL, several joined by `;`, or a list of them. */
export function urls(): Setting<string | readonly string[]> {
  return setting<string | readonly string[]>(
    "a URL or a list of URLs",
    "",
    (value) => {
      if (typeof value === "string") return trimmedUrl(value);
      const isList = Array.isArray(value) && value.every((one) => typeof one === "string");
      return isList ? (value as string[]).map(trimmedUrl) : REFUSED;
    },
    (given) => given,
  );
}

/** One URL. */
export function url(defaultValue: string): Setting<string> {
  return {
    ...text(defaultValue),
    accept: (value) => typeof value === "string" ? trimmedUrl(value) : REFUSED,
  };
}

/** True or false, or an object of TLS options. */
export function tls(defaultValue: boolean): Setting<boolean | Record<string, unknown>> {
  return setting<boolean | Record<string, unknown>>(
    "true, false or an object of TLS options",
    defaultValue,
    (value) => typeof value === "boolean" || isOptions(value) ? value : REFUSED,
    (given) => {
      const word = flag(false).parse(given);
      return word === REFUSED ? parsedJson(given) : word;
    },
  );
}

/** A custom kind: any value for which `holds` returns true. On a command line: JSON, else the text itself. */
export function shaped<T>(expected: string, defaultValue: T, holds: (value: unknown) => boolean): Setting<T> {
  return setting<T>(
    expected,
    defaultValue,
    (value) => holds(value) ? value as T : REFUSED,
    (given) => {
      const parsed = parsedJson(given);
      return parsed === REFUSED ? given : parsed;
    },
  );
}

/** A user, group or umask: a name or a number. */
export const idOrName: Setting<string | number> = shaped<string | number>(
  "a name or number",
  "",
  (value) => typeof value === "string" || Number.isInteger(value),
);
