/**
 * `make npm`: builds dist/npm/lovage-VERSION.tgz, with the client for Node (from the door lib/client.ts) and
 * the launcher of the program; and a package of the program for each platform that can be built here
 * (npm_program.ts).
 *
 * The library (npm_client.ts) has the program as its only dependency, an optional one for the platform.
 * Nothing runs at installation.
 */

import { run } from "./commands.ts";
import { filePath, VERSION } from "../lib/base/mod.ts";
import { makeDeclarations } from "./declarations.ts";
import { thirdPartyLicenses } from "./licenses.ts";
import { bundleClient } from "./npm_client.ts";
import { LAUNCHER, makeProgramPackages, programPackages } from "./npm_program.ts";

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** The first Node 20 with `process.getBuiltinModule`. */
const NODE = ">=20.16";

/** A tarball, and the bytes of JavaScript that programs load from it, by use. */
export interface NpmPackage {
  readonly path: string;
  readonly loaded: ReadonlyMap<string, number>;
}

/** Builds the tarball in a folder. Rejects if a step fails. */
export async function makeNpm(folder: string): Promise<NpmPackage> {
  const stage = await Deno.makeTempDir({ prefix: "lovage-npm-" });
  try {
    const loaded = await bundleClient(`${stage}/package/lib`);
    const text = (path: string, content: string) => Deno.writeTextFile(`${stage}/package/${path}`, content);
    const declarations = await makeDeclarations("client");
    await text("lib/lovage.d.ts", declarations);
    // A compiler takes declarations next to a .cjs file as CommonJS.
    await text("lib/lovage.d.cts", declarations);
    await text("lib/lovage.cjs", `"use strict";\nmodule.exports = require("./lovage.js");\n`);
    await text("package.json", `${JSON.stringify(manifest(), null, 2)}\n`);
    await text("LICENSES.txt", await thirdPartyLicenses("lib/client.ts", { hasRuntime: false }));
    await Deno.mkdir(`${stage}/package/bin`);
    await Deno.copyFile(LAUNCHER, `${stage}/package/bin/lovage.js`);
    await Deno.chmod(`${stage}/package/bin/lovage.js`, 0o755);
    await Deno.copyFile(`${root}/LICENSE`, `${stage}/package/LICENSE`);
    await Deno.copyFile(`${root}/docs/node.md`, `${stage}/package/README.md`);
    await Deno.mkdir(folder, { recursive: true });
    await run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: `${stage}/package` });
    return { path: `${folder}/lovage-${VERSION}.tgz`, loaded };
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

function manifest(): Record<string, unknown> {
  return {
    name: "lovage",
    version: VERSION,
    description: "Sends tasks to Lovage and Celery workers from Node, and waits for their results",
    license: "MIT",
    type: "module",
    engines: { node: NODE },
    exports: {
      ".": {
        import: { types: "./lib/lovage.d.ts", default: "./lib/lovage.js" },
        require: { types: "./lib/lovage.d.cts", default: "./lib/lovage.cjs" },
      },
      "./package.json": "./package.json",
    },
    bin: { lovage: "bin/lovage.js" },
    optionalDependencies: Object.fromEntries(programPackages().map((name) => [name, VERSION])),
    main: "./lib/lovage.cjs",
    types: "./lib/lovage.d.cts",
    sideEffects: true,
    files: ["bin", "lib", "LICENSES.txt"],
  };
}

if (import.meta.main) {
  const { path, loaded } = await makeNpm(`${root}/dist/npm`);
  const { size } = await Deno.stat(path);
  console.log(`${path.slice(root.length + 1)}: ${(size / 1000).toFixed(0)} KB`);
  for (const [use, bytes] of loaded) console.log(`  loaded with ${use}: ${(bytes / 1000).toFixed(0)} KB`);
  await makeProgramPackages(`${root}/dist/npm`);
}
