/**
 * Reads JSON as kombu does: typed objects become the values they stand for, integers keep their digits,
 * Python's NaN and Infinity literals are numbers. json.ts writes it.
 *
 * Most texts contain nothing of the kind; a short scan finds that out, and then V8's own JSON does the work.
 * Text from outside may be anything, so every step takes time in proportion to its length.
 *
 * Source: kombu 5.6.2 utils/json.py object_hook, loads.
 */

import { quoted } from "../../base/mod.ts";
import { AmqpDecimal } from "../decimal.ts";
import { DecodeError } from "../errors.ts";
import { JSON_DEPTH_MAX } from "./json.ts";
import { changedOutsideTexts, parseWithSources } from "./number_sources.ts";
import { plainDate, plainTime } from "../plain_times.ts";
import { rawJson } from "../raw_json.ts";
import { isoMs } from "../times.ts";

/**
 * Reads JSON text. Objects with exactly the keys `__type__` and `__value__` become the values they stand for:
 * datetime a Date (UTC if it has no offset), date and time Temporal's classes, bytes and base64 a Uint8Array,
 * decimal and uuid their text. Integers beyond 2^53 become bigint. Throws DecodeError, also for an unknown
 * `__type__` and for nesting beyond `JSON_DEPTH_MAX`.
 */
export function fromJson(text: string): unknown {
  return reviveJson(text, fromPlainJson(text));
}

/**
 * Converts the result of `fromPlainJson`, or a part of it, to the result of `fromJson`. Changes it in place.
 */
export function reviveJson(text: string, value: unknown): unknown {
  return mayHoldTypes(text) ? reviveTypes(value, 0, false) : value;
}

/**
 * Reads text that `toJson` wrote. Like `fromJson`, but an object that only looks like a typed one stays as it
 * is, and a few more levels of nesting are allowed. Throws DecodeError if the text is not JSON.
 */
export function fromTypedJson(text: string): unknown {
  const value = fromOwnPlainJson(text);
  return mayHoldTypes(text) ? reviveTypes(value, 0, true) : value;
}

/**
 * Like `fromTypedJson`, but typed objects stay as they are on the wire. For values that our own processes
 * only pass on.
 */
export function fromOwnPlainJson(text: string): unknown {
  return parsed(text, JSON_DEPTH_MAX + OWN_LEVELS);
}

/** Like `fromOwnPlainJson`, with numbers as in `fromExactJson`. */
export function fromOwnExactJson(text: string): unknown {
  return parsedExactly(text, JSON_DEPTH_MAX + OWN_LEVELS);
}

/** Converts a carried value of our own processes to what `fromTypedJson` would read. Changes it in place. */
export function reviveOwn(value: unknown): unknown {
  return reviveTypes(value, 0, true);
}

/** Returns true for an object with exactly the keys of kombu's typed objects. */
export function isTypedRecord(value: object): boolean {
  return Object.hasOwn(value, "__type__") && Object.hasOwn(value, "__value__") &&
    Object.keys(value).length === 2;
}

/** Returns true if a text may contain a typed object. */
function mayHoldTypes(text: string): boolean {
  return text.includes("__type__") || text.includes("__value__") || text.includes("\\u005f");
}

/** The maximum number of levels that our own processes add around a value. */
const OWN_LEVELS = 20;

/** Like `fromJson`, but typed objects stay plain objects as on the wire. For text that is passed on. */
export function fromPlainJson(text: string): unknown {
  return parsed(text, JSON_DEPTH_MAX);
}

function parsed(text: string, depthMax: number): unknown {
  // A shorter text cannot have as many opening and closing brackets.
  if (text.length > 2 * depthMax && isTooDeep(text, depthMax)) {
    throw new DecodeError(`Cannot decode JSON: nested deeper than ${depthMax}`);
  }
  try {
    return parseNumbers(text);
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    if (!(error instanceof SyntaxError)) throw new DecodeError("Cannot decode JSON: nested too deep");
    return fromPythonJson(text, error);
  }
}

