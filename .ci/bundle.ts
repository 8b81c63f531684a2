/** Bundles the program: all modules and their packages as JavaScript, in one flat folder. */

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

/** The modules that are loaded by URL: the program, the library, and the entries of slots. */
const ENTRIES = [
  "main.ts",
  "lib/mod.ts",
  "lib/pool/child/child_main.ts",
  "lib/pool/child/child_thread.ts",
  "lib/http/isolate_main.ts",
];

/** The file in which the compiler finds the library's types. */
const TYPES_OF_LOVAGE = `/* @ts-self-types="./${DECLARATIONS}" */\n`;

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Bundles the program into a folder, with the configuration that it runs with. Rejects if that fails. */
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
 * Writes the files that the program reads besides its code into a folder: the console's page files, the
 * library's declaration file, and the facts of the build.
 */
async function writePageFiles(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for (const name of Object.keys(PAGE_FILES) as PageFile[]) {
    await Deno.writeFile(`${folder}/${name}`, await makePageFile(name));
  }
  await Deno.writeTextFile(`${folder}/${DECLARATIONS}`, await makeDeclarations());
  await Deno.writeTextFile(`${folder}/${BUILD_FILE}`, toJson(await buildOf()));
}

/** Returns the commit, and the release server from LOVAGE_BASE_URL. */
async function buildOf(): Promise<BuildFacts> {
  const commit = await gitText("rev-parse", "HEAD");
  return { commit, releases: Deno.env.get("LOVAGE_BASE_URL") || null };
}

/**
 * Moves all modules of the bundle into one folder, under the names that platform/spawn.ts looks for (main.js,
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
 * Minifies the modules. The minifier of the runtime's own bundler is not used: it inlines values that are
 * used once, and drops their `using`, so that resources stayed open.
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
 * Makes dynamic imports of a module invisible until they run. Otherwise the runtime reads every module that
 * an `import()` names before it runs the first, so the whole program: 45 ms of processor time at each start.
 */
function lateImports(code: string): string {
  const late = code.replaceAll(/\bimport\(("\.\/[\w.-]+\.js")\)/g, "__load($1)");
  return late === code ? code : `const __load = (path) => import(path);\n${late}`;
}

/**
 * Makes a module create the `require` of CommonJS packages at its first call: node:module takes 50 ms at each
 * start.
 */
function lateRequire(code: string): string {
  if (!code.includes("__deno_internal_createRequire")) return code;
  const late = code.replace(
    /^import \{ createRequire as __deno_internal_createRequire \} from "node:module";\nvar __require = .*;$/m,
    'let __made;\nvar __require = (id) => (__made ??= process.getBuiltinModule("node:module").createRequire(import.meta.url))(id);',
  );
  if (late === code) throw new Error("The bundler makes require in another way now");
  return late;
}

/** Returns the configuration of the packed program: its import of "lovage" and the unstable features. */
async function packedConfig(): Promise<Record<string, unknown>> {
  const config = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  return {
    nodeModulesDir: "none",
    lock: false,
    unstable: config.unstable,
    imports: { lovage: "./lovage.js" },
  };
}
