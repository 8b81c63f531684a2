/**
 * Pid files: made exclusively, taken over from the dead, never from the living.
 *
 * Source: celery 5.2.6 platforms.py Pidfile (content, messages, exit status 73). Beyond it: a recycled pid is told
 * from the process that wrote the file by comparing the process's start with the file's time.
 */

import { UsageError } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";

/** A pid file of ours. `release` removes it if it is still ours; twice is once. */
export interface Pidfile {
  readonly path: string;
  release(): void;
}

/**
 * Writes our pid to `path`. Throws UsageError with exit status 73 where a living process holds it or the folder
 * cannot be written. `onStale` hears that a dead process's file was removed.
 */
export function acquirePidfile(path: string, onStale: (message: string) => void = () => {}): Pidfile {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = Deno.openSync(path, { write: true, createNew: true, mode: 0o644 });
      file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
      file.syncSync();
      file.close();
      return { path, release: () => release(path) };
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) {
        throw new UsageError(`Cannot create pidfile "${path}": ${(error as Error).message}`, {
          cause: error,
          exitCode: EXIT.CANNOT_CREATE,
        });
      }
    }
    const pid = readPidfile(path);
    if (pid !== null && pid !== Deno.pid && isOwnerAlive(pid, path)) {
      throw new UsageError(
        `ERROR: Pidfile (${path}) already exists.\nSeems we're already running? (pid: ${pid})`,
        { exitCode: EXIT.CANNOT_CREATE },
      );
    }
    onStale("Stale pidfile exists - Removing it.");
    Deno.removeSync(path);
  }
  throw new UsageError(`Cannot create pidfile "${path}": another process keeps making it`, {
    exitCode: EXIT.CANNOT_CREATE,
  });
}

/** The pid in a file, or null where there is no file or no pid in it. */
export function readPidfile(path: string): number | null {
  try {
    const text = Deno.readTextFileSync(path).trim();
    return /^\d+$/.test(text) ? Number(text) : null;
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
  const writtenMs = Deno.statSync(path).mtime?.getTime() ?? null;
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

function release(path: string): void {
  if (readPidfile(path) !== Deno.pid) return;
  try {
    Deno.removeSync(path);
  } catch {
    // Somebody removed it first.
  }
}
