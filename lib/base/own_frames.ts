/** Stack traces without this program's own frames, so that users see their own code. */

import { errorText } from "./errors.ts";
import { filePath } from "./file_url.ts";
import { withOurAdvice } from "./runtime_text.ts";
import { withoutStyles } from "./shown.ts";

/** Undefined if a user bundles this library as CommonJS. */
const HERE: string | undefined = import.meta.url;
const FROM_LIB = "base/own_frames.ts";

/** The folder of this program's own code; null if it is not known. A bundle's folder has no other files. */
const OUR_FOLDER = ourFolder();

/** Cuts the path by hand: a bundler would take `new URL(name, import.meta.url)` for a file to be included. */
function ourFolder(): string | null {
  if (!HERE?.startsWith("file:")) return null;
  const below = HERE.endsWith(`/lib/${FROM_LIB}`) ? FROM_LIB.length : HERE.length - HERE.lastIndexOf("/") - 1;
  return filePath(HERE.slice(0, HERE.length - below));
}

/** The folder in which this process was started; null if it is not known. */
let startFolder: string | null = null;

/**
 * Sets the folder in which this process was started. It is passed in because asking the runtime here, in a
 * way that Node has too, would load much code.
 */
export function setStartFolder(path: string): void {
  startFolder = path;
}

/**
 * Returns the path in a stack frame's `file:` URL. The runtime shows such paths decoded, but for files below
 * its start folder it leaves the part that names that folder encoded.
 */
export function framePath(url: string): string {
  const path = url.slice("file://".length);
  if (startFolder === null || !path.includes("%")) return path;
  const segments = path.split("/");
  const depth = startFolder.split("/").length;
  try {
    const start = decodeURIComponent(segments.slice(0, depth).join("/"));
    return start === startFolder ? [start, ...segments.slice(depth)].join("/") : path;
  } catch {
    return path; // already decoded
  }
}

/** Returns true if a stack frame's module belongs to this program. */
export function isOurModule(url: string): boolean {
  return OUR_FOLDER !== null && url.startsWith("file:") && framePath(url).startsWith(OUR_FOLDER);
}

/**
 * Returns the stack of any thrown value without this program's frames, or the whole stack if it has no other
 * frames. A value without a stack gives its text. Never throws.
 */
export function userStack(error: unknown): string {
  try {
    const stack = error instanceof Error ? error.stack : undefined;
    if (typeof stack !== "string") return errorText(error);
    // The runtime colours frames in its own messages, even if the output is not a terminal.
    const lines = withOurAdvice(withoutStyles(stack)).split("\n");
    const theirs = lines.filter((line) => !isFrame(line) || !isOurModule(/file:\/\/.*/.exec(line)![0]));
    return theirs.some(isFrame) ? theirs.join("\n") : lines.join("\n");
  } catch {
    return errorText(error);
  }
}

function isFrame(line: string): boolean {
  return /^\s+at .*\bfile:\/\//.test(line);
}
