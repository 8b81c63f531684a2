/**
 * platform: the operating system. Contains all use of `Deno.*`, except sockets (net/) and node:sqlite
 * (sqlite/).
 *
 * Reading order: real_world.ts (the World of main.ts), clock.ts, time_zone.ts, random.ts, host.ts,
 * terminal.ts, log_sink.ts with log_format.ts (Celery's log lines) and log_json.ts, form.ts (compiled, packed
 * or from source), build.ts (facts about a build), page_files.ts (the files of the console's pages, in each
 * form), declarations.ts (the library's types), configuration.ts and project.ts (a project's dependencies)
 * with specifiers.ts, spawn.ts (children, and this program started again), signals.ts, pidfile.ts,
 * exit_codes.ts, system_files.ts (the calls under databases, from Deno or node:fs), regular_file.ts and
 * private_file.ts (which files may be ours, and who may read them), files.ts (small files, replaced as a
 * whole), kv_file.ts (key-value files and their locks), watch.ts (wake files of the embedded broker),
 * sandbox.ts with sandbox_prelude.ts (how an isolate with few permissions starts); for daemons: detach.ts,
 * notify.ts (systemd), heartbeat.ts (heartbeat files), users.ts, and libc.ts, which they use.
 *
 * node/mod.ts is the World of the npm package, on Node's modules only: node/since_node_20.ts (features that
 * Node 20 lacks), node/node_log.ts, node/node_host.ts, node/node_spawner.ts, node/node_world.ts.
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
