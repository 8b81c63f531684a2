/**
 * backend: result stores. Where a task's state and value go, who waits for them, and who counts a chord's header.
 *
 * Documents are encoded by whoever ran the task and decoded here; a store moves text (bytes for binary serializers).
 * Storing is data lane: `store` appends, and a batch leaves at the end of the turn, one batch under way at a time.
 * Everything else is ordinary async code.
 *
 * May touch `@redis/client` (loaded when a Redis store is opened) and `node:sqlite`.
 *
 * Reading order: backend.ts (the interfaces), registry.ts (which store a URL means), queue.ts and retry.ts (how every
 * store writes), watchers.ts (who waits), chord.ts (what counting shares), memory.ts, sqlite.ts, disabled.ts; and
 * Redis: redis_url.ts (where), redis_link.ts (connections), redis_scripts.ts, redis_chord.ts, redis_watch.ts
 * (waiting), redis.ts; rpc.ts (results as messages over the app's broker).
 */

export * from "./backend.ts";
export { HeaderJoinTimeout } from "./chord.ts";
export { NO_BACKEND } from "./disabled.ts";
export * from "./registry.ts";
export type { RpcConnection, RpcOptions, RpcQueue } from "./rpc.ts";
