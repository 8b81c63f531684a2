/** Tasks that call another task's function, which matters if that task is sandboxed. */

import type { ResolvedTaskOptions } from "../conf/task_options.ts";

/** Celery's own tasks that call the given task once for each item. */
export const LOOPS: ReadonlySet<string> = new Set(["celery.map", "celery.starmap"]);

/** Returns true if tasks with these options run in a sandbox. */
export function isSandboxed(options: Pick<ResolvedTaskOptions, "permissions" | "memoryLimit">): boolean {
  return options.permissions !== null || options.memoryLimit !== null;
}
