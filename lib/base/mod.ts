/**
 * base: the ground everything stands on. Imports nothing.
 *
 * Reading order: world.ts (what comes from outside: clock, chance, sockets, processes, terminal, host, log) and
 * current_world.ts (the one of this program); log.ts (records and the sink's interface), log_throttle.ts (lines that
 * come in floods), errors.ts (roots of operating errors), assert.ts; heap.ts (a binary heap), timer_heap.ts (many
 * deadlines on one timer), at_most.ts (waiting with a limit), outbox.ts (bytes on their way out), ring.ts and
 * seq_map.ts (queues and maps that keep nothing of what left them), bounded_map.ts (maps that forget what came
 * first); nodename.ts (`celery@host` and the `%` forms), paths.ts (where the embedded broker lives), server_url.ts
 * (URLs of servers taken apart), unquote.ts (their escapes), mask.ts (URLs without their password), quoted.ts (texts
 * in quotes), shown.ts (text from outside in logs and on terminals), glob.ts and linear_pattern.ts (patterns that
 * others wrote), nearest.ts (did-you-mean), known_names.ts (options that there are not), builtin.ts (node's modules,
 * on first use), values.ts (what a value from outside is), file_url.ts (paths and `file:` URLs), runtime_text.ts (the
 * runtime's messages), own_frames.ts, humanize.ts (times in words), version.ts.
 */

export * from "./assert.ts";
export * from "./at_most.ts";
export * from "./bounded_map.ts";
export * from "./builtin.ts";
export * from "./current_world.ts";
export * from "./errors.ts";
export * from "./glob.ts";
export * from "./file_url.ts";
export * from "./heap.ts";
export * from "./humanize.ts";
export * from "./known_names.ts";
export * from "./linear_pattern.ts";
export * from "./log.ts";
export * from "./log_throttle.ts";
export * from "./mask.ts";
export * from "./nearest.ts";
export * from "./nodename.ts";
export * from "./outbox.ts";
export * from "./own_frames.ts";
export * from "./paths.ts";
export * from "./quoted.ts";
export * from "./ring.ts";
export * from "./runtime_text.ts";
export * from "./seq_map.ts";
export * from "./server_url.ts";
export * from "./shown.ts";
export * from "./timer_heap.ts";
export * from "./unquote.ts";
export * from "./values.ts";
export * from "./version.ts";
export type * from "./world.ts";
