/**
 * `lovage upgrade`: replaces this program with the newest version from the release server, in one atomic
 * step. Running processes continue with their old copy.
 */

import { OperatingError, UsageError, VERSION } from "../base/mod.ts";
import { buildFacts, EXIT, isWritableFolder, replaceBytes, selfPath } from "../platform/mod.ts";
import type { CommandContext } from "./command.ts";
import { jsonLine } from "./output.ts";
import { fetchRelease, findRelease, isNewer, platformName, type Release } from "./releases.ts";

/** The requested upgrade. */
interface Asked {
  /** A version; null: the newest. */
  readonly wanted: string | null;
  readonly isCheck: boolean;
  readonly isJson: boolean;
}

/**
 * Upgrades, or reports with `isCheck`. Resolves to the exit status; rejects with UsageError if the program's
 * file is managed otherwise, and as `findRelease` and `fetchRelease`.
 */
export async function upgradeProgram({ world, globals }: CommandContext, asked: Asked): Promise<number> {
  const { terminal, host } = world;
  const program = asked.isCheck ? null : replaceable();
  const server = host.env("LOVAGE_BASE_URL") || buildFacts().releases;
  if (!server) {
    throw new UsageError(
      "Cannot upgrade: set LOVAGE_BASE_URL to the URL of the folder with the releases",
    );
  }
  if (!/^https?:/.test(server) || !URL.canParse(server)) {
    throw new UsageError(`Cannot upgrade from "${server}": LOVAGE_BASE_URL must be a URL with http or https`);
  }
  const found = await findRelease(server, asked.wanted);
  if (found === null) {
    const what = asked.wanted === null ? "" : `version ${asked.wanted} `;
    throw new OperatingError(`Cannot upgrade: ${server} has no ${what}for ${platformName()}`);
  }
  const isNeeded = asked.wanted === null ? isNewer(found.version, VERSION) : found.version !== VERSION;
  if (program === null || !isNeeded) {
    terminal.out(asked.isJson ? jsonLine(factsOf(found)) : `${comparison(found.version)}\n`);
    return EXIT.OK;
  }
  if (!globals.quiet) terminal.err(`Fetching ${found.url}\n`);
  const files = await fetchRelease(found);
  const binary = files.find(({ path }) => /^bin\/lovage(\.exe)?$/.test(path));
  if (binary === undefined) {
    throw new OperatingError(`Cannot upgrade: ${found.url} does not contain the program`);
  }
  await replaceBytes(program, binary.bytes, 0o755);
  // Manual pages and completions are next to it, if install.sh put them there.
  const prefix = program.replace(/\/bin\/[^/]+$/, "");
  for (const { path, bytes } of files) {
    if (prefix === program || !path.startsWith("share/") || path.includes("..")) continue;
    if (host.fileKind(`${prefix}/${path}`) === "file") await replaceBytes(`${prefix}/${path}`, bytes, 0o644);
  }
  terminal.out(
    `Upgraded ${program} from ${VERSION} to ${found.version}. Restart running workers with HUP\n`,
  );
  return EXIT.OK;
}

/** Returns the file of this program. Throws UsageError if it must not be replaced here. */
function replaceable(): string {
  const program = selfPath();
  const refuse = (why: string): never => {
    throw new UsageError(`Cannot upgrade: ${why}`);
  };
  if (program === null) return refuse("this program runs from source; update the source");
  if (/\/node_modules\//.test(program)) {
    return refuse(`"${program}" was installed by npm: npm install lovage@latest upgrades it`);
  }
  if (/^\/usr\/(?!local\/)/.test(program)) {
    return refuse(`"${program}" belongs to a system package: upgrade that instead (apt-get install lovage)`);
  }
  const folder = program.slice(0, program.lastIndexOf("/")) || "/";
  if (!isWritableFolder(folder)) return refuse(`this user cannot write to "${folder}"`);
  return program;
}

function factsOf({ version, url }: Release): Record<string, unknown> {
  return { current: VERSION, found: version, isNewer: isNewer(version, VERSION), url };
}

function comparison(version: string): string {
  if (isNewer(version, VERSION)) {
    return `Version ${version} is available, this is ${VERSION}: "lovage upgrade" installs it`;
  }
  return version === VERSION
    ? `This is the newest version, ${VERSION}`
    : `This is ${VERSION}; the server has ${version}`;
}
