/** A server related to Redis: a proxy in front of a real one that changes some requests and replies. */

/** How it differs. */
export interface RelativeOptions {
  /** The role that it reports in HELLO; default that of the real server. */
  readonly role?: string;
  /** False: it accepts CLIENT TRACKING, but announces nothing. */
  readonly announces?: boolean;
}

/** Starts it in front of a server on a port of 127.0.0.1. */
export function startFakeRelative(
  targetPort: number,
  { role, announces = true }: RelativeOptions,
): AsyncDisposable & { readonly port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  const asked = (text: string) =>
    announces ? text : text.replace("TRACKING\r\n$2\r\nON\r\n", "TRACKING\r\n$3\r\nOFF\r\n");
  const said = (text: string) =>
    role === undefined
      ? text
      : text.replace("$4\r\nrole\r\n$6\r\nmaster\r\n", `$4\r\nrole\r\n$${role.length}\r\n${role}\r\n`);
  const accepting = (async () => {
    for await (const client of listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: targetPort });
      open.add(client).add(server);
      void carry(client, server, asked);
      void carry(server, client, said);
    }
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting.catch(() => {});
      for (const conn of open) closed(conn);
    },
  };
}

/** Each byte becomes one character, so that unchanged bytes stay the same. */
async function carry(from: Deno.Conn, to: Deno.Conn, change: (text: string) => string): Promise<void> {
  const decoder = new TextDecoder("latin1");
  const buffer = new Uint8Array(65_536);
  try {
    for (let count; (count = await from.read(buffer)) !== null;) {
      const text = decoder.decode(buffer.subarray(0, count));
      const changed = change(text);
      let bytes = changed === text
        ? buffer.subarray(0, count)
        : Uint8Array.from(changed, (letter) => letter.charCodeAt(0));
      while (bytes.length > 0) bytes = bytes.subarray(await to.write(bytes));
    }
  } catch {
    // either side is gone
  }
  closed(from);
  closed(to);
}

function closed(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // it is closed
  }
}
