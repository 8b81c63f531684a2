/** The npm package as users have it, installed from its tarball, and the runtimes that it runs on. */

import { makeNpm, type NpmPackage } from "../../.ci/npm.ts";
import { filePath } from "../../lib/base/mod.ts";
import { type Finished, runProgram } from "./run.ts";
import { temporaryFolder } from "./temporary.ts";

/** The version of Bun that the tests use. */
const BUN = "1.4.5";

/** A folder with the package installed; removed at the end of the test file. */
export interface InstalledPackage {
  readonly folder: string;
  readonly made: NpmPackage;
  /** Runs a command in the folder to its end. */
  run(command: readonly string[], env?: Record<string, string>): Promise<Finished>;
}

/** Builds the package and installs it into an empty folder, with the other packages named. */
export async function installedPackage(...others: readonly string[]): Promise<InstalledPackage> {
  const folder = temporaryFolder();
  const made = await makeNpm(`${folder}/made`);
  if (others.length > 0) await npmInstall(folder, "--prefer-offline", ...others);
  // The packages of the binary for each platform are optional, and not in a registry.
  await npmInstall(folder, "--offline", made.path);
  return { folder, made, run: (command, env) => runIn(folder, command, env) };
}

/**
 * Returns the path of Bun, which is installed from npm into .tools if it is missing. The package contains the
 * program; none of its scripts is run. Rejects if it cannot be installed.
 */
export async function bun(): Promise<string> {
  const { os, arch } = Deno.build;
  const name = `bun-${os}-${arch === "x86_64" ? "x64-baseline" : arch}`;
  const tools = new URL("../../.tools/", import.meta.url);
  const home = filePath(new URL(`bun-${BUN}/`, tools));
  const path = `${home}node_modules/@oven/${name}/bin/bun`;
  if (await Deno.stat(path).catch(() => null) === null) {
    await Deno.mkdir(home, { recursive: true });
    await npmInstall(home, `@oven/${name}@${BUN}`);
  }
  return path;
}

async function npmInstall(folder: string, ...packages: readonly string[]): Promise<void> {
  // Without its own named package.json, npm would take a folder above for the project, and remove packages
  // there.
  const own = `${folder}/package.json`;
  if (await Deno.stat(own).catch(() => null) === null) {
    await Deno.writeTextFile(own, `{ "private": true, "type": "module" }`);
  }
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const { code, out, err } = await runIn(folder, [
    "npm",
    "install",
    "--prefix",
    folder,
    ...quiet,
    ...packages,
  ]);
  if (code !== 0) throw new Error(`npm cannot install ${packages.join(", ")}: ${out}${err}`);
}

function runIn(cwd: string, command: readonly string[], env = {}): Promise<Finished> {
  return runProgram(command, { cwd, env: { NO_COLOR: "1", ...env } });
}
