/**
 * JSON as kombu reads and writes it: typed objects for what JSON has no form for, integers of any size,
 * Python's NaN and Infinity literals.
 *
 * The common value holds nothing of the kind; a short walk or scan finds that out, and then V8's own JSON
 * does the work. Separators are written without blanks: JSON is compared as values, never as bytes.
 *
 * Source: kombu 5.6.2 utils/json.py (typed objects, register_type), kombu 5.2.4 utils/json.py JSONEncoder
 * (plain texts); celery 5.2.6 both.
 */

import { DecodeError, EncodeError } from "./errors.ts";
import { isoMs } from "./times.ts";
import { isAscii } from "./base64.ts";

/** Which kombu's form of dates and bytes is written. Reading takes both. */
export type JsonDialect = "kombu-5.3" | "kombu-5.2";

/** How deep a value may nest, both ways: about what Python's own reader takes. */
export const JSON_DEPTH_MAX = 1000;

let dialect: JsonDialect = "kombu-5.3";

/**
 * Sets the written form of Date, Temporal's dates and times, and bytes, for the whole program: "kombu-5.3"
 * (default) writes `{"__type__", "__value__"}`; "kombu-5.2" ISO text, and refuses bytes. A cluster with
 * Celery 5.2 workers wants the latter: they take typed objects for plain ones.
 */
export function setJsonDialect(to: JsonDialect): void {
  dialect = to;
}

/**
 * A value as JSON text. `undefined` is written as null; Date, Uint8Array, bigint, Temporal.PlainDate and
 * PlainTime in the dialect's form; NaN and the infinities as Python's literals; `toJSON` is obeyed.
 * Functions, symbols, cycles, maps, sets, promises and errors throw EncodeError that names their place. Cost:
 * per message; plain values 0.1 µs above `JSON.stringify`.
 */
export function toJson(value: unknown): string {
  return isPlain(value, 0) ? JSON.stringify(value) : new JsonWriter().write(value);
}

/**
 * JSON text as a value. Objects with exactly the keys `__type__` and `__value__` become what they stand for:
 * datetime a Date (without offset: UTC), date and time Temporal's, bytes and base64 a Uint8Array, decimal and
 * uuid their text. Integers beyond 2^53 become bigint. Throws DecodeError, also for an unknown `__type__` and
 * for nesting beyond `JSON_DEPTH_MAX`.
 */
export function fromJson(text: string): unknown {
  const value = fromPlainJson(text);
  return mayHoldTypes(text) ? reviveTypes(value, 0) : value;
}

function mayHoldTypes(text: string): boolean {
  return text.includes("__type__") || text.includes("__value__") || text.includes("\\u005f");
}

/**
 * As `fromJson` for each text, in one go: the engine reads many short texts as one list in half the time. Broken texts
 * are told as long as there are not as many values in them as texts.
 */
export function fromJsonList(texts: readonly string[]): unknown[] {
  // Of longer ones the depth is looked at, one by one.
  if (texts.every((text) => text.length <= 2 * JSON_DEPTH_MAX)) {
    const text = `[${texts.join(",")}]`;
    try {
      const list = parseNumbers(text) as unknown[];
      if (list.length === texts.length) {
        return mayHoldTypes(text) ? list.map((one) => reviveTypes(one, 0)) : list;
      }
    } catch {
      // Python's own literals, or one that cannot be read: which one is told by itself.
    }
  }
  return texts.map(fromJson);
}

/**
 * As `fromJson`, but typed objects stay the plain objects they are on the wire: for text that is passed on.
 */
