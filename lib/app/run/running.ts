/**
 * What runs tasks in this process by itself: `apply`, calls under `task_always_eager`, `celery.chord_unlock`. The
 * program has it from the start (mod.ts imports running_here.ts). The npm package leaves that import out and loads it
 * with the first such call, since what only sends tasks does without. Loading it then in the program would be a fault:
 * Deno 2.9 goes on in the context of the code that loads a module, which may be a task.
 */

import type { RunningParts } from "./running_parts.ts";

/** Filled in by running_here.ts, or by `loadRunning`. */
export const running: { parts: RunningParts | null } = { parts: null };

/** The functions, loaded if they are not there yet. */
export async function loadRunning(): Promise<RunningParts> {
  return running.parts ??= (await import("./running_parts.ts")).RUNNING_PARTS;
}
