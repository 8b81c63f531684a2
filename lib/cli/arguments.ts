/** Readers of option values, shared by commands. */

import { errorText, type Level, LEVELS, UsageError } from "../base/mod.ts";
import { DecodeError, fromExactJson, parseIso } from "../wire/mod.ts";

/** Maximum seconds in an option: about 31 years, so that neither timers nor dates overflow. */
const SECONDS_MAX = 1e9;
const INTERVAL_MIN = 0.01;

/** Why a value is invalid ("it must be a number"); reader.ts adds the option and the value. */
export class InvalidValue extends Error {
  override readonly name = "InvalidValue";
}

/** Reads a text that must not be empty: an empty text usually comes from an unset shell variable. */
export function filled(text: string): string {
  if (text.trim() === "") throw new InvalidValue("it is empty");
  return text;
}

/** Reads "a,b" as ["a", "b"]; a repeated option adds to the list. */
export function commaList(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), ...text.split(",").map((word) => word.trim()).filter((word) => word !== "")];
}

/** As `commaList`, but not empty: an unset shell variable must mean neither all nor none. */
export function someOf(noun: string): (text: string, before: string[] | undefined) => string[] {
  return (text, before) => {
    const words = commaList(text, before);
    if (words.length === 0) throw new InvalidValue(`it must name at least one ${noun}`);
    return words;
  };
}

/**
 * Settings from words `name=value`, as texts; `worker.name` is `worker_name`. Throws UsageError.
 * Source: celery 5.2.6 loaders/base.py cmdline_config_parser.
 */
export function settingsOf(words: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const word of words) {
    const at = word.indexOf("=");
    if (at <= 0) throw new UsageError(`Cannot read "${word}": settings are given as name=value`);
    settings[word.slice(0, at).replace(/^-+/, "").replaceAll(".", "_")] = word.slice(at + 1);
  }
  return settings;
}

/** A reader of one of several words; it also lists them. */
export interface OneOf<T extends string> {
  (text: string): T;
  readonly words: readonly T[];
}

/** Makes a reader of one of several words. */
export function oneOf<T extends string>(...words: readonly T[]): OneOf<T> {
  const read = (text: string): T => {
    const found = words.find((word) => word === text);
    if (found === undefined) throw new InvalidValue(`it must be one of ${words.join(", ")}`);
    return found;
  };
  return Object.assign(read, { words });
}

/** Makes a reader of a whole number from `min` to `max`. */
export function whole(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
      throw new InvalidValue(`it must be a whole number ${range}`);
    }
    return value;
  };
}

/**
 * Makes a reader of seconds (or another `unit`) from `min` to `max` (default: about 31 years); may be a
 * fraction.
 */
export function duration(
  min: number,
  max: number = SECONDS_MAX,
  unit = "seconds",
): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (!(value >= min && value <= max)) {
      throw new InvalidValue(`it must be a number of ${unit} from ${min} to ${max}`);
    }
    return value;
  };
}

/**
 * Reads the seconds between two rounds. 0 means the default; values that would keep a processor busy are
 * refused.
 */
export function interval(text: string): number {
  const value = duration(0)(text);
  if (value > 0 && value < INTERVAL_MIN) {
    throw new InvalidValue(`it must be 0 or at least ${INTERVAL_MIN} seconds`);
  }
  return value;
}

const levelName = oneOf(...Object.keys(LEVELS) as Level[]);

/** Reads the name of a log level, in any case. */
export const level: OneOf<Level> = Object.assign(
  (text: string) => levelName(text.toUpperCase() === "FATAL" ? "CRITICAL" : text.toUpperCase()),
  { words: levelName.words },
);

/** Reads upper bounds in ascending order; "+Inf" is implied and may be given. */
export function bounds(text: string): number[] {
  const found = commaList(text, undefined).filter((one) => !/^\+?inf$/i.test(one)).map(Number);
  if (found.length === 0 || found.some((one, n) => !(one > (found[n - 1] ?? 0)))) {
    throw new InvalidValue("it must be seconds in ascending order, such as 0.1,1,10");
  }
  return found;
}

/** Reads a time in ISO 8601. */
export function moment(text: string): string {
  try {
    parseIso(text);
    return text;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new InvalidValue("it must be an ISO 8601 time, such as 2030-01-31T12:00:00+00:00");
  }
}

/** Reads a time in ISO 8601, or seconds from now. */
export function momentOrSeconds(text: string): string | number {
  return text.trim() !== "" && !Number.isNaN(Number(text)) ? duration(-SECONDS_MAX)(text) : moment(text);
}

/** Reads a JSON array. */
export function jsonArray(text: string): unknown[] {
  const value = json(text, "an array such as [1, 2]");
  if (!Array.isArray(value)) throw new InvalidValue("it must be a JSON array such as [1, 2]");
  return value;
}

/** Reads a JSON object. */
export function jsonObject(text: string): Record<string, unknown> {
  const value = json(text, 'an object such as {"x": 1}');
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidValue('it must be a JSON object such as {"x": 1}');
  }
  return value as Record<string, unknown>;
}

function json(text: string, wanted: string): unknown {
  try {
    return fromExactJson(text);
  } catch (error) {
    throw new InvalidValue(`it must be JSON, ${wanted}: ${errorText(error)}`);
  }
}
