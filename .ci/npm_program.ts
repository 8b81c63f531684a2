/**
 * The program on npm: a package for each platform, of which npm installs the matching one, and a launcher in
 * the package `lovage`. Nothing is downloaded or run at installation.
 */

import { run } from "./commands.ts";
import { filePath, VERSION } from "../lib/base/mod.ts";
import { buildProgram, type Platform, PLATFORMS, ROOT, stagedProgram, wantedPlatforms } from "./program.ts";

/** The launcher's source. */
export const LAUNCHER = filePath(new URL("npm_launcher.mjs", import.meta.url));

/** The names of the packages. */
export function programPackages(): string[] {
  return PLATFORMS.map(packageName);
}

/**
 * Makes the package of a platform from a built program and the licences of its parts. Returns the tarball's
 * path.
 */
export async function makeProgramPackage(
  folder: string,
  { platform, program, licenses }: {
    readonly platform: Platform;
    readonly program: string;
    readonly licenses: string;
  },
): Promise<string> {
  const stage = await Deno.makeTempDir({ prefix: "lovage-npm-" });
  try {
    const [os, cpu] = platform.node;
    const file = `bin/lovage${os === "win32" ? ".exe" : ""}`;
    await Deno.mkdir(`${stage}/bin`);
    await Deno.copyFile(program, `${stage}/${file}`);
    await Deno.chmod(`${stage}/${file}`, 0o755);
    await Deno.copyFile(`${ROOT}/LICENSE`, `${stage}/LICENSE`);
    await Deno.writeTextFile(`${stage}/LICENSES.txt`, licenses);
    const manifest = {
      name: packageName(platform),
      version: VERSION,
      description: `The program of the package lovage for ${platform.name}`,
      license: "MIT",
      os: [os],
      cpu: [cpu],
      ...os === "linux" ? { libc: ["glibc"] } : {},
      // The program runs from its place in node_modules.
      preferUnplugged: true,
      files: ["bin", "LICENSES.txt"],
    };
    await Deno.writeTextFile(`${stage}/package.json`, `${JSON.stringify(manifest, null, 2)}\n`);
    await Deno.mkdir(folder, { recursive: true });
    const said = await run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: stage });
    return `${folder}/${said.trim().split("\n").at(-1)}`;
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/** Builds and packs the program for every platform that can be built here, and prints the result of each. */
export async function makeProgramPackages(folder: string): Promise<void> {
  await using staged = await stagedProgram();
  const licenses = await Deno.readTextFile(`${staged.folder}/LICENSES.txt`);
  for (const platform of wantedPlatforms()) {
    const program = await Deno.makeTempFile({ prefix: "lovage-program-" });
    try {
      const built = await buildProgram(staged.folder, { output: program, platform });
      if ("reason" in built) {
        console.log(`${packageName(platform)}: not built: ${built.reason}`);
        continue;
      }
      const path = await makeProgramPackage(folder, { platform, program, licenses });
      const { size } = await Deno.stat(path);
      console.log(`${path.slice(ROOT.length + 1)}: ${built.how}, ${(size / 2 ** 20).toFixed(0)} MiB`);
    } finally {
      await Deno.remove(program);
    }
  }
}

function packageName({ node: [os, cpu] }: Platform): string {
  return `@lovage/${os}-${cpu}`;
}
