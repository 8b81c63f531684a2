/** Stacks without the frames of this program: what a user reads is their own code. */

import { errorText } from "./errors.ts";
import { filePath } from "./file_url.ts";
import { withOurAdvice } from "./runtime_text.ts";
import { withoutStyles } from "./shown.ts";

/** Not there in a bundle of a user's own that is CommonJS. */
const HERE: string | undefined = import.meta.url;
const FROM_LIB = "base/own_frames.ts";

/** The path of this program's own code; null: not known. The folder of a bundle has nothing else in it. */
const OUR_FOLDER = ourFolder();

/** A bundler takes `new URL` of a name and this module's URL for a file that it has to carry. */
function ourFolder(): string | null {
  if (!HERE?.startsWith("file:")) return null;
  const below = HERE.endsWith(`/lib/${FROM_LIB}`) ? FROM_LIB.length : HERE.length - HERE.lastIndexOf("/") - 1;
  return filePath(HERE.slice(0, HERE.length - below));
}

/** The folder this process was started in; null: not known. */
let startFolder: string | null = null;

/** Tells the folder this process was started in. Asking the runtime here, by what Node has too, would load much. */
export function setStartFolder(path: string): void {
  startFolder = path;
}

/**
 * The path of a stack's frame of a `file:` URL. The runtime decodes what it shows there, below the folder that it was
 * started in only what comes after that.
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
    return path; // it is decoded already
  }
}

/** True where the module of a stack's frame is ours. */
export function isOurModule(url: string): boolean {
  return OUR_FOLDER !== null && url.startsWith("file:") && framePath(url).startsWith(OUR_FOLDER);
}

/**
 * The stack of anything thrown, without frames of ours unless it has no others; its text where there is none. Never
 * throws.
 */
export function userStack(error: unknown): string {
  try {
    const stack = error instanceof Error ? error.stack : undefined;
    if (typeof stack !== "string") return errorText(error);
    // The runtime colours the frame that it puts into its own messages, whether anybody sees it or not.
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
