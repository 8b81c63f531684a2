/**
 * The form in which this program runs: compiled (`deno compile`: the executable is the program), packed (a
 * self-extracting executable: the runtime runs the bundled main.js from its cache folder) or from source
 * (`deno run main.ts`).
 */

import { filePath } from "../base/mod.ts";

/** True in the bundled program, whose modules are .js files in one folder. */
const IS_BUNDLED = import.meta.url.endsWith(".js");

/** Returns the URL of one of our modules, by its name in the bundle and its path from lib/ in the source. */
export function moduleUrl(bundled: string, fromLib: string): URL {
  return IS_BUNDLED ? new URL(`./${bundled}`, import.meta.url) : new URL(`../${fromLib}`, import.meta.url);
}

/**
 * Returns the path of the executable that users run: the packed file or the compiled one; null under `deno
 * run`.
 */
export function selfPath(): string | null {
  const packed = Deno.env.get("LOVAGE_SELF");
  if (packed) return packed;
  return Deno.build.standalone ? Deno.execPath() : null;
}

/** Returns the form of this program. */
export function formName(): "compiled" | "packed" | "source" {
  return Deno.build.standalone ? "compiled" : packedFolder() === null ? "source" : "packed";
}

/**
 * Returns the folder into which the packed program was unpacked and from which it runs; null in another form.
 */
export function packedFolder(): string | null {
  if (!IS_BUNDLED || Deno.build.standalone || selfPath() === null) return null;
  return filePath(new URL(".", import.meta.url)).replace(/\/$/, "");
}
