/** The limited output buffer of our decompressors, and their errors. */

import { DecodeError } from "../errors.ts";

/** The error of data that is not in the expected format. */
export class BrokenData extends Error {}

/** Returns the error of data that unpacks to more than `bytesMax` bytes. */
export function tooLarge(bytesMax: number): DecodeError {
  return new DecodeError(`Cannot decompress body: more than ${bytesMax} bytes unpacked`);
}

/** A growing buffer that also serves as the dictionary. `room` throws DecodeError beyond the limit. */
export class Unpacked {
  /** May be longer than `length`, and is replaced when `room` needs more space. */
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

  /** Returns a view of the bytes written since `from`. */
  since(from: number): Uint8Array {
    return this.bytes.subarray(from, this.length);
  }
}
