/**
 * Installs a fleet's units, and removes only what was installed.
 *
 * A list next to the environment files has the path and digest of each file written. A file that was changed
 * by hand since is left alone, and a file that is not ours is never overwritten.
 */

import { OperatingError, UsageError } from "../base/mod.ts";
import {
  listFolder,
  makeFolder,
  readFile,
  removeEmptyFolder,
  removeFile,
  replaceFile,
  specialFile,
} from "../platform/mod.ts";
import { shownJson } from "../wire/mod.ts";
import { ENV_FOLDER, type UnitFile } from "./units.ts";

const LIST = `${ENV_FOLDER}/installed.json`;
/** The only paths that a list may name, so that a manipulated list cannot remove other files. */
const OURS = /^(lovage@\.service|lovage\.target|lovage-beat\.service|lovage\/(beat|node-[^/]+)\.env)$/;

/** What an install or uninstall did, by path from the units' folder. */
export interface UnitChanges {
  readonly written: readonly string[];
  readonly removed: readonly string[];
  /** Changed by hand since they were installed, and left alone. */
  readonly kept: readonly string[];
}

/**
 * Writes the files into a folder, which is created if it is missing, and removes those of an earlier fleet
 * that are not in this one. Rejects with UsageError, before anything is written, if a file of that name is
 * not ours.
 */
export async function installUnits(folder: string, files: readonly UnitFile[]): Promise<UnitChanges> {
  const before = readList(folder);
  for (const { path, text } of [...files, { path: LIST, text: "" }]) {
    const special = specialFile(`${folder}/${path}`);
    // systemd masks a unit by a link to /dev/null.
    if (special !== null) throw new UsageError(`Cannot write "${folder}/${path}": it is ${special}`);
    if (path === LIST) continue;
    const there = readFile(`${folder}/${path}`);
    if (there === null || there === text) continue;
    const known = before[path];
    if (known === undefined) {
      throw new UsageError(`Cannot write "${folder}/${path}": there is a file that we did not write`);
    }
    if (known !== await digest(there)) {
      throw new UsageError(
        `Cannot write "${folder}/${path}": it was changed since it was installed; move it away`,
      );
    }
  }
  makeFolder(`${folder}/${ENV_FOLDER}`);
  const now = new Set(files.map(({ path }) => path));
  const gone = Object.fromEntries(Object.entries(before).filter(([path]) => !now.has(path)));
  const { removed, kept } = await remove(folder, gone);
  const list: Record<string, string> = {};
  // The list is written first: after a write that failed half way, an uninstall still finds every file.
  for (const { path, text } of files) list[path] = await digest(text);
  writeList(folder, list);
  for (const { path, text, mode } of files) replaceFile(`${folder}/${path}`, text, mode);
  return { written: [...now], removed, kept };
}

/** Removes the installed files. Rejects with UsageError if there are none. */
export async function uninstallUnits(folder: string): Promise<UnitChanges> {
  const list = readList(folder);
  if (Object.keys(list).length === 0) throw new UsageError(`No units of ours are installed in "${folder}"`);
  const { removed, kept } = await remove(folder, list);
  const left = Object.fromEntries(Object.entries(list).filter(([path]) => kept.includes(path)));
  if (kept.length > 0) writeList(folder, left);
  else removeFile(`${folder}/${LIST}`);
  if (listFolder(`${folder}/${ENV_FOLDER}`).length === 0) removeEmptyFolder(`${folder}/${ENV_FOLDER}`);
  return { written: [], removed, kept };
}

async function remove(folder: string, list: Readonly<Record<string, string>>) {
  const removed: string[] = [];
  const kept: string[] = [];
  for (const [path, known] of Object.entries(list)) {
    const text = readFile(`${folder}/${path}`);
    if (text === null) continue;
    if (await digest(text) !== known) kept.push(path);
    else if (removeFile(`${folder}/${path}`)) removed.push(path);
    else throw new OperatingError(`Cannot remove "${folder}/${path}"`);
  }
  return { removed, kept };
}

/** Returns the digests of the installed files, by path. */
function readList(folder: string): Record<string, string> {
  const text = readFile(`${folder}/${LIST}`);
  if (text === null) return {};
  try {
    const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
    return Object.fromEntries(
      entries.filter((entry): entry is [string, string] =>
        OURS.test(entry[0]) && typeof entry[1] === "string"
      ),
    );
  } catch {
    throw new UsageError(`Cannot read "${folder}/${LIST}": it is not a list of installed units`);
  }
}

function writeList(folder: string, list: Readonly<Record<string, string>>): void {
  replaceFile(`${folder}/${LIST}`, `${shownJson(list, { indent: 2 })}\n`, 0o600);
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex();
}
