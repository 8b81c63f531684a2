/**
 * Pid files: created exclusively, and replaced only if their process has ended.
 *
 * A file appears with its whole content, as a link to a finished file. A dead process's file is replaced
 * under a lock on the file itself, so that only one of two processes that find it stale wins.
 *
 * Source: celery 5.2.6 platforms.py Pidfile (content, messages, exit status 73). Differences: a recycled pid
 * is recognised by comparing the start of the process with the time of the file; a file that is not a pid
 * file is never replaced; and before a signal is sent, the process itself is checked (isOurs).
 */

import { errorText, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { makeFileBeside } from "./files.ts";
import { readRegular, specialFile } from "./regular_file.ts";

/** A pid file of this process. `release` removes it if it still has our pid, and is idempotent. */
export interface Pidfile {
  readonly path: string;
  release(): void;
}

/** The number of attempts before giving up on a file that keeps changing. */
const ATTEMPTS_MAX = 20;
/** The maximum size of a pid file, bytes. */
const BYTES_MAX = 64;
/** A number, or what a crash may leave of one: an empty file, or zero bytes. */
const PIDFILE_TEXT = /^[\s\0]*(-?\d{0,10})[\s\0]*$/;
/** The path that users give for "no pid file". */
const NOWHERE = "/dev/null";

/**
 * Writes our pid to `path`. A file with our own pid is ours already: the program was started again in place.
 * Calls `onStale` with Celery's message if a dead process's file is replaced. /dev/null means no file. Throws
 * UsageError with exit status 73 if a living process has the file, the folder is not writable, or the file is
 * not a pid file.
 */
export function acquirePidfile(path: string, onStale: (message: string) => void = () => {}): Pidfile {
  if (path === NOWHERE) return { path, release() {} };
  refuseForeign(path);
  const ours = { path, release: () => release(path) };
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const temporary = written(path);
    try {
      if (linked(temporary, path) || replaced(temporary, path, onStale)) return ours;
    } finally {
      removeQuietly(temporary);
    }
  }
  throw new UsageError(`Cannot create pidfile "${path}": other processes keep creating it`, {
    exitCode: EXIT.CANNOT_CREATE,
  });
}

/** Returns true for a link to a missing file. */
function isDanglingLink(path: string): boolean {
  try {
    Deno.readLinkSync(path);
  } catch {
    return false; // not a link
  }
  try {
    Deno.statSync(path);
    return false;
  } catch {
    return true;
  }
}

/** Throws if something other than a pid file is at the path. */
function refuseForeign(path: string): void {
  const special = specialFile(path);
  const isNothing = special === null && isDanglingLink(path);
  if (!isNothing && special === null && pidText(path) !== null) return;
  const what = isNothing
    ? "it is a link to a file that is not there"
    : special === null
    ? "the file there is not a pid file"
    : `it is ${special}`;
  throw cannotCreate(path, new Error(what));
}

/** Returns the text of a pid file; "" if it is missing or empty, null if the file is not a pid file. */
function pidText(path: string): string | null {
  const bytes = readRegular(path, BYTES_MAX + 1);
  if (bytes === null) return "";
  if (bytes.length > BYTES_MAX) return null;
  return PIDFILE_TEXT.exec(new TextDecoder().decode(bytes))?.[1] ?? null;
}

/** Writes a finished file with our pid under another name in the same folder. */
function written(path: string): string {
  try {
    const temporary = makeFileBeside(path, 0o644 & ~Deno.umask());
    using file = Deno.openSync(temporary, { write: true });
    file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
    file.syncSync();
    return temporary;
  } catch (error) {
    throw cannotCreate(path, error);
  }
}

