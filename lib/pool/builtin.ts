/**
 * Node's modules, loaded when they are first used: importing node:fs and node:net costs 20 ms of a start
 * that is to take less than 50, and no task needs them before the first result.
 */

/** node:fs. */
export function nodeFs(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}

/** node:net. */
export function nodeNet(): typeof import("node:net") {
  return process.getBuiltinModule("node:net");
}

/** node:os. */
export function nodeOs(): typeof import("node:os") {
  return process.getBuiltinModule("node:os");
}

/** node:util. */
export function nodeUtil(): typeof import("node:util") {
  return process.getBuiltinModule("node:util");
}

/** node:v8. */
export function nodeV8(): typeof import("node:v8") {
  return process.getBuiltinModule("node:v8");
}
