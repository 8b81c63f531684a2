/**
 * Carried values, which are only passed on: callbacks, the rest of a chain, a chord's body, its header's
 * results. JavaScript has no equivalent for many values that Python writes (decimals, UUIDs, microseconds,
 * times without a zone, 2.0). So carried values stay as they are on the wire: typed objects are plain
 * objects, and numbers that JavaScript would write in another form are `RawJson`. Written as JSON again, they
 * are unchanged. To read one, take its `revived` form.
 *
 * Source: kombu 5.6.2 utils/json.py.
 */

import { DecodeError } from "../errors.ts";
import {
  fromExactJson,
  fromOwnExactJson,
  fromOwnPlainJson,
  fromPlainJson,
  isTypedRecord,
  typedValue,
} from "./reader.ts";
import { JSON_DEPTH_MAX } from "./json.ts";
import { isPlainDate, isPlainTime } from "../plain_times.ts";
import { isRawJson } from "../raw_json.ts";

/** Reads JSON text as a carried value. Throws DecodeError if it is not JSON. */
export function fromCarriedJson(text: string): unknown {
  return mayHoldFloats(text) ? fromExactJson(text) : fromPlainJson(text);
}

/**
 * Reads each text as `fromCarriedJson` does, but all at once: the engine reads many short texts as one list
 * in half the time. Throws DecodeError for a broken text, unless the joined texts happen to be a list of as
 * many values as texts.
 */
export function fromCarriedJsonList(texts: readonly string[]): unknown[] {
  // Longer texts are read one by one, since each may have the whole depth.
  if (texts.every((text) => text.length <= 2 * JSON_DEPTH_MAX)) {
    try {
      const list = fromCarriedJson(`[${texts.join(",")}]`) as unknown[];
      if (list.length === texts.length) return list;
    } catch {
      // Some text cannot be read; reading them one by one throws for that text.
    }
  }
  return texts.map(fromCarriedJson);
}

/**
 * Reads a value that our own processes wrote and pass on, unchanged. `fromTypedJson` does not keep all values
 * unchanged.
 */
export function fromPassedOnJson(text: string): unknown {
  return mayHoldFloats(text) ? fromOwnExactJson(text) : fromOwnPlainJson(text);
}

/** An exponent without a sign. */
const EXPONENT = /\d[eE]\d/g;

/**
 * Returns false if no number in a JSON text has a form that a JavaScript number does not keep, which is a
 * whole number with a point or an exponent. May return true for other texts too. Cost: 0.2 µs for a kilobyte
 * without such numbers.
 */
export function mayHoldFloats(text: string): boolean {
  for (const mark of [".0", "e+", "E+"]) {
    for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) {
      if (isInNumber(text, at)) return true;
    }
  }
  EXPONENT.lastIndex = 0;
  for (let found = EXPONENT.exec(text); found !== null; found = EXPONENT.exec(text)) {
    if (isInNumber(text, found.index + 1)) return true;
  }
  return false;
}

/** Returns true if a number precedes `at`. Ids contain many digits and the letter `e`. */
function isInNumber(text: string, at: number): boolean {
  let back = at - 1;
  while (back >= 0 && (isDigit(text.charCodeAt(back)) || text[back] === ".")) back--;
  if (back === at - 1) return false;
  if (text[back] === "-") back--;
  return back < 0 || "[,: \t\r\n".includes(text[back]!);
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/**
 * Returns a carried value as `fromJson` would have read it, or the value itself if it contains no typed
 * object and no `RawJson`. Only arrays and plain objects are searched. Throws DecodeError for typed objects
 * of unknown types.
 */
export function revived<T>(value: T): T;
export function revived(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    let copy: unknown[] | null = null;
    for (let n = 0; n < value.length; n++) {
      const item: unknown = value[n];
      const made = revived(item);
      if (made !== item) (copy ??= [...value])[n] = made;
    }
    return copy ?? value;
  }
  if (isRawJson(value)) return Number(value.rawJSON);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const record = value as Record<string, unknown>;
  if (isTypedRecord(record)) return typedValue(record["__type__"], revived(record["__value__"]));
  let copy: Record<string, unknown> | null = null;
  for (const key of Object.keys(record)) {
    const made = revived(record[key]);
    if (made === record[key]) continue;
    copy ??= { ...record };
    Object.defineProperty(copy, key, { value: made, enumerable: true, configurable: true, writable: true });
  }
  return copy ?? value;
}

/**
 * Like `revived`, but a value with a typed object of an unknown type is returned as it is, since a header may
 * contain anything.
 */
export function revivedIfKnown<T>(value: T): T {
  try {
    return revived(value);
  } catch (error) {
    if (error instanceof DecodeError) return value;
    throw error;
  }
}

/**
 * Pairs of values read from a message and their carried forms, so that parts which are sent on unchanged keep
 * the form in which they came.
 */
export class CarriedTwins {
  readonly #twins = new WeakMap<object, object>();

  /**
   * Notes that `value` was read from `carried`. Both must have the same structure, so `value` must not have
   * been changed.
   */
  add(value: unknown, carried: unknown): void {
    if (!isTree(value) || !isTree(carried) || Array.isArray(value) !== Array.isArray(carried)) return;
    this.#twins.set(value, carried);
    for (const key of Object.keys(value)) this.add(partOf(value, key), partOf(carried, key));
  }

  /**
   * Returns a value in which each part that is still unchanged has its carried form, or the value itself if
   * there is no such part.
   */
  restored(value: unknown): unknown {
    if (!isTree(value)) return value;
    const twin = this.#twins.get(value);
    let copy: object | null = null;
    for (const key of Object.keys(value)) {
      const part = partOf(value, key);
      const came = twin === undefined ? undefined : partOf(twin, key);
      const made = came !== undefined && !isSame(came, part) && isSame(revived(came), part)
        ? came
        : this.restored(part);
      if (made === part) continue;
      copy ??= Array.isArray(value) ? [...value] : { ...value };
      Object.defineProperty(copy, key, { value: made, enumerable: true, configurable: true, writable: true });
    }
    return copy ?? value;
  }
}

/** Returns true for arrays and plain objects. */
function isTree(value: unknown): value is object {
  if (typeof value !== "object" || value === null || isRawJson(value)) return false;
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function partOf(tree: object, key: string): unknown {
  return Object.hasOwn(tree, key) ? (tree as Record<string, unknown>)[key] : undefined;
}

/** Returns true for equal numbers, texts, dates, times and bytes. */
function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (one instanceof Date && other instanceof Date) return one.getTime() === other.getTime();
  if (one instanceof Uint8Array && other instanceof Uint8Array) {
    return one.length === other.length && one.every((byte, n) => byte === other[n]);
  }
  const isTime = isPlainDate(one) || isPlainTime(one);
  return isTime && other instanceof one.constructor && String(one) === String(other);
}
