/**
 * Writes JSON as kombu does: typed objects for values that JSON cannot represent, integers of any size,
 * Python's NaN and Infinity literals. reader.ts reads it; shown.ts formats values for people.
 *
 * Most values contain nothing of the kind; a short walk finds that out, and then V8's own JSON does the work.
 * There are no blanks after separators: JSON is compared as values, never as bytes.
 *
 * Source: kombu 5.6.2 utils/json.py (typed objects, register_type).
 */

import { quoted } from "../../base/mod.ts";
import { AmqpDecimal } from "../decimal.ts";
import { isBoxed, lostKind } from "./form.ts";
import { EncodeError } from "../errors.ts";
import { isPlainDate, isPlainTime } from "../plain_times.ts";
import { isRawJson } from "../raw_json.ts";
import { dateFault } from "../times.ts";

/** The maximum nesting of a value that is read: about the limit of Python's own reader. */
export const JSON_DEPTH_MAX = 1000;
/** The maximum nesting of a value that is written; messages and documents add a few levels around it. */
export const WRITTEN_DEPTH_MAX: number = JSON_DEPTH_MAX - 20;

/**
 * Returns a value as JSON text. `undefined` is written as null; Date, Uint8Array, Temporal.PlainDate and
 * PlainTime as typed objects; bigint as an integer; NaN and the infinities as Python's literals; `toJSON` is
 * called. Throws EncodeError, which names the value and its place, for functions, symbols, cycles, maps,
 * sets, promises, errors, and objects with neither fields nor `toJSON` (a Response, a generator). Cost: per
 * message; for plain values 0.1 µs more than `JSON.stringify`.
 */
export function toJson(value: unknown): string {
  return isPlain(value, 0) ? JSON.stringify(value) : new JsonWriter().write(value);
}

/**
 * Returns the same text as `toJson`, but faster for a record of names and short values, such as a message's
 * headers: it is written in one walk, without the runtime's JSON. Cost: per message; for a task's headers two
 * thirds of `toJson` on Node 20, and no more than `toJson` in Deno.
 */
export function headersToJson(headers: Readonly<Record<string, unknown>>): string {
  return shortJson(headers, 0) ?? toJson(headers);
}

/** The maximum nesting of a short value, and the number of names that are kept. */
const SHORT_DEPTH_MAX = 3;
const NAMES_MAX = 256;
/** Names in JSON form with their colon; the same few names occur in every message. */
const names = new Map<string, string>();

/** Writes a short value; null if it contains something that only `toJson` can write. */
function shortJson(value: unknown, depth: number): string | null {
  switch (typeof value) {
    case "string":
      return quoted(value);
    case "boolean":
      return value ? "true" : "false";
    case "number":
      // JSON has no NaN and no infinities; -0 is written as 0.
      return value - value === 0 ? String(value) : null;
    case "object":
      break;
    default:
      return null;
  }
  if (value === null) return "null";
  if (depth > SHORT_DEPTH_MAX) return null;
  let text = "";
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) {
      const item = shortJson(value[n], depth + 1);
      if (item === null) return null;
      text += n === 0 ? item : "," + item;
    }
    return `[${text}]`;
  }
  // An object without a prototype may be a `RawJson` (raw_json.ts).
  if (Object.getPrototypeOf(value) !== Object.prototype) return null;
  const record = value as Readonly<Record<string, unknown>>;
  for (const key in record) {
    const item = shortJson(record[key], depth + 1);
    if (item === null) return null;
    text += text === "" ? nameText(key) + item : "," + nameText(key) + item;
  }
  // Math and similar objects: the slow path refuses them by name.
  if (text === "" && (record as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] !== undefined) {
    return null;
  }
  return `{${text}}`;
}

function nameText(name: string): string {
  let text = names.get(name);
  if (text === undefined) {
    text = quoted(name) + ":";
    if (names.size < NAMES_MAX) names.set(name, text);
  }
  return text;
}

