/**
 * platform: the operating system. Everything of `Deno.*` except dialling (net/) and node:sqlite (sqlite/).
 *
 * Reading order: real_world.ts (the World that main.ts runs in), clock.ts, time_zone.ts, random.ts, host.ts,
 * terminal.ts, log_sink.ts with log_format.ts (Celery's log lines) and log_json.ts, form.ts (compiled, packed or from
 * source), build.ts (what a built one knows of its build), page_files.ts (what the console's pages load, in each form),
 * declarations.ts (the library's types), configuration.ts and project.ts (what a project says of its dependencies) with
 * specifiers.ts, spawn.ts (children, and this program started again), signals.ts,
 * pidfile.ts, exit_codes.ts, system_files.ts (the calls under databases, of Deno or node:fs), regular_file.ts and
 * private_file.ts (what may be a file of ours, and who may read it),
 * files.ts (small files, whole or not at all), kv_file.ts (one file of keys and values, and who has it), watch.ts
 * (wake-up files of the embedded broker), sandbox.ts with sandbox_prelude.ts (how an isolate with few permissions comes
 * up); for daemons: detach.ts, notify.ts (systemd), heartbeat.ts (signs of life in files), users.ts, and libc.ts under
 * them.
 *
 * node/mod.ts is the World of the npm package, on Node's modules alone: node/since_node_20.ts (what Node 20 lacks),
 * node/node_log.ts, node/node_host.ts, node/node_spawner.ts, node/node_world.ts.
 *
 * May import base/, wire/ (JSON) and net/ (the real dialer).
 */

export * from "./build.ts";
export * from "./declarations.ts";
export * from "./detach.ts";
export * from "./exit_codes.ts";
export * from "./files.ts";
export * from "./form.ts";
export { foldersOf, Heartbeat, type LocalNode, localNodes, type NodeFacts } from "./heartbeat.ts";
export * from "./kv_file.ts";
export * from "./log_sink.ts";
export * from "./notify.ts";
export * from "./pidfile.ts";
export * from "./page_files.ts";
export { enterProject } from "./project.ts";
export * from "./private_file.ts";
export * from "./real_world.ts";
export * from "./regular_file.ts";
export * from "./sandbox.ts";
export * from "./signals.ts";
export * from "./spawn.ts";
export { outliveOutput } from "./terminal.ts";
export * from "./time_zone.ts";
export * from "./users.ts";
export * from "./watch.ts";
