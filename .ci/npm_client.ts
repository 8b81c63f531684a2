/**
 * Bundles the library of the npm package as JavaScript: ES modules of which a program loads only those it
 * needs (a broker, a result store, a serializer), and measures their size.
 *
 * esbuild bundles the sources, since it can be told that importing a module has no side effects, so that the
 * code of one store is not loaded with another. Packages are taken from the runtime's cache.
 */

import { isBuiltin } from "node:module";
import { build, type Metafile, type Plugin, stop } from "esbuild";
import { filePath, fileUrl } from "../lib/base/mod.ts";
import { packagesOf } from "./packages.ts";

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");
const ENTRY = "lib/client.ts";

/** Modules with side effects when imported. All others have none. */
const DOES_SOMETHING = /\/(?:client|door|since_node_20)\.ts$/;

/** Maximum size loaded by a program that uses Redis for both, or RabbitMQ with `rpc://`: bytes, minified. */
export const LOADED_BYTES_MAX = 400_000;

/** Modules that a program loads besides the core, by use. */
const USES: Readonly<Record<string, readonly string[]>> = {
  "no server yet": [],
  "Redis, broker and results": [
    "lib/transport/redis/redis.ts",
    "lib/backend/redis.ts",
    "@redis/client/6.3.1/dist/lib/client/commands-queue.js",
    "@redis/client/6.3.1/dist/lib/client/socket.js",
    "@redis/client/6.3.1/dist/lib/errors.js",
  ],
  "RabbitMQ and rpc://": ["lib/transport/amqp/amqp.ts", "lib/backend/rpc.ts"],
};

/** Bundles the library into a folder. Resolves to the bytes that a program loads, by use. */
export async function bundleClient(target: string): Promise<ReadonlyMap<string, number>> {
  const modules = await Deno.makeTempDir({ prefix: "lovage-modules-" });
  try {
    for (const { name, localPath } of await packagesOf(ENTRY)) {
      await Deno.mkdir(`${modules}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.symlink(localPath, `${modules}/${name}`);
    }
    const { outputFiles, metafile } = await build({
      entryPoints: { lovage: `${root}/${ENTRY}` },
      absWorkingDir: root,
      outdir: target,
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      target: "node20.16",
      minify: true,
      // Node prints the line at which an error is thrown.
      lineLimit: 120,
      logLevel: "warning",
      logOverride: { "ignored-bare-import": "silent" },
      nodePaths: [modules],
      // The variant that does not look for native code.
      alias: { "cbor-x": `${modules}/cbor-x/index.js` },
      plugins: [onlyWhatIsUsed()],
      metafile: true,
      write: false,
    });
    await Deno.mkdir(target, { recursive: true });
    for (const { path, text } of outputFiles) {
      // `require` of a package would fail in ES modules.
      if (text.includes("Dynamic require of")) {
        throw new Error(`${path} calls require, which ES modules lack`);
      }
      await Deno.writeTextFile(path, text);
    }
    return new Map(Object.entries(USES).map(([use, entries]) => [use, loadedBytes(metafile, entries)]));
  } finally {
    await stop();
    await Deno.remove(modules, { recursive: true });
  }
}

/** Drops unused modules, and gives CommonJS packages the runtime's modules without `require`. */
function onlyWhatIsUsed(): Plugin {
  return {
    name: "only what is used",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ path, resolveDir }) => {
        const found = filePath(new URL(path, fileUrl(`${resolveDir}/`)));
        return { path: found, sideEffects: DOES_SOMETHING.test(found) };
      });
      onResolve({ filter: /^[a-z]/ }, ({ path, kind }) => {
        return kind === "require-call" && isBuiltin(path) ? { path, namespace: "runtime" } : null;
      });
      onLoad({ filter: /./, namespace: "runtime" }, ({ path }) => {
        return { contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});` };
      });
    },
  };
}

/** Returns the bytes of the library's main file, of the given entries, and of their imports. */
function loadedBytes({ outputs }: Metafile, entries: readonly string[]): number {
  const loaded = new Set<string>();
  const load = (path: string): void => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const { path: other, kind } of outputs[path]!.imports) {
      if (kind === "import-statement" && outputs[other] !== undefined) load(other);
    }
  };
  for (const entry of [ENTRY, ...entries]) {
    const found = Object.keys(outputs).find((path) => outputs[path]!.entryPoint?.endsWith(entry));
    if (found === undefined) throw new Error(`Nothing in the npm package begins with ${entry}`);
    load(found);
  }
  return [...loaded].reduce((total, path) => total + outputs[path]!.bytes, 0);
}
