/** A Deno connection as a ByteStream. */

import type { ByteStream } from "../base/mod.ts";

/** The part of a `Deno.Conn` that a stream needs. */
export interface RawConnection {
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** Wraps a connection. Writes made while another is under way follow it in order. */
export function byteStream(connection: RawConnection): ByteStream {
  let lastWrite: Promise<void> | null = null;
  let isClosed = false;

  async function writeAll(bytes: Uint8Array): Promise<void> {
    let written = await connection.write(bytes);
    // Deno may write fewer bytes than given.
    while (written < bytes.length) written += await connection.write(bytes.subarray(written));
  }

  return {
    read: (buffer) => connection.read(buffer),
    write(bytes) {
      const before = lastWrite;
      const write = before === null ? writeAll(bytes) : before.then(() => writeAll(bytes));
      const done = write.finally(() => {
        if (lastWrite === done) lastWrite = null;
      });
      lastWrite = done;
      return done;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      try {
        connection.close();
      } catch {
        // The runtime has closed it already.
      }
    },
  };
}
