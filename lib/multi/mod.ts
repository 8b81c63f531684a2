/**
 * multi: a fleet of named nodes, started from the shell or at boot.
 *
 *     words ──options.ts──► names and options ──cluster_names.ts──► Node ──cluster.ts──► started, signalled, waited for
 *                                                    ▲                └──units.ts──► files for systemd
 *                                    memory.ts: how it was started before
 *
 * Reading order: options.ts (sorts the words of a command line), cluster_names.ts (makes nodes of words:
 * ranges, prefixes, options of single nodes), node.ts (one node: its names, files and command line),
 * node_names.ts (valid names), units.ts (systemd units of a fleet): these are pure. defaults.ts (pid and log
 * folders), memory.ts (earlier starts), node_host.ts (processes), cluster.ts (the fleet), unit_files.ts
 * (installs units).
 *
 * May import base, platform and wire.
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
