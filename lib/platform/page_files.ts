/**
 * The files that the console's pages load: script, stylesheet, icon. The packed program has them next to
 * main.js, and the compiled one contains them there. From source the script is bundled on first use by the
 * runtime's bundler, so that no generated file is kept.
 */

import { filePath, OperatingError } from "../base/mod.ts";
import { formName, moduleUrl } from "./form.ts";

/** The sources of the files; each is served and packed under its key. */
export const PAGE_FILES = {
  "console.js": "console/web/main.tsx",
  "console.css": "console/web/style.css",
  "icon.svg": "console/web/icon.svg",
} as const;

/** The name of a page file. */
export type PageFile = keyof typeof PAGE_FILES;

const read = new Map<PageFile, Promise<Uint8Array<ArrayBuffer>>>();

/**
 * Returns the bytes of a file, which is read or bundled once. Rejects with OperatingError, or the system's
 * error.
 */
export function pageFile(name: PageFile): Promise<Uint8Array<ArrayBuffer>> {
  let bytes = read.get(name);
  if (bytes === undefined) {
    const made = moduleUrl(name, name);
    read.set(name, bytes = formName() === "source" ? makePageFile(name) : Deno.readFile(made));
    // The next call tries again.
    bytes.catch(() => read.delete(name));
  }
  return bytes;
}

/**
 * Makes a file from its source. Rejects with OperatingError if the bundler fails, or with the system's error.
 */
export async function makePageFile(name: PageFile): Promise<Uint8Array<ArrayBuffer>> {
  const source = filePath(moduleUrl(name, PAGE_FILES[name]));
  if (name !== "console.js") return await Deno.readFile(source);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["bundle", "--quiet", "--platform", "browser", "--minify"],
      ...["--config", filePath(moduleUrl("deno.json", "../deno.json")), source],
    ],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  if (success) return stdout;
  throw new OperatingError(`Cannot bundle the console's script: ${new TextDecoder().decode(stderr).trim()}`);
}
