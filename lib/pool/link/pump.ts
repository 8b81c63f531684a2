/** One end of a slot's socket: delivers bytes as they arrive, and writes in order, one write at a time. */

import type { ByteStream } from "../../base/mod.ts";

/** The default buffer size of a socket: a large frame is read in few pieces. */
const READ_BYTES = 256 * 1024;
/** Maximum size of a write that joins pending bytes. */
const JOIN_BYTES_MAX = 256 * 1024;

/** The end of a stream that carries frames. */
export class Pump {
  #stream: ByteStream;
  #pending: Uint8Array[] = [];
  #writing: Promise<void> | null = null;
  #isClosed = false;

  /** Reads nothing before `run`. */
  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  /**
   * Delivers bytes until the stream ends or breaks; they are valid until `onBytes` returns. Never rejects.
   */
  async run(onBytes: (bytes: Uint8Array) => void): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    try {
      for (;;) {
        const count = await this.#stream.read(buffer);
        if (count === null) break;
        onBytes(buffer.subarray(0, count));
      }
    } catch {
      // A broken stream means that the other side has ended.
    }
    this.close();
  }

  /** Writes at once if no write is under way, so that the system has the bytes even if this process ends. */
  send(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#writing === null) this.#writing = this.#write(bytes);
    else this.#pending.push(bytes);
  }

  /** Resolves when everything sent has been written; null if it has been already. Never rejects. */
  drained(): Promise<void> | null {
    return this.#writing;
  }

  /** True if either side has closed the stream. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Closes the stream. Idempotent. */
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
