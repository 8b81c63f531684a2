/** Tasks that call another task's function, and what that means for one that declares what it may touch. */

import type { ResolvedTaskOptions } from "../conf/task_options.ts";

/** Celery's own tasks that call the task they are given once for each item. */
export const LOOPS: ReadonlySet<string> = new Set(["celery.map", "celery.starmap"]);

/** Whether tasks with these options run in a sandbox. */
export function isSandboxed(options: Pick<ResolvedTaskOptions, "permissions" | "memoryLimit">): boolean {
  return options.permissions !== null || options.memoryLimit !== null;
}
