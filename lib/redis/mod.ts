/**
 * redis: a client of Redis and its kin. It knows commands and replies; what the keys mean is transport's.
 *
 * May touch: a ByteStream from the World's dialer. Imports base and wire.
 *
 * Reading order: connection.ts (one socket: two lanes, one write a turn, health), login.ts (HELLO, AUTH, SELECT),
 * reply_queue.ts (whose answer comes next), errors.ts (server errors as ours), script.ts (Lua by its hash),
 * pubsub.ts (patterns on a connection of their own), sentinel.ts (who is master).
 *
 * Two lanes: `call` makes a promise and is for control; `send` takes a sink, makes none, and is for what happens
 * per task. Both leave in one socket write at the end of the turn.
 */

export * from "./connection.ts";
export * from "./errors.ts";
export type { ReplySink } from "./reply_queue.ts";
export * from "./pubsub.ts";
export * from "./script.ts";
export * from "./sentinel.ts";