let isExact = false;

/**
 * Sets how this program reads numbers. "exact": numbers keep the form in which they were written, and 2.0,
 * 1e16 and -0.0 are read as `RawJson`; for a program that only shows or passes on values. "values" (default):
 * JavaScript's numbers.
 */
export function setJsonNumbers(to: "exact" | "values"): void {
  isExact = to === "exact";
}

/**
 * Like `fromPlainJson`, with numbers as under `setJsonNumbers("exact")`. For text that is passed on as JSON.
 */
export function fromExactJson(text: string): unknown {
  return parsedExactly(text, JSON_DEPTH_MAX);
}

function parsedExactly(text: string, depthMax: number): unknown {
  const before = isExact;
  isExact = true;
  try {
    return parsed(text, depthMax);
  } finally {
    isExact = before;
  }
}

/** Reads with V8's JSON, but integers keep their digits. */
function parseNumbers(text: string): unknown {
  return isExact || hasLongDigits(text) ? parseWithSources(text, reviveNumber, isNan) : JSON.parse(text);
}

/**
 * Reads JSON with NaN and infinities outside of strings, replaced by numbers that JSON can write. Takes one
 * pass, since text from outside may contain any number of unclosed quotes.
 */
function fromPythonJson(text: string, cause: SyntaxError): unknown {
  if (text.includes("NaN") || text.includes("Infinity")) {
    try {
      return parseWithSources(changedOutsideTexts(text, literalsReplaced), reviveNumber, isNan);
    } catch (error) {
      if (error instanceof DecodeError) throw error;
      // The first error is thrown below, since its position refers to the original text.
    }
  }
  throw new DecodeError(`Cannot decode JSON: ${jsonErrorText(text, cause)}`);
}

function literalsReplaced(text: string): string {
  return text.replace(
    /-?\bInfinity\b|\bNaN\b/g,
    (part) => part === "NaN" ? NAN_SOURCE : part === "Infinity" ? "1e999" : "-1e999",
  );
}

/** Stands for NaN: a number that nobody writes, and that is parsed as -0. */
const NAN_SOURCE = "-0e-987654321";
const isNan = (source: string) => source === NAN_SOURCE;

function jsonErrorText(text: string, error: SyntaxError): string {
  if (text.trim() === "") return "empty text";
  // V8 quotes the text in its message, and text from outside may contain anything. So only the position is
  // given.
  const position = /position (\d+)/.exec(error.message)?.[1];
  if (position !== undefined) return `unexpected text at position ${position} of ${text.length}`;
  return /end of JSON|Unterminated/.test(error.message)
    ? `it ends too early (${text.length} characters)`
    : `not JSON (${text.length} characters)`;
}

/**
 * Converts a number by its source text, which the engine passes as third argument. TypeScript's library does
 * not have it yet.
 */
function reviveNumber(_key: string, value: unknown, context?: { source: string }): unknown {
  if (typeof value !== "number" || !context) return value;
  const { source } = context;
  if (source === NAN_SOURCE) return NaN;
  const isWhole = Number.isInteger(value) || !Number.isFinite(value);
  if (!isWhole || Number.isSafeInteger(value) && !isExact) return value;
  if (!/^-?\d+$/.test(source)) {
    return isExact && Number.isFinite(value) && String(value) !== source ? rawJson(source) : value;
  }
  if (Number.isSafeInteger(value)) return value;
  // Reading a long integer takes more than linear time, and Python refuses it too
  // (sys.set_int_max_str_digits).
  if (source.length > INTEGER_DIGITS_MAX) {
    throw new DecodeError(`Cannot decode JSON: an integer of more than ${INTEGER_DIGITS_MAX} digits`);
  }
  return BigInt(source);
}

