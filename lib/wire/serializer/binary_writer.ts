/** Writes bytes in sequence, for msgpack. binary_reader.ts reads them. */

/** A growing buffer. */
export class BinaryWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /** Returns a copy of the bytes written. */
  take(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  /** Writes an unsigned integer of 1, 2 or 4 bytes. */
  uint(size: 1 | 2 | 4, value: number): void {
    const at = this.#room(size);
    if (size === 1) this.#view.setUint8(at, value);
    else if (size === 2) this.#view.setUint16(at, value);
    else this.#view.setUint32(at, value);
  }

  /** Writes an integer of 8 bytes, signed or unsigned. */
  long(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, BigInt.asUintN(64, value));
  }

  /** Writes a float of 8 bytes. */
  float(value: number): void {
    const at = this.#room(8);
    this.#view.setFloat64(at, value);
  }

  /** Writes bytes as they are. */
  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  #room(count: number): number {
    const at = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}
