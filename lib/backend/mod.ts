/**
 * backend: result stores. They keep tasks' states and values, deliver them to those who wait, and count chord
 * headers.
 *
 * Documents are encoded by whoever ran the task and decoded here; a store keeps text (bytes for binary
 * serializers). Storing is data lane: `store` appends, and a batch leaves at the end of the turn, one batch
 * under way at a time. Everything else is ordinary async code.
 *
 * May touch `@redis/client` (loaded when a Redis store is opened) and sqlite.
 *
 * Reading order: backend.ts (the interfaces), registry.ts (the store of a URL), queue.ts, retry.ts and
 * refused.ts (how every store writes), watchers.ts (waits), chord.ts (shared by stores that count chords),
 * memory.ts, sqlite.ts with sqlite_watch.ts (waiting) and sqlite_chord.ts, disabled.ts; Redis:
 * redis_options.ts (URL and settings), node_redis.ts (one connection on node-redis's engine; the only file
 * that imports it), cluster_redis.ts (one for each node of a cluster), redis_link.ts (dialing),
 * redis_scripts.ts, redis_chord.ts, redis_watch.ts (waiting), redis_writer.ts (writing batches), redis.ts;
 * and rpc_connection.ts and rpc.ts (results as messages over the app's broker).
 */

export * from "./backend.ts";
export { HeaderJoinTimeout, withSentErrbacks } from "./chord.ts";
export * from "./registry.ts";
export type { RpcConnection } from "./rpc_connection.ts";
