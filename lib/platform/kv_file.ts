/**
 * One file of keys and values, `Deno.openKv`: whose it is, whether it is one at all, and getting it out of
 * the way where it is not.
 */

import { errorText, OperatingError, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { keepPrivate } from "./private_file.ts";
import { readRegular, specialFile } from "./regular_file.ts";

/** A lock that lasts as long as its process. `release` ends it; twice is once. */
export interface FileLock {
  release(): void;
}

/**
 * What lies at a path. `kv`: a database with the tables of `Deno.openKv`; `damaged`: it begins as a database, or holds
 * zeros alone; `python`: the schedule of Celery's own beat.
 */
export type FileKind = "none" | "kv" | "sqlite" | "python" | "damaged" | "other";

/** Files that belong to a database in one file. */
const BESIDE = ["", "-wal", "-shm"];
const SQLITE_HEAD = "SQLite format 3\0";
/** A lock file holds a pid and nothing else. */
const LOCK_TEXT = /^\s*\d{0,10}\s*$/;
const LOCK_BYTES_MAX = 32;
/** How much of a file is looked at, bytes. */
const LOOK_BYTES_MAX = 4 * 1024 * 1024;
/** Keys of Celery's schedule. Source: celery 5.2.6 beat.py PersistentScheduler.setup_schedule. */
const PYTHON_KEYS = ["__version__", "utc_enabled", "entries"];

/**
 * Takes the lock file at `path` for this process and writes our pid into it; or says who has it (0: a
 * process that left no pid). Throws OperatingError where the file cannot be made, UsageError (73) where something else
 * than a lock file lies there.
 */
export function lockFile(path: string): FileLock | { readonly heldBy: number } {
  let file: Deno.FsFile;
  try {
    if (!isLockFile(path)) {
      throw new UsageError(`Cannot lock "${path}": it is not a lock file of ours; move it away`, {
        exitCode: EXIT.CANNOT_CREATE,
      });
    }
    // Whoever may read it may lock it.
    file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new OperatingError(`Cannot make "${path}": ${errorText(error)}`, { cause: error });
  }
  keepPrivate(path);
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
      // The file stays: who waits for it holds it open, and a lock on a removed file is not a lock.
      file.close();
    },
  };
}

/**
 * What lies at a path, from its first bytes and, for SQLite, its tables. Never throws: what cannot be read
 * is `none`, and whoever opens it hears why.
 */
export async function fileKind(path: string): Promise<FileKind> {
  if (specialFile(path) !== null) return "other";
  let bytes: Uint8Array | null;
  try {
    bytes = readRegular(path, LOOK_BYTES_MAX);
  } catch {
    return "none";
  }
  if (bytes === null || bytes.length === 0) return "none";
  if (isPythonDbm(bytes)) {
    const text = new TextDecoder("latin1").decode(bytes);
    return PYTHON_KEYS.some((key) => text.includes(key)) ? "python" : "other";
  }
  // What a crash of the machine leaves of a file.
  if (bytes.every((byte) => byte === 0)) return "damaged";
  if (new TextDecoder("latin1").decode(bytes.subarray(0, SQLITE_HEAD.length)) !== SQLITE_HEAD) return "other";
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
    return "damaged";
  }
}

function isLockFile(path: string): boolean {
  if (specialFile(path) !== null) return false;
  const bytes = readRegular(path, LOCK_BYTES_MAX + 1);
  return bytes === null ||
    (bytes.length <= LOCK_BYTES_MAX && LOCK_TEXT.test(new TextDecoder().decode(bytes)));
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
