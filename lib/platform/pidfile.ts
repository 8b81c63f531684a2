/**
 * Pid files: made exclusively, taken over from the dead, never from the living.
 *
 * A file appears with its whole content (a link of a finished one), and a dead process's file is replaced under a lock
 * of the file itself, so that of two that find it stale one wins.
 *
 * Source: celery 5.2.6 platforms.py Pidfile (content, messages, exit status 73). Beyond it: a recycled pid is told
 * from the process that wrote the file by comparing the process's start with the file's time; what is not a pid file
 * is never replaced; and a file's word is not enough for a signal (isOurs).
 */

import { errorText, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import { makeFileBeside } from "./files.ts";
import { readRegular, specialFile } from "./regular_file.ts";

/** A pid file of ours. `release` removes it if it is still ours; twice is once. */
export interface Pidfile {
  readonly path: string;
  release(): void;
}

/** Attempts before the file is said to change too often. */
const ATTEMPTS_MAX = 20;
/** The most that a pid file holds, bytes. */
const BYTES_MAX = 64;
/** A number, or what a crash leaves of one: nothing, or zeros. */
const PIDFILE_TEXT = /^[\s\0]*(-?\d{0,10})[\s\0]*$/;
/** What people give for "no pid file". */
const NOWHERE = "/dev/null";

/**
 * Writes our pid to `path`. Throws UsageError with exit status 73 where a living process holds it, the folder cannot be
 * written, or something else than a pid file is there. `onStale` hears that a dead process's file is replaced. A file
 * with our own pid is ours: this program was started again in place. /dev/null means none.
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
  throw new UsageError(`Cannot create pidfile "${path}": other processes keep making it`, {
    exitCode: EXIT.CANNOT_CREATE,
  });
}

/** True for a link to a file that is not there. */
function isDanglingLink(path: string): boolean {
  try {
    Deno.readLinkSync(path);
  } catch {
    return false; // no link
  }
  try {
    Deno.statSync(path);
    return false;
  } catch {
    return true;
  }
}

/** Throws where something else than a pid file is at the path. */
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

/** What a pid file says, "" where there is none or nothing in it; null where what is there is not a pid file. */
function pidText(path: string): string | null {
  const bytes = readRegular(path, BYTES_MAX + 1);
  if (bytes === null) return "";
  if (bytes.length > BYTES_MAX) return null;
  return PIDFILE_TEXT.exec(new TextDecoder().decode(bytes))?.[1] ?? null;
}

/** A finished file with our pid, under another name in the same folder. */
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

/** True where the finished file now stands at `path`; false where something stands there already. */
function linked(temporary: string, path: string): boolean {
  try {
    Deno.linkSync(temporary, path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw cannotCreate(path, error);
  }
}

/** Replaces a dead process's file; false where it changed under us. Throws where its process lives. */
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

/** The pid in a file, or null where there is no file or no pid in it. */
export function readPidfile(path: string): number | null {
  try {
    const pid = Number(pidText(path));
    // Pid 0 would be our own group, and signals to 1 the system's.
    return pid > 1 || pid === Deno.pid ? pid : null;
  } catch {
    return null; // missing or unreadable: no pid either way
  }
}

/** Whether a process of that pid lives (zombies do not). */
function isAlive(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}

/** Whether the process that wrote a pid file still lives: it started before the file was written. */
export function isOwnerAlive(pid: number, path: string): boolean {
  if (!isAlive(pid)) return false;
  const startedMs = startOfProcessMs(pid);
  let writtenMs: number | null = null;
  try {
    writtenMs = Deno.statSync(path).mtime?.getTime() ?? null;
  } catch {
    return false; // the file has gone: nobody owns it
  }
  // Two seconds of grace: the boot time is known to the second only.
  return startedMs === null || writtenMs === null || startedMs <= writtenMs + 2000;
}

/**
 * Whether a process is a worker or beat that a pid file may speak for: anybody who can write the file can put any
 * number into it. It must have started before the file was written, belong to whom the file belongs (unless that is
 * root, or us), and run this program, Celery's, or `program`.
 */
export function isOurs(pid: number, path: string, program: string | null = null): boolean {
  if (!isOwnerAlive(pid, path)) return false;
  try {
    const owner = Deno.statSync(`/proc/${pid}`).uid;
    const writer = Deno.statSync(path).uid;
    if (writer !== owner && writer !== 0 && writer !== Deno.uid()) return false;
  } catch {
    return false; // one of the two has gone
  }
  return isWorkerCommand(commandOf(pid), program);
}

/** The words that a process was started with; none where it has ended. */
function commandOf(pid: number): string[] {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").filter(Boolean);
  } catch {
    return [];
  }
}

/** Whether words start a worker or beat of this program, of Celery, or of `program`. */
export function isWorkerCommand(words: readonly string[], program: string | null = null): boolean {
  // Celery's own put their name and role into one word: "[celeryd: w1@host:MainProcess] -active- (worker …)".
  if (words.some((word) => /^\[?celery(d|beat| beat)\b/.test(word))) return true;
  if (program !== null && words.some((word) => word === program || baseName(word) === baseName(program))) {
    return true;
  }
  if (!words.some((word) => word === "worker" || word === "beat")) return false;
  const [first = ""] = words;
  // Under the runtime the program is its main module, whatever the folder is called.
  const isModule = baseName(first).startsWith("deno") && words.some((word) => /\/main\.[jt]s$/.test(word));
  return isModule || first === Deno.execPath() || words.some((word) => /lovage|celery/i.test(word));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** When a process started, wall-clock milliseconds to about a second, or null where the system does not say. */
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

/** Removes the pid file of a process that has ended; one that a living process owns stays. True where it went. */
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
