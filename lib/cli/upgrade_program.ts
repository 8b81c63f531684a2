/**
 * `lovage upgrade`: the newest version from the server of releases takes this program's place, in one step; processes
 * that run go on with the copy that they were started from.
 */

import { OperatingError, UsageError, VERSION } from "../base/mod.ts";
import { buildFacts, EXIT, isWritableFolder, replaceBytes, selfPath } from "../platform/mod.ts";
import type { CommandContext } from "./command.ts";
import { jsonLine } from "./output.ts";
import { fetchRelease, findRelease, isNewer, platformName, type Release } from "./releases.ts";

/** What is asked for. */
interface Asked {
  /** A version; null: the newest. */
  readonly wanted: string | null;
  readonly isCheck: boolean;
  readonly isJson: boolean;
}

/** Does it; the exit status. Rejects with UsageError where another program looks after this one's file. */
export async function upgradeProgram({ world, globals }: CommandContext, asked: Asked): Promise<number> {
  const { terminal, host } = world;
  const program = asked.isCheck ? null : replaceable();
  const server = host.env("LOVAGE_BASE_URL") || buildFacts().releases;
  if (!server) {
    throw new UsageError(
      "Cannot upgrade: set LOVAGE_BASE_URL to the folder that the releases can be had from",
    );
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
    throw new OperatingError(`Cannot upgrade: ${found.url} does not hold the program`);
  }
  await replaceBytes(program, binary.bytes, 0o755);
  // Manual pages and completions lie beside it, if install.sh put them there.
  const prefix = program.replace(/\/bin\/[^/]+$/, "");
  for (const { path, bytes } of files) {
    if (prefix === program || !path.startsWith("share/") || path.includes("..")) continue;
    if (host.fileKind(`${prefix}/${path}`) === "file") await replaceBytes(`${prefix}/${path}`, bytes, 0o644);
  }
  terminal.out(
    `${program} is version ${found.version} now, and was ${VERSION}. Workers that run are restarted with HUP\n`,
  );
  return EXIT.OK;
}

/** The file of this program. Throws UsageError where it is not for us to replace. */
function replaceable(): string {
  const program = selfPath();
  const refuse = (why: string): never => {
    throw new UsageError(`Cannot upgrade: ${why}`);
  };
  if (program === null) return refuse("this program runs from its source; update that");
  if (/\/node_modules\//.test(program)) {
    return refuse(`"${program}" is npm's: npm install lovage@latest upgrades it`);
  }
  if (/^\/usr\/(?!local\/)/.test(program)) {
    return refuse(`"${program}" is the system's: its package manager upgrades it (apt-get install lovage)`);
  }
  const folder = program.slice(0, program.lastIndexOf("/")) || "/";
  if (!isWritableFolder(folder)) return refuse(`"${folder}" cannot be written to by this user`);
  return program;
}

function factsOf({ version, url }: Release): Record<string, unknown> {
  return { current: VERSION, found: version, isNewer: isNewer(version, VERSION), url };
}

function comparison(version: string): string {
  if (isNewer(version, VERSION)) {
    return `Version ${version} can be had, this is ${VERSION}: "lovage upgrade" replaces it`;
  }
  return version === VERSION
    ? `This is the newest version, ${VERSION}`
    : `This is ${VERSION}; there is ${version}`;
}
