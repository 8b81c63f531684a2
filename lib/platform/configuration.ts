/**
 * The configuration of the runtime for this process: the program's own, or a generated one that joins it with
 * a project's (project.ts).
 */

import { filePath, fileUrl, OperatingError } from "../base/mod.ts";
import { moduleUrl, packedFolder } from "./form.ts";
import { replaceFile } from "./files.ts";
import { makePrivateFolder } from "./private_file.ts";

/** The import name that a project's generated configuration maps to itself. */
const MARK = "lovage/project";

/** Set if there may be a project's configuration. Asking the runtime takes a quarter of a millisecond. */
const VARIABLE = "LOVAGE_PROJECT";

/** How many times in a row a process may start again. */
const RESTARTS_MAX = 5;

/** The path of this program's own configuration. */
export const OWN_CONFIG = filePath(moduleUrl("deno.json", "../deno.json"));

/** The files of a project's generated configuration: text by path. */
export type ProjectFiles = Readonly<Record<string, string>>;

let current: { path: string | null; files: ProjectFiles } | null = null;

/** Returns the path of the project's configuration under which this process runs; null: the program's own. */
export function currentProject(): string | null {
  current ??= { path: resolvedMark(), files: {} };
  return current.path;
}

/** Returns the import by which a project's generated configuration is recognised. */
export function markOf(path: string): Record<string, string> {
  return { [MARK]: fileUrl(path) };
}

/** Returns the runtime's flags for the current configuration, the program's or the project's. */
export function configurationFlags(): string[] {
  const path = currentProject();
  return path === null ? ["--config", OWN_CONFIG] : ["--config", path, "--import-map", importsOf(path)];
}

/** Returns the path of the import map that belongs to a project's configuration. */
export function importsOf(path: string): string {
  return `${path}.imports`;
}

/** Remembers the files of the configuration in case they are removed. */
export function keepProject(path: string, files: ProjectFiles): void {
  current = { path, files };
  Deno.env.set(VARIABLE, "1");
}

/**
 * Sets the configuration under which processes started from now on run. Throws OperatingError after 5
 * restarts in a row.
 */
export function useProject(path: string | null): void {
  current = { path, files: {} };
  const times = Number(Deno.env.get(VARIABLE) ?? 0) + 1;
  if (times > RESTARTS_MAX) {
    throw new OperatingError("Cannot run under the project's configuration: it changes all the time");
  }
  Deno.env.set(VARIABLE, String(times));
}

/** Writes the project's configuration again, after it was removed together with the unpacked program. */
export function restoreProject(): void {
  for (const [file, text] of Object.entries(current?.files ?? {})) {
    makePrivateFolder(file.slice(0, file.lastIndexOf("/")));
    replaceFile(file, text, 0o600);
  }
}

/**
 * Returns the path of the generated configuration for the project of a module in `folder`. It lies next to
 * the unpacked program, where only users who may replace the program can write. Throws OperatingError if
 * there is no such place.
 */
export function projectFile(folder: string): string {
  return `${projects()}${folder === "/" ? "" : folder}/deno.json`;
}

function projects(): string {
  const packed = packedFolder();
  if (packed !== null && Deno.statSync(packed).uid === Deno.uid()) return `${packed}/projects`;
  // For a copy that root unpacked, and from source: a folder of the user's for each program.
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
    return null; // our own configuration does not have it
  }
}
