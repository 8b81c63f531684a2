/**
 * Node's modules, loaded on first use. A static import of node:fs and node:zlib adds 40 ms to the start of
 * every command and pool slot; the first access to `process` itself takes 80 ms.
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

/**
 * Loads node:sqlite and returns whether the runtime has it; Node has the version that we need from 22.16 on.
 */
function hasSqlite(): boolean {
  return process.getBuiltinModule("node:sqlite") !== undefined;
}

/**
 * Returns the reason why a client that runs no tasks cannot use a broker or result store of this kind, or
 * null if it can.
 */
export function unusableByClient(kind: string): string | null {
  if (kind === "memory") return "no worker shares this process's memory";
  return kind === "sqlite" && !hasSqlite() ? NO_SQLITE : null;
}

/** The reason given for `sqlite://` in a runtime without node:sqlite. */
const NO_SQLITE = "it needs node:sqlite, which Node has from 22.16 on";
