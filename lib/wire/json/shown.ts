/**
 * Formats any value as JSON for people and other programs. json.ts writes values for the wire and refuses
 * those that it cannot carry. Nothing is refused here, since a value that cannot be shown must not hide the
 * message or result that contains it.
 */

import { quoted } from "../../base/mod.ts";
import { bytesJson, JSON_DEPTH_MAX } from "./json.ts";
import { isBoxed } from "./form.ts";
import { isRawJson } from "../raw_json.ts";

/** The layout of JSON for people. Default: one line without spaces. */
export interface ShownStyle {
  /** Puts a space after commas and colons, as Python does. */
  isSpaced?: boolean;
  /** Sorts keys and puts each item on a line, indented by this many spaces. */
  indent?: number;
  /** Escapes everything except ASCII as `\uXXXX`. */
  isAscii?: boolean;
  /** The approximate maximum length in characters; the rest is replaced by "...". Default 64 Mi. */
  charsMax?: number;
}

const CHARS_MAX = 64 * 1024 * 1024;

/**
 * Returns a value as JSON text, on one line unless `indent` is given. Integers keep their digits; NaN and the
 * infinities are Python's literals; dates are ISO 8601 text, bytes kombu's typed object; sets are arrays,
 * maps are objects; errors, functions and symbols are strings that name them; `toJSON` is called. As with
 * `JSON.stringify`, keys with the value undefined are left out. A value inside itself is shown as
 * "<Recursion>". Never throws.
 */
export function shownJson(value: unknown, style: ShownStyle = {}): string {
  return new ShownWriter(style).write(value, 0);
}

class ShownWriter {
  #open = new Set<object>();
  #left: number;
  #indent: number;
  #isAscii: boolean;
  #comma: string;
  #colon: string;

  constructor({ indent = 0, isSpaced = false, isAscii = false, charsMax = CHARS_MAX }: ShownStyle) {
    this.#left = charsMax;
    this.#indent = indent;
    this.#isAscii = isAscii;
    this.#comma = isSpaced && indent === 0 ? ", " : ",";
    this.#colon = isSpaced || indent > 0 ? ": " : ":";
  }

  write(value: unknown, level: number): string {
    if (typeof value === "object" && value !== null) return this.#object(value, level);
    if (typeof value === "function") return this.#take(this.#text(`<function ${functionName(value)}>`));
    return this.#take(this.#scalar(value));
  }

  #scalar(value: unknown): string {
    switch (typeof value) {
      case "string":
        return this.#text(value);
      case "number":
      case "bigint":
      case "boolean":
        return Object.is(value, -0) ? "-0.0" : String(value);
      case "symbol":
        return this.#text(`<${value.toString()}>`);
      default:
        return "null";
    }
  }

  #object(value: object, level: number): string {
    if (this.#left <= 0 || level > JSON_DEPTH_MAX) return this.#take('"..."');
    if (this.#open.has(value)) return this.#take('"<Recursion>"');
    this.#open.add(value);
    let text: string;
    try {
      text = this.#known(value, level) ?? this.#record(Object.entries(value), level);
    } catch (error) {
      // A getter or `toJSON` of the value has thrown.
      text = this.#take(this.#text(`<${nameOf(value)}: cannot be read: ${messageOf(error)}>`));
    }
    this.#open.delete(value);
    return text;
  }

  /** Formats an object that is not a plain record; null if it is one. */
  #known(value: object, level: number): string | null {
    if (Array.isArray(value)) return this.#list(value, level);
    if (isRawJson(value)) return this.#take(value.rawJSON);
    if (value instanceof Uint8Array) {
      return this.#take(this.#escaped(bytesJson(value.subarray(0, Math.max(0, this.#left)))));
    }
    const toJson: unknown = (value as { toJSON?: unknown }).toJSON;
    if (typeof toJson === "function") return this.write(toJson.call(value, ""), level + 1);
    if (isBoxed(value)) {
      return this.write(value.valueOf(), level);
    }
    if (value instanceof Set) return this.#list([...value], level);
    if (value instanceof Map) {
      return this.#record([...value].map(([key, item]) => [keyText(key), item]), level);
    }
    if (value instanceof Error) return this.#take(this.#text(`${value.name}: ${value.message}`));
    return value instanceof RegExp ? this.#take(this.#text(String(value))) : null;
  }

  #list(items: readonly unknown[], level: number): string {
    const parts: string[] = [];
    for (let n = 0; n < items.length; n++) {
      if (this.#left <= 0) {
        parts.push('"..."');
        break;
      }
      parts.push(this.write(items[n], level + 1));
    }
    return this.#joined("[", parts, "]", level);
  }

  #record(entries: [string, unknown][], level: number): string {
    if (this.#indent > 0) entries.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
    const parts: string[] = [];
    for (const [key, item] of entries) {
      if (item === undefined) continue;
      if (this.#left <= 0) {
        parts.push(`"..."${this.#colon}"..."`);
        break;
      }
      const name = this.#take(this.#text(key));
      parts.push(`${name}${this.#colon}${this.write(item, level + 1)}`);
    }
    return this.#joined("{", parts, "}", level);
  }

  #joined(start: string, parts: string[], end: string, level: number): string {
    this.#left -= 2 + parts.length;
    if (this.#indent === 0 || parts.length === 0) return start + parts.join(this.#comma) + end;
    const pad = " ".repeat(this.#indent * (level + 1));
    return `${start}\n${pad}${parts.join(`,\n${pad}`)}\n${" ".repeat(this.#indent * level)}${end}`;
  }

  #text(text: string): string {
    const isLong = text.length > this.#left;
    return this.#escaped(quoted(isLong ? `${text.slice(0, Math.max(0, this.#left))}...` : text));
  }

  /**
   * Escapes the control characters above U+007E too, since they may end a line or control a terminal; JSON
   * escapes only the first 32.
   */
  #escaped(json: string): string {
    return json.replace(this.#isAscii ? NOT_ASCII : BREAKS, escapeChar);
  }

  #take(text: string): string {
    this.#left -= text.length;
    return text;
  }
}

const BREAKS = /[\x7f-\x9f\u2028\u2029]/g;
const NOT_ASCII = /[\x7f-\uffff]/g;

function escapeChar(char: string): string {
  return "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0");
}

function keyText(key: unknown): string {
  return typeof key === "string" ? key : shownJson(key);
}

function functionName(value: unknown): string {
  try {
    return String((value as { name: unknown }).name || "anonymous");
  } catch {
    return "anonymous"; // a class whose `name` throws
  }
}

function nameOf(value: object): string {
  try {
    return String(value.constructor.name);
  } catch {
    return "object"; // nothing of it can be read
  }
}

function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error);
  } catch {
    return "for an unknown reason"; // an error that cannot be read either
  }
}
