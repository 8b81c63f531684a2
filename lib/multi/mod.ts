/**
 * multi: a fleet of named nodes, from the shell and at boot.
 *
 *     words ──options.ts──► names and options ──cluster_names.ts──► Node ──cluster.ts──► started, signalled, waited for
 *                                                    ▲                └──units.ts──► files for systemd
 *                                    memory.ts: how it was started before
 *
 * Reading order: options.ts (the words of a command line, sorted), cluster_names.ts (from words to nodes: ranges,
 * prefixes, options of single nodes), node.ts (one node: its names, files and command line), node_names.ts (what a
 * name may be), units.ts (systemd's units of a fleet): these are pure. defaults.ts (pid and log folders), memory.ts
 * (what was started, remembered), node_host.ts (processes), cluster.ts (the fleet), unit_files.ts (installing units).
 *
 * May import base/ and platform/.
 */

export * from "./cluster.ts";
export * from "./cluster_names.ts";
export * from "./defaults.ts";
export * from "./memory.ts";
export * from "./node.ts";
export { programWords } from "./node_host.ts";
export * from "./options.ts";
export * from "./unit_files.ts";
export * from "./units.ts";
