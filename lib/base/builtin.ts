/**
 * Node's modules, loaded when they are first used: a static import of node:fs and node:zlib costs 40 ms of
 * every start, of every command and every pool slot, and the first look at `process` itself 80 ms.
 */

/** node:crypto. */
export function nodeCrypto(): typeof import("node:crypto") {
  return process.getBuiltinModule("node:crypto");
}

/** node:fs. */
export function nodeFs(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}

/** node:os. */
export function nodeOs(): typeof import("node:os") {
  return process.getBuiltinModule("node:os");
}

/** node:util. */
export function nodeUtil(): typeof import("node:util") {
  return process.getBuiltinModule("node:util");
}

/** node:zlib. */
export function nodeZlib(): typeof import("node:zlib") {
  return process.getBuiltinModule("node:zlib");
}
