/**
 * net: byte streams to the outside.
 *
 * May touch: Deno.connect, Deno.connectTls, Deno.listen, Deno.serve, node:net, node:tls, files named by TLS settings,
 * and the one program that gives a password. Imports base and wire.
 *
 * Reading order: dialer.ts (the real Dialer: which address goes where, the deadline), stream.ts (a Deno connection as
 * a ByteStream), node_socket.ts (a socket of node:net or node:tls as one), batched_stream.ts (a ByteStream read to its
 * end and written once a turn: what the clients of Redis and AMQP are built on), patience.ts (how long an answer may
 * take behind a long upload), listener.ts (unix sockets of our own), http_listener.ts (the real Listener: HTTP), tls.ts
 * (certificates from settings), credentials.ts (passwords and tokens that change).
 *
 * A dial that fails is a DialError whose text names the address and the cause in one line; a stream that breaks is a
 * ConnectionLost of whoever reads it.
 */

export * from "./batched_stream.ts";
export * from "./credentials.ts";
export * from "./dialer.ts";
export * from "./http_listener.ts";
export * from "./listener.ts";
export * from "./node_socket.ts";
export * from "./patience.ts";
export * from "./tls.ts";
