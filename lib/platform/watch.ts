/**
 * What the embedded broker and result store need of the operating system: files that wake other processes, and marks
 * that tell whether a process still lives.
 *
 * A writer touches a wake file; whoever watches it is told within a millisecond, without polling. A touch can be
 * missed (a removed file, no inotify instance left), so whoever relies on it also looks now and then.
 */

import { errorText, OperatingError } from "../base/mod.ts";
import { systemFiles } from "./system_files.ts";

/** A running watch. `close` ends it; twice is once. */
export interface TouchWatch {
  close(): void;
}

/**
 * Calls `onTouch` with the path of a file whenever it was touched. Files that do not exist are made. Throws
 * OperatingError where the system refuses to watch (its limit of watches is reached).
 */
export function watchTouches(paths: readonly string[], onTouch: (path: string) => void): TouchWatch {
  for (const path of paths) makeFile(path);
  try {
    return { close: systemFiles().watch(paths, onTouch) };
  } catch (error) {
    throw new OperatingError(`Cannot watch "${paths[0]}": ${errorText(error)}`, { cause: error });
  }
}

/** Sets a file's times to `atMs`, which wakes its watchers; makes it where there is none. Never throws. */
export function touchFile(path: string, atMs: number): void {
  try {
    systemFiles().touch(path, atMs);
  } catch {
    try {
      makeFile(path);
    } catch {
      // A wake-up lost is made good by the regular look.
    }
  }
}

/** Where process ids mean the same: one boot of one kernel, one namespace. */
export interface ProcessSpace {
  readonly boot: string;
  readonly namespace: string;
}

/** The space of our own process id, or null where the system does not say (no /proc). */
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
 * A text that stays the same as long as the process of this id lives and differs for a later one of the same id
 * (its start, in ticks since boot); null where there is none, or only its zombie.
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
