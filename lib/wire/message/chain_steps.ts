/**
 * The remaining steps of a chain, as each of its messages carries them. Every step carries all later ones, so
 * a step of a long chain takes one off and passes the rest on as the bytes in which it came.
 *
 * Source: celery 5.2.6 app/trace.py trace_task (the next step is the last of the list); protocol.md 8.4.
 */

import { DecodeError, InvalidTaskError } from "../errors.ts";
import { fromCarriedJson } from "../json/carried.ts";
import { toJson } from "../json/json.ts";
import type { WireSignature } from "./message.ts";
import { kindOf, recordOrNull } from "../record.ts";

/**
 * The later steps of a chain, as carried values in reverse order: the last one runs next. Decoded only as far
 * as needed.
 */
export class ChainSteps {
  /** All steps as values, or null. */
  readonly #steps: WireSignature[] | null;
  /** All steps as JSON, separated by commas, or null. */
  readonly #bytes: Uint8Array | null;
  /** The position of the last step in the bytes; -1: not searched yet. */
  #lastAt = -1;

  private constructor(steps: WireSignature[] | null, bytes: Uint8Array | null) {
    this.#steps = steps;
    this.#bytes = bytes;
  }

  /** Returns the steps of signatures in wire form, at least one. */
  static of(steps: WireSignature[]): ChainSteps {
    return new ChainSteps(steps, null);
  }

  /** Returns the steps of the UTF-8 bytes between the brackets of a JSON list of at least one signature. */
  static ofBytes(bytes: Uint8Array): ChainSteps {
    return new ChainSteps(null, bytes);
  }

