/**
 * The functions that run tasks in this process: `apply`, calls under `task_always_eager`,
 * `celery.chord_unlock`. The program has them from the start (mod.ts imports running_here.ts). The npm
 * package leaves that import out and loads them with the first such call, since a program that only sends
 * tasks does not need them. The program must not load them late: after an import, Deno 2.9 continues in the
 * context of the code that loaded the module, which may be a task.
 */

import type { RunningParts } from "./running_parts.ts";

/** Set by running_here.ts, or by `loadRunning`. */
export const running: { parts: RunningParts | null } = { parts: null };

/** Returns the functions, and loads them first if necessary. Rejects with an error of the import. */
export async function loadRunning(): Promise<RunningParts> {
  return running.parts ??= (await import("./running_parts.ts")).RUNNING_PARTS;
}
