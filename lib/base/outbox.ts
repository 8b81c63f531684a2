/**
 * Bytes on their way out: one growing buffer that everything of a turn is appended to, and that leaves in one write.
 *
 * Two buffers take turns: while the bytes taken last are being written, new ones are appended to the other. No
 * array is made per command.
 */

import { assert } from "./assert.ts";

const FIRST_BYTES = 16 * 1024;
/** A buffer that grew past this is let go once its bytes are written. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;

/** Texts up to this length go through the loop. */
const LOOP_CHARS_MAX = 40;

const encoder = new TextEncoder();

/** A reused outbox. Its owner bounds it: `length` says what waits. */
export class Outbox {
  #filling: Uint8Array = new Uint8Array(FIRST_BYTES);
  #spare: Uint8Array | null = null;
  #length = 0;
  #isOut = false;

  /** How many bytes were appended and not taken. */
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

  /** Appends a text as UTF-8; how many bytes it took. */
  text(text: string): number {
    if (text.length <= LOOP_CHARS_MAX && this.#asciiText(text)) return text.length;
    // Three bytes per UTF-16 unit is the most UTF-8 takes. Where that much is not at hand, one pass over the
    // buffer decides whether it was needed, since most text is ASCII.
    if (this.#filling.length - this.#length < text.length) this.reserve(text.length);
    const { read, written } = encoder.encodeInto(text, this.#filling.subarray(this.#length));
    if (read < text.length) {
      this.reserve(text.length * 3);
      return this.text(text);
    }
    this.#length += written;
    return written;
  }

  /** A short ASCII text is copied faster by a loop than by the runtime's encoder. False: it is not ASCII. */
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

  /** Appends a whole number from 0 in decimal digits. */
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

  /** Skips `count` bytes to be written later by `writeDecimal` or `writeByte`; the position of the first. */
  skip(count: number): number {
    this.reserve(count);
    const at = this.#length;
    this.#length += count;
    return at;
  }

  /** Moves the bytes from `start` on by `by` (either way), and the end with them. */
  shift(start: number, by: number): void {
    if (by > 0) this.reserve(by);
    this.#filling.copyWithin(start + by, start, this.#length);
    this.#length += by;
  }

  /** Writes one byte at a position that was appended before. */
  writeByte(at: number, value: number): void {
    this.#filling[at] = value;
  }

  /** Writes `value` in exactly `digits` decimal digits at a position that was appended before. */
  writeDecimal(at: number, value: number, digits: number): void {
    for (let i = at + digits - 1; i >= at; i--) {
      const rest = Math.floor(value / 10);
      this.#filling[i] = 48 + (value - rest * 10);
      value = rest;
    }
  }

  /**
   * Everything appended so far. The view stays as it is until `release`; only one may be out at a time. What is
   * appended from now on starts a new one.
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

  /** Gives the view of the last `take` back: its bytes are written. */
  release(view: Uint8Array): void {
    this.#isOut = false;
    if (view.buffer.byteLength > KEPT_BYTES_MAX) return;
    this.#spare = new Uint8Array(view.buffer as ArrayBuffer);
  }
}
