/**
 * Pid files: made exclusively, taken over from the dead, never from the living.
 *
 * A file appears with its whole content (a link of a finished one), and a dead process's file is replaced under a lock
 * of the file itself, so that of two that find it stale one wins.
 *
 * Source: celery 5.2.6 platforms.py Pidfile (content, messages, exit status 73). Beyond it: a recycled pid is told
 * from the process that wrote the file by comparing the process's start with the file's time.
 */

import { errorText, UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";

/** A pid file of ours. `release` removes it if it is still ours; twice is once. */
export interface Pidfile {
  readonly path: string;
  release(): void;
}

/** Attempts before the file is said to change too often. */
const ATTEMPTS_MAX = 20;

/**
 * Writes our pid to `path`. Throws UsageError with exit status 73 where a living process holds it or the folder
 * cannot be written. `onStale` hears that a dead process's file is replaced. A file with our own pid is ours: this
 * program was started again in place.
 */
export function acquirePidfile(path: string, onStale: (message: string) => void = () => {}): Pidfile {
  const ours = { path, release: () => release(path) };
  const temporary = `${path}.${Deno.pid}`;
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      write(temporary, path);
      if (linked(temporary, path) || replaced(temporary, path, onStale)) return ours;
    }
  } finally {
    removeQuietly(temporary);
  }
  throw new UsageError(`Cannot create pidfile "${path}": other processes keep making it`, {
    exitCode: EXIT.CANNOT_CREATE,
  });
}

function write(temporary: string, path: string): void {
  try {
    removeQuietly(temporary);
    const file = Deno.openSync(temporary, { write: true, createNew: true, mode: 0o644 });
    file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
    file.syncSync();
    file.close();
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
    const text = Deno.readTextFileSync(path).trim();
    const pid = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    // Pid 0 would be our own group, and signals to 1 the system's.
    return pid > 1 || pid === Deno.pid ? pid : null;
  } catch {
    return null; // missing or unreadable: no pid either way
  }
}

/** Whether a process of that pid lives (zombies do not). */
export function isAlive(pid: number): boolean {
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

/** When a process started, wall-clock milliseconds to about a second, or null where the system does not say. */
export function startOfProcessMs(pid: number): number | null {
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
