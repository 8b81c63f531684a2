/**
 * The runtime's configuration that this process runs under: this program's own, or one that was made for a project and
 * holds both (project.ts).
 */

import { filePath, fileUrl, OperatingError } from "../base/mod.ts";
import { moduleUrl, packedFolder } from "./form.ts";
import { replaceFile } from "./files.ts";
import { makePrivateFolder } from "./private_file.ts";

/** The name by which a configuration that was made for a project maps to itself. */
const MARK = "lovage/project";

/** Set where there may be a project's configuration: asking the runtime takes a quarter of a millisecond. */
const VARIABLE = "LOVAGE_PROJECT";

/** How often in a row a process may start again. */
const RESTARTS_MAX = 5;

/** This program's own configuration. */
export const OWN_CONFIG = filePath(moduleUrl("deno.json", "../deno.json"));

/** The files of a project's configuration: their texts by path. */
export type ProjectFiles = Readonly<Record<string, string>>;

let current: { path: string | null; files: ProjectFiles } | null = null;

/** The configuration of the project that this process runs under; null: this program's own. */
export function currentProject(): string | null {
  current ??= { path: resolvedMark(), files: {} };
  return current.path;
}

/** What a project's configuration must have among its imports, to be known again. */
export function markOf(path: string): Record<string, string> {
  return { [MARK]: fileUrl(path) };
}

/** The flags of the runtime that make it run under our configuration, or under the project's. */
export function configurationFlags(): string[] {
  const path = currentProject();
  return path === null ? ["--config", OWN_CONFIG] : ["--config", path, "--import-map", importsOf(path)];
}

/** The import map that belongs to a project's configuration. */
export function importsOf(path: string): string {
  return `${path}.imports`;
}

/** Remembers what the configuration says, for the case that it is removed. */
export function keepProject(path: string, files: ProjectFiles): void {
  current = { path, files };
  Deno.env.set(VARIABLE, "1");
}

/** Has what is started from now on run under another configuration. */
export function useProject(path: string | null): void {
  current = { path, files: {} };
  const times = Number(Deno.env.get(VARIABLE) ?? 0) + 1;
  if (times > RESTARTS_MAX) {
    throw new OperatingError("Cannot run under the project's configuration: it changes all the time");
  }
  Deno.env.set(VARIABLE, String(times));
}

/** Writes the project's configuration again, where it was removed with all that was unpacked. */
export function restoreProject(): void {
  for (const [file, text] of Object.entries(current?.files ?? {})) {
    makePrivateFolder(file.slice(0, file.lastIndexOf("/")));
    replaceFile(file, text, 0o600);
  }
}

/**
 * The file for the configuration of the project of a module in `folder`: beside the unpacked program, where only who
 * may replace the program can write. Throws OperatingError where there is no such place.
 */
export function projectFile(folder: string): string {
  return `${projects()}${folder === "/" ? "" : folder}/deno.json`;
}

function projects(): string {
  const packed = packedFolder();
  if (packed !== null && Deno.statSync(packed).uid === Deno.uid()) return `${packed}/projects`;
  // A copy that root unpacked, or the program from source: one folder of the user's for each.
  const home = Deno.env.get("HOME");
  const cache = Deno.env.get("LOVAGE_CACHE") || Deno.env.get("XDG_CACHE_HOME") || (home && `${home}/.cache`);
  if (!cache?.startsWith("/")) {
    throw new OperatingError(
      "Cannot keep the project's configuration: set LOVAGE_CACHE to a folder of your own",
    );
  }
  return `${cache}/lovage/projects${OWN_CONFIG.slice(0, OWN_CONFIG.lastIndexOf("/"))}`;
}

function resolvedMark(): string | null {
  if (!Deno.env.get(VARIABLE)) return null;
  try {
    return filePath(import.meta.resolve(MARK));
  } catch {
    return null; // our own configuration does not know it
  }
}
