/**
 * A value as a tree of plain parts, for the serializers that are not JSON: `undefined` as null, `toJSON`
 * obeyed, functions, cycles and the like refused with their place.
 */

import { EncodeError } from "./errors.ts";
import { setOwn } from "./record.ts";

/** What a format can carry beside texts, numbers, booleans, null, arrays and records. */
export interface PlainTreeOptions {
  /** The format's name, for errors. */
  format: string;
  /** Dates as they are, or refused. */
  dates: boolean;
  /** Sets as they are, or refused. */
  sets: boolean;
  /** The largest size of a bigint in bits, signed; 0: any. */
  bigintBits: number;
}

const DEPTH_MAX = 1000;

/**
 * A copy of `value` without anything the format would lose. Throws EncodeError. Bytes and bigints stay
 * themselves.
 */
export function plainTree(value: unknown, options: PlainTreeOptions): unknown {
  return new Copier(options).copy(value);
}

/**
 * Bigints that are safe integers become numbers, and bytes become a Uint8Array of their own (libraries give
 * views of the message, or Node's Buffer), all through a freshly decoded value; changes it in place.
 */
export function settleDecoded(value: unknown, depth = 0): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (typeof value !== "object" || value === null || depth > DEPTH_MAX) return value;
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) value[n] = settleDecoded(value[n], depth + 1);
    return value;
  }
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (value instanceof Set) return new Set([...value].map((item) => settleDecoded(item, depth + 1)));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const record = value as Record<string, unknown>;
  for (const key of Object.keys(record)) {
    const item = record[key];
    const settled = settleDecoded(item, depth + 1);
    if (settled !== item) setOwn(record, key, settled);
  }
  return value;
}

class Copier {
  #options: PlainTreeOptions;
  #open: unknown[] = [];
  #path: (string | number)[] = [];

  constructor(options: PlainTreeOptions) {
    this.#options = options;
  }

  copy(value: unknown): unknown {
    switch (typeof value) {
      case "undefined":
        return null;
      case "bigint":
        return this.#bigint(value);
      case "function":
      case "symbol":
        throw this.#refuse(`a ${typeof value}`);
      case "object":
        return value === null ? null : this.#object(value);
      default:
        return value;
    }
  }

  #bigint(value: bigint): bigint {
    const bits = this.#options.bigintBits;
    if (bits > 0 && BigInt.asIntN(bits, value) !== value && BigInt.asUintN(bits, value) !== value) {
      throw this.#refuse("an integer out of range");
    }
    return value;
  }

  #object(value: object): unknown {
    if (value instanceof Uint8Array) return value;
    if (value instanceof Date) {
      if (!this.#options.dates || Number.isNaN(value.getTime())) throw this.#refuse("a Date");
      return value;
    }
    if (this.#open.includes(value)) throw this.#refuse("it contains itself");
    if (this.#open.length > DEPTH_MAX) throw this.#refuse(`nested deeper than ${DEPTH_MAX}`);
    this.#open.push(value);
    const copy = this.#container(value);
    this.#open.pop();
    return copy;
  }

  #container(value: object): unknown {
    if (Array.isArray(value)) return value.map((item, n) => this.#part(n, item));
    if (value instanceof Set && this.#options.sets) {
      return new Set([...value].map((item, n) => this.#part(n, item)));
    }
    const toJson: unknown = (value as { toJSON?: unknown }).toJSON;
    if (typeof toJson === "function") return this.copy(toJson.call(value, ""));
    if (value instanceof Number || value instanceof String || value instanceof Boolean) {
      return value.valueOf();
    }
    const isLost = value instanceof Map || value instanceof Set || value instanceof Error ||
      value instanceof Promise || value instanceof RegExp || ArrayBuffer.isView(value) ||
      value instanceof ArrayBuffer;
    if (isLost) throw this.#refuse(`a ${value.constructor.name}`);
    const copy: Record<string, unknown> = {};
    for (const key of Object.keys(value)) {
      const item = this.#part(key, (value as Record<string, unknown>)[key]);
      setOwn(copy, key, item);
    }
    return copy;
  }

  #part(key: string | number, value: unknown): unknown {
    this.#path.push(key);
    const copy = this.copy(value);
    this.#path.pop();
    return copy;
  }

  #refuse(what: string): EncodeError {
    const place = this.#path.slice(0, 20).map((part) => typeof part === "number" ? `[${part}]` : `.${part}`)
      .join("");
    return new EncodeError(
      `Cannot encode ${this.#options.format}: ${what}${place === "" ? "" : ` at ${place}`}`,
    );
  }
}
