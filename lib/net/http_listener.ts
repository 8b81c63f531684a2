/** The real Listener: HTTP over TCP, TLS and unix sockets. */

import type { HttpAddress, HttpHandler, HttpServer, Listener } from "../base/mod.ts";

/** Returns a Listener on the operating system's sockets. */
export function realListener(): Listener {
  return { serve };
}

function serve(address: HttpAddress, handler: HttpHandler): HttpServer {
  const answer = async (request: Request, info: Deno.ServeHandlerInfo): Promise<Response> => {
    const { remoteAddr: peer } = info;
    return await handler(request, "hostname" in peer ? peer.hostname : null);
  };
  // Keeps Deno from printing the address; the caller logs it.
  const common = { onListen() {} };
  if (address.kind === "unix") {
    const server = privately(() => Deno.serve({ ...common, path: address.path }, answer));
    return running(server, 0);
  }
  const { host: hostname, port, tls, isRenewal = false } = address;
  // `reusePort` lets a server with new certificates take the port before the old one releases it. For any
  // other server, this check finds out whether the port is taken.
  if (tls !== null && !isRenewal) Deno.listen({ hostname, port }).close();
  const server = tls === null
    ? Deno.serve({ ...common, hostname, port }, answer)
    : Deno.serve({ ...common, hostname, port, reusePort: true, ...tls }, answer);
  return running(server, server.addr.port);
}

function running(
  server: { readonly finished: Promise<void>; shutdown(): Promise<void> },
  port: number,
): HttpServer {
  let ending: Promise<void> | null = null;
  return { port, close: () => ending ??= server.shutdown() };
}

/** Runs `make` so that only the user can access the files that it creates. */
function privately<T>(make: () => T): T {
  if (Deno.build.os === "windows") return make();
  const before = Deno.umask(0o177);
  try {
    return make();
  } finally {
    Deno.umask(before);
  }
}
