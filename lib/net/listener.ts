/** Unix sockets that this program listens on. */

import type { ByteStream } from "../base/mod.ts";
import { byteStream } from "./stream.ts";

/** A socket that is listened on. */
export interface Listener {
  /** Accepts no more; streams that are open stay so. Twice is once. */
  close(): void;
}

/**
 * Listens at `path`; a first character NUL makes it an abstract one, of which no file exists (Linux). `onStream` is
 * given each connection; `onError` hears once where accepting fails. Throws what `Deno.listen` throws.
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