/** Links the finished file to `path`. Returns false if something is there already. */
function linked(temporary: string, path: string): boolean {
  try {
    Deno.linkSync(temporary, path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw cannotCreate(path, error);
  }
}

/**
 * Replaces a dead process's file. Returns false if the file changed meanwhile. Throws if its process is
 * alive.
 */
function replaced(temporary: string, path: string, onStale: (message: string) => void): boolean {
  let file: Deno.FsFile;
  refuseForeign(path);
  try {
    file = Deno.openSync(path, { read: true, write: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw cannotCreate(path, error);
  }
  try {
    file.lockSync(true);
    const now = Deno.statSync(path);
    if (now.ino !== file.statSync().ino) return false;
    const pid = readPidfile(path);
    if (pid !== Deno.pid) {
      if (pid !== null && isOwnerAlive(pid, path)) {
        throw new UsageError(
          `ERROR: Pidfile (${path}) already exists.\nSeems we're already running? (pid: ${pid})`,
          { exitCode: EXIT.CANNOT_CREATE },
        );
      }
      onStale("Stale pidfile exists - Removing it.");
    }
    Deno.renameSync(temporary, path);
    return true;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (error instanceof Deno.errors.NotFound) return false;
    throw cannotCreate(path, error);
  } finally {
    file.close();
  }
}

function cannotCreate(path: string, error: unknown): UsageError {
  return new UsageError(`Cannot create pidfile "${path}": ${errorText(error)}`, {
    cause: error,
    exitCode: EXIT.CANNOT_CREATE,
  });
}

/** Returns the pid in a file, or null if there is no file or no usable pid in it. */
export function readPidfile(path: string): number | null {
  try {
    const pid = Number(pidText(path));
    // A signal to pid 0 would reach our own process group, one to pid 1 the whole system.
    return pid > 1 || pid === Deno.pid ? pid : null;
  } catch {
    return null; // unreadable
  }
}

/** Returns true if a process with this pid is alive; a zombie is not. */
function isAlive(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}

/**
 * Returns true if the process that wrote a pid file is still alive: a process with this pid exists and
 * started before the file was written.
 */
export function isOwnerAlive(pid: number, path: string): boolean {
  if (!isAlive(pid)) return false;
  const startedMs = startOfProcessMs(pid);
  let writtenMs: number | null = null;
  try {
    writtenMs = Deno.statSync(path).mtime?.getTime() ?? null;
  } catch {
    return false; // the file was removed: nobody owns it
  }
  // Two seconds of tolerance, since the boot time is known only to the second.
  return startedMs === null || writtenMs === null || startedMs <= writtenMs + 2000;
}

/**
 * Returns true if a process is a worker or beat to which a pid file can refer. The pid alone proves nothing,
 * since anybody who may write the file can put any number into it. The process must have started before the
 * file was written, belong to the owner of the file (unless that is root or this user), and run this program,
 * Celery or `program`.
 */
export function isOurs(pid: number, path: string, program: string | null = null): boolean {
  if (!isOwnerAlive(pid, path)) return false;
  try {
    const owner = Deno.statSync(`/proc/${pid}`).uid;
    const writer = Deno.statSync(path).uid;
    if (writer !== owner && writer !== 0 && writer !== Deno.uid()) return false;
  } catch {
    return false; // the process or the file is gone
  }
  return isWorkerCommand(commandOf(pid), program);
}

/** Returns the command line of a process as words; none if it has ended. */
function commandOf(pid: number): string[] {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").filter(Boolean);
  } catch {
    return [];
  }
}

/** Returns true if a command line starts a worker or beat of this program or of Celery, or runs `program`. */
export function isWorkerCommand(words: readonly string[], program: string | null = null): boolean {
  // Celery's processes put their name and role into one word: "[celeryd: w1@host:MainProcess] -active-
  // (worker …)".
  if (words.some((word) => /^\[?celery(d|beat| beat)\b/.test(word))) return true;
  if (program !== null && words.some((word) => word === program || baseName(word) === baseName(program))) {
    return true;
  }
  if (!words.some((word) => word === "worker" || word === "beat")) return false;
  const [first = ""] = words;
  // Under the runtime the program is its main module, whatever its folder is called.
  const isModule = baseName(first).startsWith("deno") && words.some((word) => /\/main\.[jt]s$/.test(word));
  return isModule || first === Deno.execPath() || words.some((word) => /lovage|celery/i.test(word));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Returns when a process started, in wall-clock milliseconds to about a second; null if the system does not
 * say.
 */
function startOfProcessMs(pid: number): number | null {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[19]);
    const boot = /^btime (\d+)$/m.exec(Deno.readTextFileSync("/proc/stat"));
    return boot ? Number(boot[1]) * 1000 + ticks * 10 : null; // 100 ticks a second on Linux
  } catch {
    return null;
  }
}

/**
 * Removes the pid file of a process that has ended. Returns true if it was removed; the file of a living
 * process stays.
 */
export function removeStalePidfile(path: string): boolean {
  const pid = readPidfile(path);
  if (pid === null || isOwnerAlive(pid, path)) return false;
  return removeQuietly(path);
}

function release(path: string): void {
  if (readPidfile(path) === Deno.pid) removeQuietly(path);
}

function removeQuietly(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch {
    return false; // somebody removed it first
  }
}
