/**
 * Reads bytes in sequence, for formats of tagged values (msgpack, cbor). A declared length allocates nothing
 * until its bytes are checked to be there, since it comes from outside.
 */

import { DecodeError } from "../errors.ts";
import { JSON_DEPTH_MAX } from "../json/json.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A cursor over bytes. Every read throws DecodeError if the bytes end too early. */
export class BinaryReader {
  #format: string;
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;
  #depth = 0;

  /** `format` is named in errors. */
  constructor(bytes: Uint8Array, format: string) {
    this.#format = format;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The number of bytes left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Returns the next byte without consuming it. */
  peek(): number {
    this.#need(1);
    return this.#bytes[this.#at]!;
  }

  /** Reads an unsigned integer of 1, 2 or 4 bytes. */
  uint(size: 1 | 2 | 4): number {
    const at = this.#take(size);
    return size === 1
      ? this.#view.getUint8(at)
      : size === 2
      ? this.#view.getUint16(at)
      : this.#view.getUint32(at);
  }

  /** Reads a signed integer of 1, 2 or 4 bytes. */
  int(size: 1 | 2 | 4): number {
    const at = this.#take(size);
    return size === 1
      ? this.#view.getInt8(at)
      : size === 2
      ? this.#view.getInt16(at)
      : this.#view.getInt32(at);
  }

  /** Reads an integer of 8 bytes: as a number if it is a safe integer, else as a bigint. */
  long(isSigned: boolean): number | bigint {
    const at = this.#take(8);
    return narrowInteger(isSigned ? this.#view.getBigInt64(at) : this.#view.getBigUint64(at));
  }

  /** Reads a float of 2, 4 or 8 bytes. */
  float(size: 2 | 4 | 8): number {
    const at = this.#take(size);
    if (size === 2) return this.#view.getFloat16(at);
    return size === 4 ? this.#view.getFloat32(at) : this.#view.getFloat64(at);
  }

  /** Skips `count` bytes. */
  skip(count: number | bigint): void {
    this.#take(count);
  }

  /** Reads `count` bytes into a copy. */
  bytes(count: number | bigint): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.slice(at, this.#at);
  }

  /** Reads `count` bytes of UTF-8. Throws DecodeError if they are not UTF-8. */
  text(count: number | bigint): string {
    const at = this.#take(count);
    try {
      return UTF8.decode(this.#bytes.subarray(at, this.#at));
    } catch {
      throw this.refuse("a string is not UTF-8");
    }
  }

  /** Runs `read` one level deeper. Throws DecodeError if the value is nested too deep. */
  within<T>(read: () => T): T {
    if (++this.#depth > JSON_DEPTH_MAX) throw this.refuse(`nested deeper than ${JSON_DEPTH_MAX}`);
    const value = read();
    this.#depth--;
    return value;
  }

  /** Returns the error for these bytes. */
  refuse(reason: string): DecodeError {
    return new DecodeError(`Cannot decode ${this.#format}: ${reason}`);
  }

  #need(count: number | bigint): void {
    if (count > this.left) throw this.refuse("it ends too early");
  }

  #take(count: number | bigint): number {
    this.#need(count);
    const at = this.#at;
    this.#at += Number(count);
    return at;
  }
}

/** Returns a bigint as a number if it is a safe integer. */
export function narrowInteger(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
