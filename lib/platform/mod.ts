/**
 * platform: the operating system. Everything of `Deno.*` except dialling (net/) and node:sqlite (transport, backend).
 *
 * Reading order: real_world.ts (the World that main.ts runs in), clock.ts, random.ts, host.ts, terminal.ts,
 * log_sink.ts (Celery's log lines), spawn.ts (children, and this program started again), signals.ts, pidfile.ts,
 * exit_codes.ts, files.ts (small files, whole or not at all), kv_file.ts (one file of keys and values, and who has
 * it), watch.ts (wake-up files of the embedded broker), sandbox.ts (how an isolate with few permissions comes up);
 * for daemons: detach.ts, notify.ts (systemd), users.ts, and libc.ts under them.
 *
 * May import base/ and net/ (the real dialer).
 */

export * from "./detach.ts";
export * from "./exit_codes.ts";
export * from "./files.ts";
export * from "./kv_file.ts";
export * from "./log_sink.ts";
export * from "./notify.ts";
export * from "./pidfile.ts";
export * from "./real_world.ts";
export * from "./sandbox.ts";
export * from "./signals.ts";
export * from "./spawn.ts";
export * from "./users.ts";
export * from "./watch.ts";
