/** The packed program for tests: complete except for the runtime, which is the one that the tests run in. */

import { bundleProgram } from "../../.ci/bundle.ts";
import { packFolder } from "../../.ci/pack.ts";
import { readStub } from "../../.ci/program.ts";
import { VERSION } from "../../lib/base/mod.ts";

/**
 * Bundles the program into a temporary folder, from which it can be packed several times. Removed when
 * disposed.
 */
export async function stagedForTests(): Promise<{ folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir({ prefix: "lovage-packed-" });
  await bundleProgram(folder);
  const runtime = `#!/bin/sh\nexec '${Deno.execPath()}' "$@"\n`;
  await Deno.writeTextFile(`${folder}/deno`, runtime, { mode: 0o755 });
  return { folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

/** Makes the packed file, or makes it again. */
export async function packedProgram(target: string): Promise<void> {
  await using program = await stagedForTests();
  await packFolder(program.folder, { stub: await readStub(), target });
}

/** Changes the version of a staged program. */
export async function makeVersion(folder: string, version: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".js")) continue;
    const code = await Deno.readTextFile(`${folder}/${name}`);
    const other = code.replace(`{version:"${VERSION}"`, `{version:"${version}"`);
    if (other !== code) await Deno.writeTextFile(`${folder}/${name}`, other);
  }
}
