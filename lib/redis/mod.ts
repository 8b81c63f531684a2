/**
 * redis: a client of Redis and its kin. It knows commands and replies; what the keys mean is known by transport and
 * backend.
 *
 * May touch: a ByteStream from the World's dialer. Imports base, net and wire.
 *
 * Reading order: url.ts (what a URL and its settings mean, for brokers and results), options.ts (transport options),
 * sentinel.ts (who is master), cluster.ts (slots and their masters), cluster_master.ts (the way to one), target.ts
 * (from a URL to the server to connect to); connection.ts (one socket: two lanes, one write a turn, health),
 * redirects.ts (a cluster's slots that move), login.ts (HELLO, AUTH, SELECT), reply_queue.ts (whose answer comes next),
 * errors.ts (server errors as ours), script.ts (Lua by its hash), replica_wait.ts (WAIT), pubsub.ts (patterns on a
 * connection of their own).
 *
 * Two lanes: `call` makes a promise and is for control; `send` takes a sink, makes none, and is for what happens
 * per task. Both leave in one socket write at the end of the turn.
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