export function fromPlainJson(text: string): unknown {
  // What is that deep has as many brackets that close.
  if (text.length > 2 * JSON_DEPTH_MAX && isTooDeep(text)) {
    throw new DecodeError(`Cannot decode JSON: nested deeper than ${JSON_DEPTH_MAX}`);
  }
  try {
    return parseNumbers(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw new DecodeError("Cannot decode JSON: nested too deep");
    return fromPythonJson(text, error);
  }
}

/** V8's JSON, but integers keep their digits. */
function parseNumbers(text: string): unknown {
  return hasLongDigits(text) ? JSON.parse(text, reviveNumber) : JSON.parse(text);
}

/** Reads NaN and the infinities outside of texts as numbers that JSON can write. */
function fromPythonJson(text: string, cause: SyntaxError): unknown {
  if (/\bNaN\b|\bInfinity\b/.test(text)) {
    const changed = text.replace(
      /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/gs,
      (part) =>
        part[0] === '"' ? part : part === "NaN" ? NAN_SOURCE : part === "Infinity" ? "1e999" : "-1e999",
    );
    try {
      return JSON.parse(changed, reviveNumber);
    } catch {
      // The first error tells the place in the text as it came.
    }
  }
  throw new DecodeError(`Cannot decode JSON: ${jsonErrorText(text, cause)}`);
}

/** A number that nobody writes, parsed as -0, which stands for NaN. */
const NAN_SOURCE = "-0e-987654321";

function jsonErrorText(text: string, error: SyntaxError): string {
  if (text.trim() === "") return "empty text";
  // V8 quotes the text in its message, and text from outside may hold anything: only the place is told.
  const position = /position (\d+)/.exec(error.message)?.[1];
  if (position !== undefined) return `unexpected text at position ${position} of ${text.length}`;
  return /end of JSON|Unterminated/.test(error.message)
    ? `it ends too early (${text.length} characters)`
    : `not JSON (${text.length} characters)`;
}

/** The engine gives a number's own text as third argument; TypeScript's library does not know it yet. */
function reviveNumber(_key: string, value: unknown, context?: { source: string }): unknown {
  if (typeof value !== "number" || !context) return value;
  const { source } = context;
  if (source === NAN_SOURCE) return NaN;
  if (Number.isSafeInteger(value)) return value;
  return /^-?\d+$/.test(source) ? BigInt(source) : value;
}

/**
 * True where a run of 16 digits or more is in the text: an integer may be beyond 2^53. Looks at every 16th
 * place.
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

function isTooDeep(text: string): boolean {
  // Most long texts hold few brackets; finding that out is a fast scan of the engine's.
  let brackets = 0;
  for (const mark of ["[", "{"]) {
    for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) {
      if (++brackets > JSON_DEPTH_MAX) break;
    }
  }
  if (brackets <= JSON_DEPTH_MAX) return false;
  let depth = 0;
  let isText = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (isText) {
      if (code === 0x5c) at++;
      else if (code === 0x22) isText = false;
    } else if (code === 0x22) isText = true;
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > JSON_DEPTH_MAX) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}

function reviveTypes(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null || depth > JSON_DEPTH_MAX) return value;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) {
      const item: unknown = value[n];
      if (typeof item === "object" && item !== null) value[n] = reviveTypes(item, depth + 1);
    }
    return value;
  }
  const object = value as Record<string, unknown>;
  let keys = 0;
  for (const key in object) {
    keys++;
    const item = object[key];
    // Defined, not assigned: "__proto__" is a key like any other in JSON.
    if (typeof item === "object" && item !== null) {
      const revived = reviveTypes(item, depth + 1);
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
    return typedValue(object["__type__"], object["__value__"]);
  }
  return value;
}

function typedValue(type: unknown, value: unknown): unknown {
  try {
    switch (type) {
      case "datetime":
        return dateFromIso(String(value));
      case "date":
        return Temporal.PlainDate.from(String(value));
      case "time":
        return Temporal.PlainTime.from(String(value));
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
    throw new DecodeError(`Cannot decode JSON: a wrong value of type "${String(type)}"`);
  }
  const name = typeof type === "string" ? JSON.stringify(type.slice(0, 100)) : typeof type;
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

/** True where `JSON.stringify` writes the value as we would. */
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
  if (depth > JSON_DEPTH_MAX) return false;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) {
      if (!isPlain(value[n], depth + 1)) return false;
    }
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  const object = value as Record<string, unknown>;
  for (const key in object) {
    if (!isPlain(object[key], depth + 1)) return false;
  }
  return true;
}

/** The long way: writes everything that has a form, and names the place of what has none. */
class JsonWriter {
  #open: unknown[] = [];
  #path: (string | number)[] = [];

  write(value: unknown): string {
    switch (typeof value) {
      case "string":
        return JSON.stringify(value);
      case "number":
        if (value - value === 0) return JSON.stringify(value);
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
    if (this.#open.length > JSON_DEPTH_MAX) throw this.#refuse(`nested deeper than ${JSON_DEPTH_MAX}`);
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
      text += `${text === "{" ? "" : ","}${JSON.stringify(key)}:${this.write(record[key])}`;
      this.#path.pop();
    }
    return text + "}";
  }

  /** Objects with a form of their own; null: an array or a record. */
  #special(value: object): string | null {
    if (Array.isArray(value)) return null;
    const isTyped = dialect === "kombu-5.3";
    if (value instanceof Date) {
      if (Number.isNaN(value.getTime())) throw this.#refuse("an invalid Date");
      const iso = value.toISOString().replace(/\.000Z$/, "Z").replace(/(\.\d{3})Z$/, "$1000Z");
      return isTyped ? typedJson("datetime", iso.replace("Z", "+00:00")) : JSON.stringify(iso);
    }
    if (value instanceof Temporal.PlainDate) {
      return isTyped ? typedJson("date", value.toString()) : JSON.stringify(`${value}T00:00:00`);
    }
    if (value instanceof Temporal.PlainTime) {
      return isTyped ? typedJson("time", value.toString()) : JSON.stringify(value.toString());
    }
    if (value instanceof Uint8Array) {
      if (!isTyped) throw this.#refuse("bytes");
      return bytesJson(value);
    }
    if (value instanceof Number || value instanceof String || value instanceof Boolean) {
      return this.write(value.valueOf());
    }
    const toJson: unknown = (value as { toJSON?: unknown }).toJSON;
    if (typeof toJson === "function") {
      this.#open.push(value);
      const text = this.write(toJson.call(value, String(this.#path.at(-1) ?? "")));
      this.#open.pop();
      return text;
    }
    const kind = refusedKind(value);
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

/** Objects that JSON would lose without a word. */
function refusedKind(value: object): string | null {
  if (value instanceof Map) return "a Map (use a plain object)";
  if (value instanceof Set) return "a Set (use an array)";
  if (value instanceof Error) return `an error (${value.name})`;
  if (value instanceof Promise) return "a Promise (await it)";
  if (value instanceof RegExp) return "a RegExp";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return `${value.constructor.name} (use Uint8Array)`;
  }
  if (value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
    return "a weak collection";
  }
  return null;
}

function typedJson(type: string, value: string): string {
  return `{"__type__":"${type}","__value__":${JSON.stringify(value)}}`;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function bytesJson(bytes: Uint8Array): string {
  try {
    return typedJson("bytes", UTF8.decode(bytes));
  } catch {
    // Not UTF-8.
    return typedJson("base64", bytes.toBase64());
  }
}

/** JSON text of ASCII alone: everything else as `\uXXXX`. For readers that take bytes for Latin-1. */
export function asciiJson(json: string): string {
  if (isAscii(json)) return json;
  return json.replace(/[^\0-\x7f]/g, (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0"));
}
