/**
 * The library's declaration file, for editors and compilers. The packed program has it next to main.js, and
 * the compiled one contains it there. From source it is generated on demand (.ci/declarations.ts).
 */

import { filePath, OperatingError, VERSION } from "../base/mod.ts";
import { formName, moduleUrl } from "./form.ts";
import { readFile } from "./files.ts";

/** Its path in a project's folder. */
export const TYPES_FILE = ".lovage/types/lovage.d.ts";
/** Its name next to the program. */
export const DECLARATIONS = "lovage.d.ts";
/** The first line of a project's copy. */
const HEAD = /^\/\/ lovage ([^\s:]+)/;

/**
 * Returns the text of the declaration file for a project. Rejects with OperatingError if it cannot be
 * generated.
 */
export async function projectTypes(): Promise<string> {
  const head = `// lovage ${VERSION}: the library's types. Written by "lovage types"; do not edit.`;
  return `${head}\n/// <reference path="./remote.d.ts" />\n\n${await declarations()}`;
}

/**
 * Returns the version of the declaration file in a project's folder if it differs from this program's. Null
 * if it is the same, or if there is no such file.
 */
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
