/**
 * multi: a fleet of named nodes, from the shell.
 *
 * Reading order: options.ts (the words of a command line, sorted), cluster_names.ts (from words to nodes: ranges,
 * prefixes, options of single nodes), node.ts (one node: its names, files and command line).
 *
 * All three are pure: they make no folder and start no process. May import base/ and platform/.
 */

export * from "./cluster_names.ts";
export * from "./defaults.ts";
export * from "./node.ts";
export * from "./options.ts";
