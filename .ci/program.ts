/**
 * Builds the program as one file, in one of two forms (docs/architecture.md, "One file").
 *
 *   compiled  by `deno compile`, if the runtime base is available: downloaded, or named in DENORT_BIN;
 *   packed    else a self-extracting executable: a shell stub, followed by the deno binary and the bundled program,
 *             which it unpacks once into a versioned cache folder and runs from there. Only for Linux.
 *
 * Both contain the same bundled modules and use the same V8 flags.
 */

import { filePath } from "../lib/base/mod.ts";
import { V8_FLAGS } from "../lib/platform/mod.ts";
import { bundleProgram } from "./bundle.ts";
import { thirdPartyLicenses } from "./licenses.ts";
import { packFolder } from "./pack.ts";

/** The folder of the source. */
export const ROOT = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** A platform: the name in its archive, Deno's target, and Node's names of system and processor. */
export interface Platform {
  readonly name: string;
  readonly target: string;
  readonly node: readonly [os: string, cpu: string];
}

/** The platforms of a release, as far as their runtime is available. */
export const PLATFORMS: readonly Platform[] = [
  { name: "linux-x64", target: "x86_64-unknown-linux-gnu", node: ["linux", "x64"] },
  { name: "linux-arm64", target: "aarch64-unknown-linux-gnu", node: ["linux", "arm64"] },
  { name: "macos-x64", target: "x86_64-apple-darwin", node: ["darwin", "x64"] },
  { name: "macos-arm64", target: "aarch64-apple-darwin", node: ["darwin", "arm64"] },
  { name: "windows-x64", target: "x86_64-pc-windows-msvc", node: ["win32", "x64"] },
];

/** The platform that this process runs on. */
export function thisPlatform(): Platform {
  return PLATFORMS.find(({ target }) => target === Deno.build.target)!;
}

/**
 * Returns the platforms in LOVAGE_PLATFORMS ("linux-x64 linux-arm64"), by default all. Throws for an unknown
 * name.
 */
export function wantedPlatforms(): readonly Platform[] {
  const wanted = Deno.env.get("LOVAGE_PLATFORMS")?.split(/[\s,]+/).filter(Boolean) ?? [];
  const unknown = wanted.find((name) => !PLATFORMS.some((one) => one.name === name));
  if (unknown !== undefined) throw new Error(`There is no platform "${unknown}"`);
  return wanted.length === 0 ? PLATFORMS : PLATFORMS.filter(({ name }) => wanted.includes(name));
}

/**
 * Bundles the program into a temporary folder, with the licences of its parts. Disposing removes the folder.
 */
export async function stagedProgram(): Promise<{ folder: string } & AsyncDisposable> {
  const stage = await Deno.makeTempDir({ prefix: "lovage-dist-" });
  const folder = `${stage}/lovage`;
  await bundleProgram(folder);
  await Deno.writeTextFile(
    `${folder}/LICENSES.txt`,
    await thirdPartyLicenses("main.ts", { hasRuntime: true }),
  );
  return { folder, [Symbol.asyncDispose]: () => Deno.remove(stage, { recursive: true }) };
}

/** Compiles the staged program into the file `output`. Returns null, or why it cannot be compiled. */
export async function compileProgram(
  folder: string,
  { output, platform }: { readonly output: string; readonly platform: Platform },
): Promise<string | null> {
  const included = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name !== "main.js" && name !== "deno").sort();
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      // Otherwise Deno caches compiled code in the temporary folder, under a name that another user could
      // take first.
      ...["compile", "-A", "--quiet", "--no-check", "--no-code-cache", "--no-prompt", V8_FLAGS],
      ...["--config", `${folder}/deno.json`, "--target", platform.target, "--output", `${output}.new`],
      ...included.flatMap((name) => ["--include", `${folder}/${name}`]),
      `${folder}/main.js`,
    ],
    cwd: folder,
    clearEnv: true,
    env: { ...withoutTelemetry(Deno.env.toObject()), NO_COLOR: "1" },
  }).output();
  if (!success) return compileFailure(new TextDecoder().decode(stderr));
  const made = platform.name.startsWith("windows") ? `${output}.new.exe` : `${output}.new`;
  await Deno.rename(made, output);
  return null;
}

/** Returns the reason in one line: the cause of the first error. */
function compileFailure(text: string): string {
  const [, first] = /^ +(?:0: )?Setting up base binary[\s\S]*?\n +\d+: (.*)$/m.exec(text) ??
    /^error: (.*)$/m.exec(text) ?? [];
  return first === undefined ? "deno compile failed" : `no runtime base: ${first}`;
}

/**
 * Without Deno's telemetry settings, since `deno compile` would build them into the program for all its
 * users.
 */
function withoutTelemetry(env: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("OTEL_")));
}

/** Packs the staged program, with a runtime, into the file `output`. */
export async function packProgram(
  folder: string,
  { output, deno }: { readonly output: string; readonly deno: string },
): Promise<void> {
  await Deno.copyFile(deno, `${folder}/deno`);
  await Deno.chmod(`${folder}/deno`, 0o755);
  await packFolder(folder, { stub: await readStub(), target: output });
}

/** Returns the shell stub, with the flags for the runtime. */
export async function readStub(): Promise<string> {
  return (await Deno.readTextFile(`${ROOT}/.ci/dist_stub.sh`)).replace("@V8_FLAGS@", V8_FLAGS);
}

/** Returns the end of the stub, which starts the program in the folder `$home`. */
export async function readStart(): Promise<string> {
  const [, start] = (await readStub()).split("#@@START@@\n");
  return start!.split("#@@PAYLOAD@@")[0]!;
}

/** Returns the deno binary itself: the one that npm puts on PATH may be a launcher script. */
export async function ownDeno(): Promise<string> {
  return await Deno.realPath(Deno.execPath());
}

/** How a program was built, or why it was not. */
export type Built = { readonly how: "compiled" | "packed" } | { readonly reason: string };

/** Builds the staged program for a platform: compiled if possible, else packed if it is Linux. */
export async function buildProgram(
  folder: string,
  { output, platform }: { readonly output: string; readonly platform: Platform },
): Promise<Built> {
  const reason = await compileProgram(folder, { output, platform });
  if (reason === null) return { how: "compiled" };
  if (platform.node[0] !== "linux") return { reason };
  const stage = await Deno.makeTempDir({ prefix: "lovage-runtime-" });
  try {
    const deno = await denoOf(platform, stage);
    if (deno === null) return { reason: `npm does not give ${runtimePackage(platform)}` };
    await packProgram(folder, { output, deno });
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
  return { how: "packed" };
}

/** Returns npm's package of this runtime's version for a Linux platform. */
function runtimePackage({ node: [os, cpu] }: Platform): string {
  return `@deno/${os}-${cpu}-glibc@${Deno.version.deno}`;
}

/** Gets the runtime for a Linux platform into a folder; null if npm does not have it. */
async function denoOf(platform: Platform, folder: string): Promise<string | null> {
  if (platform.target === Deno.build.target) return await ownDeno();
  const packed = await new Deno.Command("npm", {
    args: ["pack", "--silent", "--pack-destination", folder, runtimePackage(platform)],
    stderr: "null",
  }).output().catch(() => null);
  if (!packed?.success) return null;
  const file = `${folder}/${new TextDecoder().decode(packed.stdout).trim().split("\n").at(-1)}`;
  const unpacked = await new Deno.Command("tar", { args: ["-C", folder, "-xzf", file] }).output();
  return unpacked.success ? `${folder}/package/deno` : null;
}
