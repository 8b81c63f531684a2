/**
 * The declaration file of the library, which editors and compilers read: the packed program has it beside main.js, the
 * compiled one carries it there too. From source it is made when it is asked for (.ci/declarations.ts).
 */

import { filePath, OperatingError, VERSION } from "../base/mod.ts";
import { formName, moduleUrl } from "./form.ts";
import { readFile } from "./files.ts";

/** Where a project keeps it, below its folder. */
export const TYPES_FILE = ".lovage/types/lovage.d.ts";
/** Its name beside the program. */
export const DECLARATIONS = "lovage.d.ts";
/** The first line of what a project keeps. */
const HEAD = /^\/\/ lovage ([^\s:]+)/;

/** The text of the declaration file as a project keeps it. Rejects with OperatingError if it cannot be had. */
export async function projectTypes(): Promise<string> {
  const head = `// lovage ${VERSION}: the library's types. Written by "lovage types"; do not edit.`;
  return `${head}\n/// <reference path="./remote.d.ts" />\n\n${await declarations()}`;
}

/** Of a project in `folder` whose types are of another version: which. Null: of this version, or it keeps none. */
export function staleTypes(folder: string): string | null {
  const text = readFile(`${folder}/${TYPES_FILE}`);
  if (text === null) return null;
  const version = HEAD.exec(text)?.[1] ?? "unknown";
  return version === VERSION ? null : version;
}

async function declarations(): Promise<string> {
  if (formName() !== "source") {
    return await Deno.readTextFile(moduleUrl(DECLARATIONS, DECLARATIONS));
  }
  const made = Deno.makeTempFileSync({ prefix: "lovage-types-" });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--quiet", "--config", filePath(moduleUrl("deno.json", "../deno.json"))],
        ...[filePath(moduleUrl("declarations.ts", "../.ci/declarations.ts")), made],
      ],
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    if (success) return await Deno.readTextFile(made);
    const why = new TextDecoder().decode(stderr).trim().split("\n")[0];
    throw new OperatingError(`Cannot make the declaration file: ${why}`);
  } finally {
    Deno.removeSync(made);
  }
}
