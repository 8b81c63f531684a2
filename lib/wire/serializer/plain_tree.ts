/**
 * Converts values to and from trees of plain values, for the serializers other than JSON: `undefined` becomes
 * null, `toJSON` is called, and functions, cycles and the like are refused with their place.
 */

import { narrowInteger } from "./binary_reader.ts";
import { DecodeError, EncodeError } from "../errors.ts";
import { isBoxed, lostKind } from "../json/form.ts";
import { isRawJson } from "../raw_json.ts";
import { JSON_DEPTH_MAX, WRITTEN_DEPTH_MAX } from "../json/json.ts";
import { setOwn } from "../record.ts";
import { dateFault } from "../times.ts";

/** What a format can carry apart from texts, numbers, booleans, null, arrays and records. */
export interface PlainTreeOptions {
  /** The format's name, for errors. */
  format: string;
  /** True: dates are kept. False: refused. */
  dates: boolean;
  /** True: sets are kept. False: refused. */
  sets: boolean;
  /** True: half of a surrogate pair is kept. False: refused, since it has no UTF-8 form. */
  surrogates: boolean;
  /** The maximum size of a bigint in bits, signed or unsigned; 0: any. */
  bigintBits: number;
}

/**
 * Returns a copy of `value` that the format can carry without loss. Bytes and bigints are not copied. Throws
 * EncodeError.
 */
export function plainTree(value: unknown, options: PlainTreeOptions): unknown {
  return new Copier(options).copy(value);
}

/**
 * The maximum number of values in a decoded document. A value that is used several times is counted each
 * time.
 */
const DECODED_VALUES_MAX = 1_000_000;

/**
 * Normalizes a decoded value in place: bigints that are safe integers become numbers, and bytes become copies
 * (libraries return views of the message, or Node's Buffer). Throws DecodeError for a value that contains
 * itself, is nested deeper than 1000 levels, or has more than a million values: written in a format without
 * references, it would have no end.
 */
export function normalizeDecoded(value: unknown): unknown {
  return new Normalizer().normalize(value);
}

class Normalizer {
  #open = new Set<object>();
  #known = new Map<object, { value: unknown; count: number }>();
  #count = 0;

  normalize(value: unknown): unknown {
    if (++this.#count > DECODED_VALUES_MAX) throw refused(`more than ${DECODED_VALUES_MAX} values`);
    if (typeof value === "bigint") return narrowInteger(value);
    if (typeof value !== "object" || value === null) return value;
    const known = this.#known.get(value);
    if (known !== undefined) {
      this.#count += known.count;
      return known.value;
    }
    if (this.#open.has(value)) throw refused("a value contains itself");
    if (this.#open.size > JSON_DEPTH_MAX) throw refused(`nested deeper than ${JSON_DEPTH_MAX}`);
    const before = this.#count;
    this.#open.add(value);
    const normalized = this.#object(value);
    this.#open.delete(value);
    this.#known.set(value, { value: normalized, count: this.#count - before });
    return normalized;
  }

  #object(value: object): unknown {
    if (Array.isArray(value)) {
      for (let n = 0; n < value.length; n++) value[n] = this.normalize(value[n]);
      return value;
    }
    if (value instanceof Uint8Array) return new Uint8Array(value);
    if (value instanceof Set) return new Set([...value].map((item) => this.normalize(item)));
    if (value instanceof Map) {
      return new Map([...value].map(([key, item]) => [this.normalize(key), this.normalize(item)]));
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) return value;
    const record = value as Record<string, unknown>;
    for (const key of Object.keys(record)) {
      const item = record[key];
      const normalized = this.normalize(item);
      if (normalized !== item) setOwn(record, key, normalized);
    }
    return value;
  }
}

function refused(reason: string): DecodeError {
  return new DecodeError(`Cannot decode body: ${reason}`);
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
      case "string":
        return this.#text(value);
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

  #text(text: string): string {
    if (!this.#options.surrogates && !text.isWellFormed()) throw this.#refuse("half of a surrogate pair");
    return text;
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
    if (isRawJson(value)) return Number(value.rawJSON);
    if (value instanceof Date) {
      const fault = this.#options.dates ? dateFault(value) : "a Date";
      if (fault !== null) throw this.#refuse(fault);
      return value;
    }
    if (this.#open.includes(value)) throw this.#refuse("it contains itself");
    if (this.#open.length >= WRITTEN_DEPTH_MAX) throw this.#refuse(`nested deeper than ${WRITTEN_DEPTH_MAX}`);
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
    if (isBoxed(value)) return this.copy(value.valueOf());
    const kind = lostKind(value);
    if (kind !== null) throw this.#refuse(kind);
    const copy: Record<string, unknown> = {};
    for (const key of Object.keys(value)) {
      const item = this.#part(key, (value as Record<string, unknown>)[key]);
      setOwn(copy, this.#text(key), item);
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
