/** What decompressors share: the bytes that they make one after the other, up to a limit, and their errors. */

import { DecodeError } from "../errors.ts";

/** Data that is not what it claims to be. */
export class BrokenData extends Error {}

/** The error of data that unpacks to more than `bytesMax` bytes. */
export function tooLarge(bytesMax: number): DecodeError {
  return new DecodeError(`Cannot decompress body: more than ${bytesMax} bytes unpacked`);
}

/** A growing buffer that also serves as the dictionary. `room` throws DecodeError past the limit. */
export class Unpacked {
  /** May be longer than what was written, and another after `room`. */
  bytes: Uint8Array;
  length = 0;
  #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.bytes = new Uint8Array(Math.min(bytesMax, 4096));
  }

  /** Makes room for `count` more bytes. */
  room(count: number): void {
    const needed = this.length + count;
    if (needed > this.#bytesMax) throw tooLarge(this.#bytesMax);
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.min(this.#bytesMax, Math.max(needed, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  append(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** What was written since `from`: a view. */
  since(from: number): Uint8Array {
    return this.bytes.subarray(from, this.length);
  }
}
