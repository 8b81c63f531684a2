/**
 * Where an App was created, for an App that was not loaded by `-A`: the modules that a sandbox of its tasks
 * must import.
 */

import { filePath, isOurModule } from "../base/mod.ts";
import type { AppCore } from "./core.ts";

/** Errors that are never thrown: their stack is formatted only when it is read. */
const makers = new WeakMap<AppCore, Error[]>();

/** Records that the calling code creates this App, or a sandboxed task of it. */
export function rememberMaker(app: AppCore): void {
  const known = makers.get(app);
  if (known === undefined) makers.set(app, [new Error()]);
  else known.push(new Error());
}

/**
 * Returns the absolute paths of the modules that created an App and its sandboxed tasks, the App's own first.
 */
export function modulesOf(app: AppCore): string[] {
  const paths = (makers.get(app) ?? []).map(callerOf).filter((path) => path !== null);
  return [...new Set(paths)];
}

/** Returns the file of the first stack frame in user code, or null. */
function callerOf({ stack = "" }: Error): string | null {
  for (const [, url] of stack.matchAll(/^\s+at (?:.*\()?(file:\/\/.*?):\d+:\d+\)?$/gm)) {
    if (isOurModule(url!)) continue;
    try {
      return filePath(url!);
    } catch {
      return null; // not a local path
    }
  }
  return null;
}
