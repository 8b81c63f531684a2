/**
 * Key-value files of `Deno.openKv`: locks one for a process, finds out what kind of file lies at a path, and
 * moves a wrong file aside.
 */

import { errorText, OperatingError, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { keepPrivate } from "./private_file.ts";
import { readRegular, specialFile } from "./regular_file.ts";

/** A lock that lasts at most as long as its process. `release` ends it and is idempotent. */
export interface FileLock {
  release(): void;
}

/**
 * What lies at a path. `kv`: a database with the tables of `Deno.openKv`. `damaged`: a file that begins as a
 * database but cannot be read, or that contains only zeros. `python`: the schedule file of Celery's beat.
 */
export type FileKind = "none" | "kv" | "sqlite" | "python" | "damaged" | "other";

/** Suffixes of the files that belong to one database. */
const BESIDE = ["", "-wal", "-shm"];
const SQLITE_HEAD = "SQLite format 3\0";
/** The text of a lock file: a pid and nothing else. */
const LOCK_TEXT = /^\s*\d{0,10}\s*$/;
const LOCK_BYTES_MAX = 32;
/** How much of a file is read to find its kind, bytes. */
const LOOK_BYTES_MAX = 4 * 1024 * 1024;
/** Keys of Celery's schedule. Source: celery 5.2.6 beat.py PersistentScheduler.setup_schedule. */
const PYTHON_KEYS = ["__version__", "utc_enabled", "entries"];

/**
 * Locks the lock file at `path` for this process and writes our pid into it. If another process has it,
 * returns that process's pid, or 0 if the file has none. Throws OperatingError if the file cannot be created,
 * UsageError (73) if it is not a lock file.
 */
export function lockFile(path: string): FileLock | { readonly heldBy: number } {
  let file: Deno.FsFile;
  try {
    if (!isLockFile(path)) {
      throw new UsageError(
        `Cannot lock "${path}": it is not one of this program's lock files; move it away`,
        {
          exitCode: EXIT.CANNOT_CREATE,
        },
      );
    }
    // Private, since anybody who may read the file may lock it.
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
    // On a full disk the lock is still held; only the pid is missing.
  }
  let isHeld = true;
  return {
    release() {
      if (!isHeld) return;
      isHeld = false;
      // The file stays: a waiting process has it open, and a lock on a removed file protects nothing.
      file.close();
    },
  };
}

/**
 * Finds out what lies at a path, from its first bytes and, for SQLite, from its tables. Never rejects: an
 * unreadable file is `none`, and opening it gives the reason.
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
  // A crash of the machine may leave a file of zeros.
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

/** Opens a key-value file, and creates it if it is missing. Rejects with OperatingError. */
export async function openKv(path: string): Promise<Deno.Kv> {
  try {
    return await Deno.openKv(path);
  } catch (error) {
    throw new OperatingError(`Cannot open "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Renames a database and the files that belong to it to `<path>.aside-<stamp>`. Returns the new name. Throws
 * OperatingError.
 */
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
 * Returns true for the magic numbers of GNU dbm (any width and byte order) and of Berkeley DB's hash files,
 * which Python's shelve creates.
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
