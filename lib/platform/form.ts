/**
 * The form that this program runs in: compiled (`deno compile`: the executable is the program), packed (the
 * self-extracting executable: the runtime runs the bundled main.js from its cache folder) or from source
 * (`deno run main.ts`).
 */

import { filePath } from "../base/mod.ts";

/** True in the bundled program, where modules lie side by side as .js files. */
const IS_BUNDLED = import.meta.url.endsWith(".js");

/** The URL of a module of ours by its name in the bundle and its path from lib/ in the source. */
export function moduleUrl(bundled: string, fromLib: string): URL {
  return IS_BUNDLED ? new URL(`./${bundled}`, import.meta.url) : new URL(`../${fromLib}`, import.meta.url);
}

/** What a person types to run this program: the packed file itself, the compiled one, or null under `deno run`. */
export function selfPath(): string | null {
  const packed = Deno.env.get("LOVAGE_SELF");
  if (packed) return packed;
  return Deno.build.standalone ? Deno.execPath() : null;
}

/** "compiled", "packed" or "source". */
export function formName(): "compiled" | "packed" | "source" {
  return Deno.build.standalone ? "compiled" : packedFolder() === null ? "source" : "packed";
}

/** The folder that the packed program was unpacked to and runs from; null in another form. */
export function packedFolder(): string | null {
  if (!IS_BUNDLED || Deno.build.standalone || selfPath() === null) return null;
  return filePath(new URL(".", import.meta.url)).replace(/\/$/, "");
}
