/** One end of a slot's socket: bytes in as they come, bytes out in order, with one write under way at a time. */

import type { ByteStream } from "../../base/mod.ts";

/** As much as a socket of the system holds by default: a large frame is read in few pieces. */
const READ_BYTES = 256 * 1024;
/** What waits is joined into writes of at most so much. */
const JOIN_BYTES_MAX = 256 * 1024;

/** The end of a stream that frames go through. */
export class Pump {
  #stream: ByteStream;
  #pending: Uint8Array[] = [];
  #writing: Promise<void> | null = null;
  #isClosed = false;

  /** Nothing is read before `run`. */
  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /** Hands over bytes until the stream ends or breaks; `onBytes` is done with them when it returns. Never rejects. */
  async run(onBytes: (bytes: Uint8Array) => void): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    try {
      for (;;) {
        const count = await this.#stream.read(buffer);
        if (count === null) break;
        onBytes(buffer.subarray(0, count));
      }
    } catch {
      // A broken stream is the end of its other side.
    }
    this.close();
  }

  /** Written at once where nothing is on the way: the system has the bytes then, whatever becomes of us. */
  send(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#writing === null) this.#writing = this.#write(bytes);
    else this.#pending.push(bytes);
  }

  /** Resolves when all that was sent is written; null where it is. */
  drained(): Promise<void> | null {
    return this.#writing;
  }

  /** Whether it has ended, by either side. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Ends the stream. Twice is once. */
  close(): void {
    this.#isClosed = true;
    this.#pending.length = 0;
    this.#stream.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      await this.#stream.write(bytes);
      while (this.#pending.length > 0) await this.#stream.write(this.#join());
    } catch {
      this.close();
    }
    this.#writing = null;
  }

  #join(): Uint8Array {
    const pending = this.#pending;
    let count = 1, length = pending[0]!.length;
    while (count < pending.length && length + pending[count]!.length <= JOIN_BYTES_MAX) {
      length += pending[count++]!.length;
    }
    const parts = pending.splice(0, count);
    if (count === 1) return parts[0]!;
    const joined = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      joined.set(part, at);
      at += part.length;
    }
    return joined;
  }
}