/** Returns true if `JSON.stringify` writes the value as we would. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      // False for NaN and the infinities.
      return value - value === 0;
    case "object":
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth >= WRITTEN_DEPTH_MAX) return false;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) {
      if (!isPlain(value[n], depth + 1)) return false;
    }
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  const object = value as Record<string, unknown>;
  let isEmpty = true;
  for (const key in object) {
    if (!isPlain(object[key], depth + 1)) return false;
    isEmpty = false;
  }
  // Math and similar objects: the slow path refuses them by name.
  return !isEmpty || (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === undefined;
}

/** The slow path: writes every value that has a form, and throws with the place of one that has none. */
class JsonWriter {
  #open: unknown[] = [];
  #path: (string | number)[] = [];

  write(value: unknown): string {
    switch (typeof value) {
      case "string":
        return quoted(value);
      case "number":
        if (value - value === 0) return String(value);
        return value !== value ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
      case "boolean":
        return value ? "true" : "false";
      case "bigint":
        return value.toString();
      case "undefined":
        return "null";
      case "object":
        return value === null ? "null" : this.#object(value);
      default:
        throw this.#refuse(`a ${typeof value}`);
    }
  }

  #object(value: object): string {
    if (this.#open.includes(value)) throw this.#refuse("it contains itself");
    if (this.#open.length >= WRITTEN_DEPTH_MAX) {
      throw this.#refuse(`nested deeper than ${WRITTEN_DEPTH_MAX}`);
    }
    const special = this.#special(value);
    if (special !== null) return special;
    this.#open.push(value);
    const text = Array.isArray(value) ? this.#array(value) : this.#record(value as Record<string, unknown>);
    this.#open.pop();
    return text;
  }

  #array(items: readonly unknown[]): string {
    let text = "[";
    for (let n = 0; n < items.length; n++) {
      this.#path.push(n);
      text += n === 0 ? this.write(items[n]) : "," + this.write(items[n]);
      this.#path.pop();
    }
    return text + "]";
  }

  #record(record: Record<string, unknown>): string {
    let text = "{";
    for (const key of Object.keys(record)) {
      this.#path.push(key);
      text += `${text === "{" ? "" : ","}${quoted(key)}:${this.write(record[key])}`;
      this.#path.pop();
    }
    return text + "}";
  }

  /** Writes an object with a form of its own; null for an array or a record. */
  #special(value: object): string | null {
    if (Array.isArray(value)) return null;
    if (isRawJson(value)) return value.rawJSON;
    if (value instanceof Date) {
      const fault = dateFault(value);
      if (fault !== null) throw this.#refuse(fault);
      const iso = value.toISOString().replace(/\.000Z$/, "Z").replace(/(\.\d{3})Z$/, "$1000Z");
      return typedJson("datetime", iso.replace("Z", "+00:00"));
    }
    if (isPlainDate(value)) {
      if (value.year < 1 || value.year > 9999) throw this.#refuse("a date outside of the years 1 to 9999");
      return typedJson("date", value.toString());
    }
    if (isPlainTime(value)) return typedJson("time", value.toString());
    if (value instanceof AmqpDecimal) return typedJson("decimal", value.toString());
    if (value instanceof Uint8Array) return bytesJson(value);
    if (isBoxed(value)) return this.write(value.valueOf());
    const toJson: unknown = (value as { toJSON?: unknown }).toJSON;
    if (typeof toJson === "function") {
      this.#open.push(value);
      const text = this.write(toJson.call(value, String(this.#path.at(-1) ?? "")));
      this.#open.pop();
      return text;
    }
    const kind = lostKind(value);
    if (kind !== null) throw this.#refuse(kind);
    return null;
  }

  #refuse(what: string): EncodeError {
    let place = "";
    for (const part of this.#path.slice(0, 20)) {
      place += typeof part === "number" ? `[${part}]` : (place === "" ? "" : ".") + part.slice(0, 100);
    }
    return new EncodeError(`Cannot encode ${place === "" ? "value" : `"${place}"`}: ${what}`);
  }
}

function typedJson(type: string, value: string): string {
  return `{"__type__":"${type}","__value__":${quoted(value)}}`;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Returns bytes as kombu's typed object: as text if they are UTF-8, else as base64. */
export function bytesJson(bytes: Uint8Array): string {
  try {
    return typedJson("bytes", UTF8.decode(bytes));
  } catch {
    // Not UTF-8.
    return typedJson("base64", bytes.toBase64());
  }
}
