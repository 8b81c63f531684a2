/**
 * Makes the declaration file of the library: all exports of "lovage" in one file without dependencies, with
 * comments. `deno run -A .ci/declarations.ts FILE` writes it.
 *
 * `make dist` and `make npm` use it, and so do `lovage init` and `lovage types` if the program runs from
 * source. The file is not in the repository, since each change of a type would change it. It is cached in
 * dist/types/ under a digest of the sources.
 */

import { rollup } from "rollup";
import dts from "rollup-plugin-dts";
import ts from "typescript";
import { filePath } from "../lib/base/mod.ts";

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");
const KEPT = `${root}/dist/types`;

/**
 * Returns the declaration file of one door of the library: `mod`, all of it, or `client`, without the worker.
 */
export async function makeDeclarations(door: "mod" | "client" = "mod"): Promise<string> {
  const kept = `${KEPT}/${door}-${await digestOfSources()}.d.ts`;
  const found = await Deno.readTextFile(kept).catch(() => null);
  if (found !== null) return found;
  const text = await rolledUp(`${root}/lib/${door}.ts`);
  await Deno.mkdir(KEPT, { recursive: true });
  for await (const { name } of Deno.readDir(KEPT)) {
    if (name.startsWith(`${door}-`)) await Deno.remove(`${KEPT}/${name}`).catch(() => {});
  }
  const temporary = await Deno.makeTempFile({ dir: KEPT, prefix: "new-" });
  await Deno.writeTextFile(temporary, text);
  await Deno.chmod(temporary, 0o644);
  await Deno.rename(temporary, kept);
  return text;
}

async function rolledUp(input: string): Promise<string> {
  const bundle = await rollup({
    input,
    external: (id) => !/^[./]/.test(id),
    plugins: [
      dts({
        tsconfig: false as never,
        compilerOptions: {
          target: ts.ScriptTarget.ESNext,
          module: ts.ModuleKind.ESNext,
          moduleResolution: ts.ModuleResolutionKind.Bundler,
          allowImportingTsExtensions: true,
          resolveJsonModule: true,
          strict: true,
          exactOptionalPropertyTypes: true,
          lib: ["lib.esnext.d.ts", "lib.dom.d.ts"],
          types: [],
          skipLibCheck: true,
          noCheck: true,
        },
      }),
    ],
    onwarn() {
      // Interfaces that other modules fill in are handled by `merged`.
    },
  });
  const { output } = await bundle.generate({ format: "es" });
  await bundle.close();
  const text = merged(output[0].code);
  const foreign = /^import .* from .*$|\bDeno\.[A-Z]\w*|import\("node:/m.exec(
    text.replaceAll(/\/\*[\s\S]*?\*\//g, ""),
  );
  if (foreign) throw new Error(`The declarations need something that is not in them: ${foreign[0]}`);
  return text;
}

/** Merges interfaces that other modules fill in, since all are now in one file. */
function merged(text: string): string {
  return text.replaceAll(
    /^declare module "\.[^"]*" \{\n([\s\S]*?)^\}\n/gm,
    (_, body: string) => body.replaceAll(/^ {4}/gm, ""),
  );
}

async function digestOfSources(): Promise<string> {
  const parts: Uint8Array[] = [];
  const walk = async (folder: string): Promise<void> => {
    const names: Deno.DirEntry[] = [];
    for await (const entry of Deno.readDir(folder)) names.push(entry);
    for (const { name, isDirectory } of names.sort((a, b) => a.name < b.name ? -1 : 1)) {
      if (isDirectory) await walk(`${folder}/${name}`);
      else if (name.endsWith(".ts")) parts.push(await Deno.readFile(`${folder}/${name}`));
    }
  };
  await walk(`${root}/lib`);
  parts.push(await Deno.readFile(filePath(import.meta.url)));
  const hash = await crypto.subtle.digest("SHA-256", await new Blob(parts as BlobPart[]).arrayBuffer());
  return new Uint8Array(hash).slice(0, 8).toHex();
}

if (import.meta.main) await Deno.writeTextFile(Deno.args[0]!, await makeDeclarations());
