/**
 * net: network connections as byte streams, and credentials.
 *
 * May touch: Deno.connect, Deno.connectTls, Deno.listen, Deno.serve, node:net, node:tls, files named by TLS
 * settings, and the program of `password_command`. Imports base and wire.
 *
 * Reading order: dialer.ts (the real Dialer: which kind of socket for which address, the time limit),
 * stream.ts (a Deno connection as a ByteStream), node_socket.ts (a socket of node:net or node:tls as a
 * ByteStream), batched_stream.ts (a ByteStream that is read to its end and written once per turn, the base of
 * the Redis and AMQP clients), patience.ts (how long a reply may take while a long upload is under way),
 * listener.ts (listening unix sockets), http_listener.ts (the real Listener: HTTP), tls.ts (certificates from
 * settings), credentials.ts (passwords and tokens that change).
 *
 * A failed dial is a DialError, whose text names the address and the cause in one line. A broken stream is
 * reported as ConnectionLost by its reader.
 */

export * from "./batched_stream.ts";
export * from "./credentials.ts";
export * from "./dialer.ts";
export * from "./http_listener.ts";
export * from "./listener.ts";
export * from "./node_socket.ts";
export * from "./patience.ts";
export * from "./tls.ts";
