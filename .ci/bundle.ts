/** The bundled program: every module of ours and its packages as JavaScript, in one flat folder. */

import { gitText, run } from "./commands.ts";
import { stop, transform } from "esbuild";
import { filePath } from "../lib/base/mod.ts";
import {
  BUILD_FILE,
  type BuildFacts,
  DECLARATIONS,
  makePageFile,
  PAGE_FILES,
  type PageFile,
} from "../lib/platform/mod.ts";
import { toJson } from "../lib/wire/mod.ts";
import { makeDeclarations } from "./declarations.ts";

/** The modules that are loaded by their own URL: the program, what users import, and where slots begin. */
const ENTRIES = [
  "main.ts",
  "lib/mod.ts",
  "lib/pool/child/child_main.ts",
  "lib/pool/child/child_thread.ts",
  "lib/http/isolate_main.ts",
];

/** Where the compiler finds the types of what users import. */
const TYPES_OF_LOVAGE = `/* @ts-self-types="./${DECLARATIONS}" */\n`;

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Bundles the program into a folder, with the configuration that it runs under. Rejects where that fails. */
export async function bundleProgram(program: string): Promise<void> {
  await run(Deno.execPath(), [
    ...["bundle", "--quiet", "--platform", "deno", "--code-splitting", "--keep-names"],
    ...["--outdir", program, ...ENTRIES],
  ]);
  await flatten(program);
  await minify(program);
  await writePageFiles(program);
  await Deno.writeTextFile(`${program}/deno.json`, JSON.stringify(await packedConfig(), null, 2));
}

/**
 * Writes what the program reads beside its code into a folder: what the console's pages load, under the names that it is
 * served by, the library's declaration file, and what it knows of its build.
 */
async function writePageFiles(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for (const name of Object.keys(PAGE_FILES) as PageFile[]) {
    await Deno.writeFile(`${folder}/${name}`, await makePageFile(name));
  }
  await Deno.writeTextFile(`${folder}/${DECLARATIONS}`, await makeDeclarations());
  await Deno.writeTextFile(`${folder}/${BUILD_FILE}`, toJson(await buildOf()));
}

/** The commit, and the server of releases that LOVAGE_BASE_URL names for the program to know. */
async function buildOf(): Promise<BuildFacts> {
  const commit = await gitText("rev-parse", "HEAD");
  return { commit, releases: Deno.env.get("LOVAGE_BASE_URL") || null };
}

/**
 * Brings every module of the bundle into one folder under the name that platform/spawn.ts looks for (main.js,
 * lovage.js, child_main.js, child_thread.js, http_isolate.js).
 */
async function flatten(folder: string): Promise<void> {
  const moves = [
    ["lib/mod.js", "lovage.js"],
    ["lib/pool/child/child_main.js", "child_main.js"],
    ["lib/pool/child/child_thread.js", "child_thread.js"],
    ["lib/http/isolate_main.js", "http_isolate.js"],
  ] as const;
  for (const [from, to] of moves) {
    const code = await Deno.readTextFile(`${folder}/${from}`);
    const up = "../".repeat(from.split("/").length - 1);
    await Deno.writeTextFile(`${folder}/${to}`, code.replaceAll(`"${up}`, `"./`));
  }
  await Deno.remove(`${folder}/lib`, { recursive: true });
}

/**
 * Minifies the modules. Not by the runtime's own bundler, whose minifier puts a value that is used once in the place of
 * its use, and drops `using` with it: what it held stayed open.
 */
async function minify(folder: string): Promise<void> {
  const options = { format: "esm", target: "esnext", minify: true, legalComments: "none" } as const;
  try {
    const { code: sample } = await transform(
      "export function f(open){using held=open();return held.read()}",
      options,
    );
    if (!sample.includes("using ")) throw new Error(`The minifier drops "using": ${sample}`);
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.endsWith(".js")) continue;
      const path = `${folder}/${name}`;
      const { code } = await transform(lateRequire(lateImports(await Deno.readTextFile(path))), options);
      await Deno.writeTextFile(path, name === "lovage.js" ? `${TYPES_OF_LOVAGE}${code}` : code);
    }
  } finally {
    await stop();
  }
}

/**
 * A module whose dynamic imports are looked at when they run. The runtime reads every module that an `import()` names
 * before it runs the first, which is all of the program: 45 ms of processor time in each start.
 */
function lateImports(code: string): string {
  const late = code.replaceAll(/\bimport\(("\.\/[\w.-]+\.js")\)/g, "__load($1)");
  return late === code ? code : `const __load = (path) => import(path);\n${late}`;
}

/** A module that makes the `require` of CommonJS packages when one calls it: node:module takes 50 ms of each start. */
function lateRequire(code: string): string {
  if (!code.includes("__deno_internal_createRequire")) return code;
  const late = code.replace(
    /^import \{ createRequire as __deno_internal_createRequire \} from "node:module";\nvar __require = .*;$/m,
    'let __made;\nvar __require = (id) => (__made ??= process.getBuiltinModule("node:module").createRequire(import.meta.url))(id);',
  );
  if (late === code) throw new Error("The bundler makes require in another way now");
  return late;
}

/** The configuration that the packed program runs with: its import of "lovage" and the unstable features. */
async function packedConfig(): Promise<Record<string, unknown>> {
  const config = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  return {
    nodeModulesDir: "none",
    lock: false,
    unstable: config.unstable,
    imports: { lovage: "./lovage.js" },
  };
}
