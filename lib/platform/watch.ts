/**
 * Operating system support for the embedded broker and result store: files that wake other processes, and
 * marks that show whether a process is still alive.
 *
 * A writer touches a wake file, and its watchers are notified within a millisecond, without polling. A touch
 * can be missed (a removed file, no inotify instance left), so watchers must also check from time to time.
 */

import { errorText, OperatingError } from "../base/mod.ts";
import { systemFiles } from "./system_files.ts";

/** A running watch. `close` ends it and is idempotent. */
export interface TouchWatch {
  close(): void;
}

/**
 * Calls `onTouch` with the path of a file each time it is touched. Creates missing files. Throws
 * OperatingError if the system refuses to watch, as when its limit of watches is reached.
 */
export function watchTouches(paths: readonly string[], onTouch: (path: string) => void): TouchWatch {
  for (const path of paths) makeFile(path);
  try {
    return { close: systemFiles().watch(paths, onTouch) };
  } catch (error) {
    throw new OperatingError(`Cannot watch "${paths[0]}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Sets a file's times to `atMs`, wall-clock milliseconds, which wakes its watchers. Creates a missing file.
 * Never throws.
 */
export function touchFile(path: string, atMs: number): void {
  try {
    systemFiles().touch(path, atMs);
  } catch {
    try {
      makeFile(path);
    } catch {
      // Periodic checks make up for a lost wake-up.
    }
  }
}

/** The space in which process ids are unique: one boot of one kernel, and one pid namespace. */
export interface ProcessSpace {
  readonly boot: string;
  readonly namespace: string;
}

/** Returns the space of our own process id, or null if the system has no /proc. */
export function processSpace(): ProcessSpace | null {
  try {
    return {
      boot: systemFiles().readText("/proc/sys/kernel/random/boot_id").trim(),
      namespace: systemFiles().readLink("/proc/self/ns/pid"),
    };
  } catch {
    return null;
  }
}

/**
 * Returns a mark of the process with this id: its start in ticks since boot, which stays the same while the
 * process lives and differs for a later process with the same id. Null if there is no such process or only a
 * zombie.
 */
export function processMark(pid: number): string | null {
  try {
    const stat = systemFiles().readText(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? null : fields[19] ?? null;
  } catch {
    return null;
  }
}

function makeFile(path: string): void {
  systemFiles().makeFile(path, 0o600);
}