/** The maximum number of digits of an integer, as in Python 3.11. */
export const INTEGER_DIGITS_MAX = 4300;

/**
 * Returns true if the text contains 16 or more digits in a row, so that an integer may be beyond 2^53. Looks
 * only at every 16th position, unless it finds a digit there.
 */
function hasLongDigits(text: string): boolean {
  const end = text.length;
  let at = 15;
  while (at < end) {
    let code = text.charCodeAt(at);
    if (code < 48 || code > 57) {
      at += 16;
      continue;
    }
    const start = at - 15;
    let back = at - 1;
    while (back >= start) {
      code = text.charCodeAt(back);
      if (code < 48 || code > 57) break;
      back--;
    }
    if (back < start) return true;
    at = back + 16;
  }
  return false;
}

function isTooDeep(text: string, depthMax: number): boolean {
  // Most long texts contain few brackets, which a fast scan of the engine finds out.
  let brackets = 0;
  for (const mark of ["[", "{"]) {
    for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) {
      if (++brackets > depthMax) break;
    }
  }
  if (brackets <= depthMax) return false;
  let depth = 0;
  let isText = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (isText) {
      if (code === 0x5c) at++;
      else if (code === 0x22) isText = false;
    } else if (code === 0x22) isText = true;
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > depthMax) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}

function reviveTypes(value: unknown, depth: number, isLenient: boolean): unknown {
  if (typeof value !== "object" || value === null || depth > JSON_DEPTH_MAX + OWN_LEVELS) return value;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) {
      const item: unknown = value[n];
      if (typeof item === "object" && item !== null) value[n] = reviveTypes(item, depth + 1, isLenient);
    }
    return value;
  }
  const object = value as Record<string, unknown>;
  let keys = 0;
  for (const key in object) {
    keys++;
    const item = object[key];
    // Defined and not assigned, because "__proto__" is an ordinary key in JSON.
    if (typeof item === "object" && item !== null) {
      const revived = reviveTypes(item, depth + 1, isLenient);
      if (revived !== item) {
        Object.defineProperty(object, key, {
          value: revived,
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
    }
  }
  if (keys === 2 && Object.hasOwn(object, "__type__") && Object.hasOwn(object, "__value__")) {
    try {
      const value = object["__value__"];
      // Our own processes write AMQP's decimals as "decimal"; they must be sent as decimals again.
      const decimal = isLenient && object["__type__"] === "decimal" ? AmqpDecimal.of(String(value)) : null;
      return decimal ?? typedValue(object["__type__"], value);
    } catch (error) {
      if (isLenient) return value;
      throw error;
    }
  }
  return value;
}

/**
 * Returns the value of a typed object. Throws DecodeError for an unknown type, or a value that does not match
 * it.
 */
export function typedValue(type: unknown, value: unknown): unknown {
  try {
    switch (type) {
      case "datetime":
        return dateFromIso(String(value));
      case "date":
        return plainDate(String(value));
      case "time":
        return plainTime(String(value));
      case "decimal":
        return String(value);
      case "uuid":
        return uuidText(value);
      case "bytes":
        return new TextEncoder().encode(String(value));
      case "base64":
        return Uint8Array.fromBase64(String(value));
    }
  } catch {
    throw new DecodeError(`Cannot decode JSON: an invalid value of type "${String(type)}"`);
  }
  const name = typeof type === "string" ? quoted(type.slice(0, 100)) : typeof type;
  throw new DecodeError(`Cannot decode JSON: unsupported type ${name} in "__type__"`);
}

function uuidText(value: unknown): string {
  const hex = typeof value === "object" && value !== null ? (value as { hex?: unknown }).hex : value;
  const digits = String(hex).replaceAll("-", "").toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits)) throw new RangeError("not a uuid");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function dateFromIso(text: string): Date {
  const ms = isoMs(text);
  if (Number.isNaN(ms)) throw new RangeError("not a date");
  return new Date(ms);
}
