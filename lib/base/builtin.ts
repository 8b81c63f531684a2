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

/** Whether the runtime has node:sqlite: Node from 22.16 on as we need it. Loads it. */
function hasSqlite(): boolean {
  return process.getBuiltinModule("node:sqlite") !== undefined;
}

/** Why a client that runs no tasks cannot use a broker or result store of this kind; null: it can. */
export function unusableByClient(kind: string): string | null {
  if (kind === "memory") return "no worker shares this process's memory";
  return kind === "sqlite" && !hasSqlite() ? NO_SQLITE : null;
}

/** What is said of `sqlite://` in a runtime without it. */
const NO_SQLITE = "it needs node:sqlite, which Node has from 22.16 on";
