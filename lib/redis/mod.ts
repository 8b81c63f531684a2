/**
 * redis: a client for Redis and compatible servers. It handles commands and replies; the meaning of keys
 * belongs to transport and backend.
 *
 * May touch: a ByteStream from the World's dialer. Imports base, net and wire.
 *
 * Reading order: url.ts (URLs and their settings, for brokers and results), options.ts (transport options),
 * sentinel.ts (finds the master), cluster.ts (slots and their masters), cluster_master.ts (connects to a
 * slot's master), target.ts (from a URL to the server to connect to); connection.ts (one socket: two lanes,
 * one write per turn, health), redirects.ts (slots that move to another node), login.ts (HELLO, AUTH,
 * SELECT), reply_queue.ts (matches replies to commands), errors.ts (maps server errors to ours), script.ts
 * (Lua scripts by hash), replica_wait.ts (WAIT), pubsub.ts (pattern subscriptions on a connection of their
 * own).
 *
 * Two lanes: `call` returns a promise and is for the control lane. `send` takes a sink, makes no promise, and
 * is for the data lane. Commands of both leave in one socket write at the end of the turn.
 */

export * from "./cluster.ts";
export * from "./connection.ts";
export * from "./errors.ts";
export * from "./login.ts";
export * from "./options.ts";
export * from "./replica_wait.ts";
export type { ReplySink } from "./reply_queue.ts";
export * from "./pubsub.ts";
export * from "./script.ts";
export * from "./sentinel.ts";
export * from "./target.ts";
export * from "./url.ts";
