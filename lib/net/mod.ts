/**
 * net: byte streams to the outside.
 *
 * May touch: Deno.connect, Deno.connectTls, Deno.listen, node:tls, and files named by TLS settings. Imports base only.
 *
 * Reading order: dialer.ts (the real Dialer: which address goes where, the deadline), stream.ts (a Deno connection as
 * a ByteStream), batched_stream.ts (a ByteStream read to its end and written once a turn: what the clients of Redis and
 * AMQP are built on), listener.ts (unix sockets of our own), tls.ts (certificates from settings; the unverified kind).
 *
 * A dial that fails is a DialError whose text names the address and the cause in one line; a stream that breaks is a
 * ConnectionLost of whoever reads it.
 */

export * from "./batched_stream.ts";
export * from "./dialer.ts";
export * from "./listener.ts";
export * from "./tls.ts";
