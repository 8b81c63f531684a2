/**
 * One file of keys and values, `Deno.openKv`: whose it is, whether it is one at all, and getting it out of
 * the way where it is not.
 */

import { errorText, OperatingError } from "../base/mod.ts";

/** A lock that lasts as long as its process. `release` ends it; twice is once. */
export interface FileLock {
  release(): void;
}

/** What lies at a path. `kv`: a database with the tables of `Deno.openKv`. */
export type FileKind = "none" | "kv" | "sqlite" | "python" | "other";

/** Files that belong to a database in one file. */
const BESIDE = ["", "-wal", "-shm"];
const SQLITE_HEAD = "SQLite format 3\0";

/**
 * Takes the lock file at `path` for this process and writes our pid into it; or says who has it (0: a
 * process that left no pid). Throws OperatingError where the file cannot be made.
 */
export function lockFile(path: string): FileLock | { readonly heldBy: number } {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o644 });
  } catch (error) {
    throw new OperatingError(`Cannot make "${path}": ${errorText(error)}`, { cause: error });
  }
  if (!file.tryLockSync(true)) {
    const heldBy = Number.parseInt(Deno.readTextFileSync(path), 10) || 0;
    file.close();
    return { heldBy };
  }
  try {
    file.truncateSync(0);
    file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
  } catch {
    // A full disk: the lock holds, only the pid cannot be told.
  }
  let isHeld = true;
  return {
    release() {
      if (!isHeld) return;
      isHeld = false;
      // The file stays: who waits for it holds it open, and a lock on a removed file is no lock.
      file.close();
    },
  };
}

/**
 * What lies at a path, from its first bytes and, for SQLite, its tables. Never throws: what cannot be read
 * is `other`.
 */
export async function fileKind(path: string): Promise<FileKind> {
  let head: Uint8Array;
  try {
    const { size, isFile } = Deno.statSync(path);
    if (!isFile) return "other";
    if (size === 0) return "none";
    using file = Deno.openSync(path);
    const buffer = new Uint8Array(16);
    head = buffer.subarray(0, file.readSync(buffer) ?? 0);
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? "none" : "other";
  }
  if (isPythonDbm(head)) return "python";
  if (new TextDecoder().decode(head) !== SQLITE_HEAD) return "other";
  try {
    const { DatabaseSync } = await import("node:sqlite");
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      const names = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
      const isKv = names.length === 0 || names.some(({ name }) => name === "migration_state");
      return isKv ? "kv" : "sqlite";
    } finally {
      database.close();
    }
  } catch {
    return "other"; // damaged, or encrypted
  }
}

/** Opens a file of keys and values, made where there is none. Throws OperatingError. */
export async function openKv(path: string): Promise<Deno.Kv> {
  try {
    return await Deno.openKv(path);
  } catch (error) {
    throw new OperatingError(`Cannot open "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** Renames a file, with what belongs to it, to `path.aside-<stamp>`; the new name. Throws OperatingError. */
export function moveAside(path: string, stamp: string): string {
  let target = `${path}.aside-${stamp}`;
  for (let n = 2; exists(target); n++) target = `${path}.aside-${stamp}-${n}`;
  try {
    for (const suffix of BESIDE) {
      if (exists(path + suffix)) Deno.renameSync(path + suffix, target + suffix);
    }
  } catch (error) {
    throw new OperatingError(`Cannot move "${path}" out of the way: ${errorText(error)}`, { cause: error });
  }
  return target;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * The marks of GNU dbm (any width and byte order) and of Berkeley DB's hash files, which Python's shelve
 * makes.
 */
function isPythonDbm(head: Uint8Array): boolean {
  if (head.length < 16) return false;
  const view = new DataView(head.buffer, head.byteOffset);
  const gnu = new Set([0x13579ace, 0x13579acd, 0x13579acf, 0x13579ad0, 0x13579ad1]);
  const berkeley = 0x061561;
  return [true, false].some((isLittle) =>
    gnu.has(view.getUint32(0, isLittle)) || view.getUint32(0, isLittle) === berkeley ||
    view.getUint32(12, isLittle) === berkeley
  );
}