  /** The step that runs next. Throws DecodeError or InvalidTaskError if it cannot be read. */
  get next(): WireSignature {
    if (this.#bytes === null) return this.#steps!.at(-1)!;
    return signatureOf(fromCarriedJson(DECODER.decode(this.#bytes.subarray(this.#last()))));
  }

  /** The steps after that one; null if there are none. Throws DecodeError. */
  get later(): ChainSteps | null {
    if (this.#bytes === null) {
      return this.#steps!.length > 1 ? ChainSteps.of(this.#steps!.slice(0, -1)) : null;
    }
    const end = backOverBlanks(this.#bytes, this.#last());
    if (end === 0) return null;
    if (this.#bytes[end - 1] !== COMMA) throw new DecodeError("Cannot decode JSON: a chain is not a list");
    return ChainSteps.ofBytes(this.#bytes.subarray(0, end - 1));
  }

  /** Returns all steps in reverse order. Throws DecodeError or InvalidTaskError. */
  all(): WireSignature[] {
    if (this.#bytes === null) return this.#steps!;
    return (fromCarriedJson(`[${DECODER.decode(this.#bytes)}]`) as unknown[]).map(signatureOf);
  }

  /** Returns the JSON of the steps, separated by commas, between two texts. Throws EncodeError. */
  within(before: string, after: string): string | Uint8Array {
    if (this.#bytes === null) return before + toJson(this.#steps).slice(1, -1) + after;
    const head = ENCODER.encode(before), tail = ENCODER.encode(after);
    const whole = new Uint8Array(head.length + this.#bytes.length + tail.length);
    whole.set(head);
    whole.set(this.#bytes, head.length);
    whole.set(tail, head.length + this.#bytes.length);
    return whole;
  }

  #last(): number {
    if (this.#lastAt < 0) {
      const bytes = this.#bytes!;
      const end = backOverBlanks(bytes, bytes.length);
      this.#lastAt = backOverValue(bytes, end);
      if (this.#lastAt < 0 || this.#lastAt === end) {
        throw new DecodeError("Cannot decode JSON: a chain is not a list");
      }
    }
    return this.#lastAt;
  }
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
const CHAIN_KEY = ENCODER.encode('"chain"');
const CHORD_KEY = ENCODER.encode('"chord"');

/** The place of the chain in the JSON of a task's body: the bounds of the list, without its brackets. */
export interface ChainPlace {
  readonly start: number;
  readonly end: number;
}

/**
 * Finds the chain in the JSON of `[args, kwargs, embed]`, if embed ends with `chain` and `chord`, as Celery
 * and we write it. Null if there is no chain, or if the form is another one. Reads the text before and after
 * the list, but never the list itself.
 */
export function findChain(json: Uint8Array): ChainPlace | null {
  // The end first: it is found fast, and most bodies have no chain there.
  const end = chainEnd(json);
  if (end < 0) return null;
  const start = chainStart(json);
  return start < 0 || skipBlanks(json, start) >= end ? null : { start, end };
}

function signatureOf(value: unknown): WireSignature {
  const record = recordOrNull(value);
  if (record === null || typeof record["task"] !== "string") {
    throw new InvalidTaskError(`Task embed "chain" holds ${kindOf(value)} instead of a signature`);
  }
  return record as WireSignature;
}

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, COLON = 0x3a;
const OPEN_LIST = 0x5b, CLOSE_LIST = 0x5d, OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d;

/** Returns the position after the opening bracket of embed's `chain`, or -1. */
function chainStart(json: Uint8Array): number {
  let at = skipBlanks(json, 0);
  if (json[at++] !== OPEN_LIST) return -1;
  for (let part = 0; part < 2; part++) {
    at = skipBlanks(json, skipValue(json, skipBlanks(json, at)));
    if (json[at++] !== COMMA) return -1;
  }
  at = skipBlanks(json, at);
  if (json[at++] !== OPEN_OBJECT) return -1;
  for (;;) {
    at = skipBlanks(json, at);
    if (json[at] !== QUOTE) return -1;
    const key = skipValue(json, at);
    const isChain = isAt(json, CHAIN_KEY, at);
    at = skipBlanks(json, key);
    if (json[at++] !== COLON) return -1;
    at = skipBlanks(json, at);
    if (isChain) return json[at] === OPEN_LIST ? at + 1 : -1;
    at = skipBlanks(json, skipValue(json, at));
    if (json[at++] !== COMMA) return -1;
  }
}

/** Returns the position of the closing bracket of embed's `chain`, if only `chord` follows it, or -1. */
function chainEnd(json: Uint8Array): number {
  let at = backOverBlanks(json, json.length);
  if (json[--at] !== CLOSE_LIST) return -1;
  at = backOverBlanks(json, at);
  if (json[--at] !== CLOSE_OBJECT) return -1;
  at = backOverBlanks(json, backOverValue(json, backOverBlanks(json, at)));
  if (at <= 0 || json[--at] !== COLON) return -1;
  at = backOverBlanks(json, at);
  if (!isAt(json, CHORD_KEY, at - CHORD_KEY.length)) return -1;
  at = backOverBlanks(json, at - CHORD_KEY.length);
  if (json[--at] !== COMMA) return -1;
  at = backOverBlanks(json, at);
  return at > 0 && json[--at] === CLOSE_LIST ? at : -1;
}

function isBlank(code: number | undefined): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function skipBlanks(json: Uint8Array, at: number): number {
  while (isBlank(json[at])) at++;
  return at;
}

function backOverBlanks(json: Uint8Array, end: number): number {
  while (end > 0 && isBlank(json[end - 1])) end--;
  return end;
}

/**
 * Returns the position after the value that begins at `at`; the end of the text if the value does not end.
 */
function skipValue(json: Uint8Array, at: number): number {
  let depth = 0;
  for (; at < json.length; at++) {
    const code = json[at];
    if (code === QUOTE) {
      at++;
      while (at < json.length && json[at] !== QUOTE) {
        at += json[at] === BACKSLASH ? 2 : 1;
      }
    } else if (code === OPEN_LIST || code === OPEN_OBJECT) depth++;
    else if (code === CLOSE_LIST || code === CLOSE_OBJECT) depth--;
    // A number or a word ends at the first character that cannot be part of one.
    else if (depth === 0) {
      while (at < json.length && isWord(json[at])) at++;
      return at;
    }
    if (depth <= 0) return at + 1;
  }
  return at;
}

/**
 * Returns the start of the value that ends before `end`, or -1. In JSON, backslashes occur only within
 * strings. So a quote after an even number of them begins or ends a string, which can be seen from both
 * sides.
 */
function backOverValue(json: Uint8Array, end: number): number {
  let depth = 0;
  for (let at = end - 1; at >= 0; at--) {
    const code = json[at];
    if (code === QUOTE) {
      do at--; while (at >= 0 && (json[at] !== QUOTE || isEscaped(json, at)));
      if (at < 0) return -1;
    } else if (code === CLOSE_LIST || code === CLOSE_OBJECT) depth++;
    else if (code === OPEN_LIST || code === OPEN_OBJECT) {
      if (--depth < 0) return -1;
    } else if (depth === 0) {
      while (at >= 0 && isWord(json[at])) at--;
      return at + 1;
    }
    if (depth === 0) return at;
  }
  return -1;
}

function isEscaped(json: Uint8Array, at: number): boolean {
  let count = 0;
  while (json[at - 1 - count] === BACKSLASH) count++;
  return count % 2 === 1;
}

/** Returns true for characters of numbers, `true`, `false`, `null` and Python's `NaN` and `Infinity`. */
function isWord(code: number | undefined): boolean {
  if (code === undefined) return false;
  return (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) ||
    code === 0x2d || code === 0x2b || code === 0x2e;
}

function isAt(json: Uint8Array, key: Uint8Array, at: number): boolean {
  return at >= 0 && key.every((byte, n) => json[at + n] === byte);
}
