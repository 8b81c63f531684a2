/** Where an App was made, for one that no `-A` has loaded: the modules that a sandbox of its tasks has to import. */

import { filePath, isOurModule } from "../base/mod.ts";
import type { AppCore } from "./core.ts";

/** Errors that nobody throws: the stack is written out only when it is asked for. */
const makers = new WeakMap<AppCore, Error[]>();

/** The code that calls us makes this App, or a task of it that declares a sandbox. */
export function rememberMaker(app: AppCore): void {
  const known = makers.get(app);
  if (known === undefined) makers.set(app, [new Error()]);
  else known.push(new Error());
}

/** Absolute paths of the modules that made an App and its sandboxed tasks, the App's own first. */
export function modulesOf(app: AppCore): string[] {
  const paths = (makers.get(app) ?? []).map(callerOf).filter((path) => path !== null);
  return [...new Set(paths)];
}

/** The file that the first frame of the user's is in, or null. */
function callerOf({ stack = "" }: Error): string | null {
  for (const [, url] of stack.matchAll(/^\s+at (?:.*\()?(file:\/\/.*?):\d+:\d+\)?$/gm)) {
    if (isOurModule(url!)) continue;
    try {
      return filePath(url!);
    } catch {
      return null; // no path of ours to import
    }
  }
  return null;
}
