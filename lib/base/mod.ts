/**
 * base: the parts that every other room uses. Imports no other room.
 *
 * Reading order: world.ts (everything that comes from outside: clock, chance, sockets, processes, terminal,
 * host, log) and current_world.ts (this program's World); log.ts (records and the log's interface),
 * log_throttle.ts (limits on floods of lines), errors.ts (roots of operating errors), assert.ts; heap.ts (a
 * binary heap), timer_heap.ts (many deadlines on one timer), at_most.ts (waiting with a time limit),
 * outbox.ts (the output buffer of a connection), ring.ts and seq_map.ts (a queue and a map that keep no
 * reference to removed items), bounded_map.ts (maps that forget their oldest entry); nodename.ts
 * (`celery@host` and the `%` forms), paths.ts (the place of the embedded broker), server_url.ts (parses URLs
 * of servers), unquote.ts (decodes their escapes), mask.ts (hides passwords in URLs), quoted.ts (texts in
 * quotes), shown.ts (makes text from outside safe for logs and terminals), glob.ts and linear_pattern.ts
 * (patterns from users and peers), nearest.ts (did-you-mean), known_names.ts (refuses unknown options),
 * letter_case.ts (converts between `rateLimit` and `rate_limit`), builtin.ts (Node's modules, on first use),
 * values.ts (checks values from outside), file_url.ts (paths and `file:` URLs), runtime_text.ts (the
 * runtime's messages), own_frames.ts (stacks without our frames), humanize.ts (durations in words),
 * version.ts.
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
export * from "./letter_case.ts";
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
