/**
 * base: the ground everything stands on. Imports nothing.
 *
 * Reading order: world.ts (what comes from outside: clock, chance, sockets, processes, terminal, host, log) and
 * current_world.ts (the one of this program); log.ts (records and the sink's interface), errors.ts (roots of
 * operating errors), assert.ts; timer_heap.ts (many deadlines on one timer), at_most.ts (waiting with a limit),
 * outbox.ts (bytes on their way out), ring.ts and seq_map.ts (queues and maps that keep nothing of what left them);
 * nodename.ts (`celery@host` and the `%` forms), paths.ts (where the embedded broker lives), mask.ts (URLs without
 * their password), nearest.ts (did-you-mean), builtin.ts (node's modules, on first use).
 */

export * from "./assert.ts";
export * from "./at_most.ts";
export * from "./builtin.ts";
export * from "./current_world.ts";
export * from "./errors.ts";
export * from "./log.ts";
export * from "./mask.ts";
export * from "./nearest.ts";
export * from "./nodename.ts";
export * from "./outbox.ts";
export * from "./paths.ts";
export * from "./ring.ts";
export * from "./seq_map.ts";
export * from "./timer_heap.ts";
export type * from "./world.ts";
