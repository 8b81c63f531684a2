/**
 * An output buffer: everything sent in one turn is appended to one growing buffer, and is written at once.
 *
 * There are two buffers: while one is being written, new bytes are appended to the other. No array is
 * allocated per command.
 */

import { assert } from "./assert.ts";

const FIRST_BYTES = 16 * 1024;
/** A buffer larger than this is dropped once its bytes are written. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;

/** Texts up to this length are tried in a loop first. */
const LOOP_CHARS_MAX = 40;

const encoder = new TextEncoder();

/** A reusable output buffer. Its owner must bound it by `length`. */
export class Outbox {
  #filling: Uint8Array = new Uint8Array(FIRST_BYTES);
  #spare: Uint8Array | null = null;
  #length = 0;
  #isOut = false;

  /** The number of bytes appended since the last `take`. */
  get length(): number {
    return this.#length;
  }

  /** Appends one byte, 0 to 255. */
  byte(value: number): void {
    this.reserve(1);
    this.#filling[this.#length++] = value;
  }

  /** Appends a copy of `bytes`. */
  bytes(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.#filling.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Appends a text as UTF-8. Returns the number of bytes written. */
  text(text: string): number {
    if (text.length <= LOOP_CHARS_MAX && this.#asciiText(text)) return text.length;
    // UTF-8 takes at most three bytes per UTF-16 unit, but most text is ASCII. So room for one byte per unit
    // is tried first, and three are reserved only if the text did not fit.
    if (this.#filling.length - this.#length < text.length) this.reserve(text.length);
    const { read, written } = encoder.encodeInto(text, this.#filling.subarray(this.#length));
    if (read < text.length) {
      this.reserve(text.length * 3);
      return this.text(text);
    }
    this.#length += written;
    return written;
  }

  /**
   * Appends a text if it is ASCII; returns false if it is not. For short texts a loop is faster than the
   * runtime's encoder.
   */
  #asciiText(text: string): boolean {
    this.reserve(text.length);
    const buffer = this.#filling;
    const start = this.#length;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 127) return false;
      buffer[start + i] = unit;
    }
    this.#length = start + text.length;
    return true;
  }

  /** Appends a non-negative whole number in decimal digits. */
  decimal(value: number): void {
    if (value < 10) return this.byte(48 + value);
    let digits = 1;
    for (let bound = 10; bound <= value; bound *= 10) digits++;
    this.reserve(digits);
    this.writeDecimal(this.#length, value, digits);
    this.#length += digits;
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#filling.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#filling.length * 2));
    grown.set(this.#filling.subarray(0, this.#length));
    this.#filling = grown;
  }

  /**
   * Skips `count` bytes that `writeDecimal` or `writeByte` fill later. Returns the position of the first one.
   */
  skip(count: number): number {
    this.reserve(count);
    const at = this.#length;
    this.#length += count;
    return at;
  }

  /**
   * Moves the bytes from `start` to the end by `by`, forward or (if negative) back. The length changes by as
   * much.
   */
  shift(start: number, by: number): void {
    if (by > 0) this.reserve(by);
    this.#filling.copyWithin(start + by, start, this.#length);
    this.#length += by;
  }

  /** Writes one byte at a position already appended. */
  writeByte(at: number, value: number): void {
    this.#filling[at] = value;
  }

  /** Writes `value` in exactly `digits` decimal digits at a position already appended. */
  writeDecimal(at: number, value: number, digits: number): void {
    for (let i = at + digits - 1; i >= at; i--) {
      const rest = Math.floor(value / 10);
      this.#filling[i] = 48 + (value - rest * 10);
      value = rest;
    }
  }

  /**
   * Takes everything appended so far. The view stays unchanged until `release`, and only one may be out at a
   * time. Later bytes go to the other buffer.
   */
  take(): Uint8Array {
    assert(!this.#isOut, "one view is out at a time");
    this.#isOut = true;
    const taken = this.#filling;
    const length = this.#length;
    this.#filling = this.#spare ?? new Uint8Array(FIRST_BYTES);
    this.#spare = null;
    this.#length = 0;
    return taken.subarray(0, length);
  }

  /** Gives back the view of the last `take`, once its bytes are written. */
  release(view: Uint8Array): void {
    this.#isOut = false;
    if (view.buffer.byteLength > KEPT_BYTES_MAX) return;
    this.#spare = new Uint8Array(view.buffer as ArrayBuffer);
  }
}
