/** Listening unix sockets. */

import type { ByteStream } from "../base/mod.ts";
import { byteStream } from "./stream.ts";

/** A listening socket. */
export interface Listener {
  /** Accepts no more connections; open streams stay open. Idempotent. */
  close(): void;
}

/**
 * Listens at `path`. If its first character is NUL, the socket is abstract and has no file (Linux). Calls
 * `onStream` for each connection, and `onError` once if accepting fails. Throws what `Deno.listen` throws.
 */
export function listenUnix(
  path: string,
  onStream: (stream: ByteStream) => void,
  onError: (error: unknown) => void,
): Listener {
  const listener = Deno.listen({ transport: "unix", path });
  let isClosed = false;
  void (async () => {
    try {
      for (;;) onStream(byteStream(await listener.accept()));
    } catch (error) {
      if (!isClosed) onError(error);
    }
  })();
  return {
    close() {
      if (isClosed) return;
      isClosed = true;
      listener.close();
    },
  };
}
