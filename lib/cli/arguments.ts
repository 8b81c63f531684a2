/** Readers of option values that several commands share. */

import { errorText, type Level, LEVELS } from "../base/mod.ts";
import { DecodeError, fromExactJson, parseIso } from "../wire/mod.ts";

/** Seconds in an option at most: some 31 years, which no timer and no date overflows at. */
const SECONDS_MAX = 1e9;
const INTERVAL_MIN = 0.01;

/** Why a value cannot be used ("it is not a number"); reader.ts puts the option and the value before it. */
export class InvalidValue extends Error {
  override readonly name = "InvalidValue";
}

/** A text that says something: one that is empty is a shell variable that is not set. */
export function filled(text: string): string {
  if (text.trim() === "") throw new InvalidValue("it is empty");
  return text;
}

/** "a,b" to ["a", "b"]; may be given several times. */
export function commaList(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), ...text.split(",").map((word) => word.trim()).filter((word) => word !== "")];
}

/** As `commaList`, but not empty: a shell variable that is not set must mean neither all of them nor none. */
export function someOf(noun: string): (text: string, before: string[] | undefined) => string[] {
  return (text, before) => {
    const words = commaList(text, before);
    if (words.length === 0) throw new InvalidValue(`it names no ${noun}`);
    return words;
  };
}

/** A reader of one of some words, which it knows. */
export interface OneOf<T extends string> {
  (text: string): T;
  readonly words: readonly T[];
}

/** One of some words. */
export function oneOf<T extends string>(...words: readonly T[]): OneOf<T> {
  const read = (text: string): T => {
    const found = words.find((word) => word === text);
    if (found === undefined) throw new InvalidValue(`there are ${words.join(", ")}`);
    return found;
  };
  return Object.assign(read, { words });
}

/** A whole number from `min` to `max`. */
export function whole(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `of ${min} or more` : `from ${min} to ${max}`;
      throw new InvalidValue(`it is not a whole number ${range}`);
    }
    return value;
  };
}

/** Seconds (or another `unit`) from `min` to `max` (some 31 years unless said otherwise), fractions allowed. */
export function duration(
  min: number,
  max: number = SECONDS_MAX,
  unit = "seconds",
): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (!(value >= min && value <= max)) {
      throw new InvalidValue(`it is not a number of ${unit} from ${min} to ${max}`);
    }
    return value;
  };
}

/** Seconds between two rounds of something; 0 is the default, and what would keep a processor busy is refused. */
export function interval(text: string): number {
  const value = duration(0)(text);
  if (value > 0 && value < INTERVAL_MIN) {
    throw new InvalidValue(`it is less than ${INTERVAL_MIN} seconds`);
  }
  return value;
}

const levelName = oneOf(...Object.keys(LEVELS) as Level[]);

/** A log level's name, in any case. */
export const level: OneOf<Level> = Object.assign(
  (text: string) => levelName(text.toUpperCase() === "FATAL" ? "CRITICAL" : text.toUpperCase()),
  { words: levelName.words },
);

/** Upper bounds in ascending order; "+Inf" at the end is understood anyway. */
export function bounds(text: string): number[] {
  const found = commaList(text, undefined).filter((one) => !/^\+?inf$/i.test(one)).map(Number);
  if (found.length === 0 || found.some((one, n) => !(one > (found[n - 1] ?? 0)))) {
    throw new InvalidValue("they are not seconds in ascending order, such as 0.1,1,10");
  }
  return found;
}

/** A moment in ISO 8601. */
export function moment(text: string): string {
  try {
    parseIso(text);
    return text;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new InvalidValue("it is not a time in ISO 8601, such as 2030-01-31T12:00:00+00:00");
  }
}

/** A moment in ISO 8601, or seconds from now. */
export function momentOrSeconds(text: string): string | number {
  return text.trim() !== "" && !Number.isNaN(Number(text)) ? duration(-SECONDS_MAX)(text) : moment(text);
}

/** A JSON array. */
export function jsonArray(text: string): unknown[] {
  const value = json(text, "an array such as [1, 2]");
  if (!Array.isArray(value)) throw new InvalidValue("it is not a JSON array such as [1, 2]");
  return value;
}

/** A JSON object. */
export function jsonObject(text: string): Record<string, unknown> {
  const value = json(text, 'an object such as {"x": 1}');
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidValue('it is not a JSON object such as {"x": 1}');
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
