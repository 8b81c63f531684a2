/** Lists the npm packages that a module needs, from the runtime's cache. */

import { isFolder, run } from "./commands.ts";

/** A package as `deno info` reports it. */
export interface Package {
  readonly name: string;
  readonly version: string;
  /** Ids of its dependencies. */
  readonly dependencies: readonly string[];
  /** Its folder. */
  readonly localPath: string;
}

/**
 * Returns the packages that a module needs, with their dependencies, sorted by name and version. Packages
 * that are not installed here (optional ones of other platforms) are left out. Rejects if the module cannot
 * be read.
 */
export function packagesOf(entry: string): Promise<readonly Package[]> {
  let found = known.get(entry);
  if (found === undefined) known.set(entry, found = find(entry));
  return found;
}

/** Cached by entry, since one build asks more than once. */
const known = new Map<string, Promise<readonly Package[]>>();

async function find(entry: string): Promise<readonly Package[]> {
  await run(Deno.execPath(), ["cache", "--quiet", entry]);
  const { modules, npmPackages } = JSON.parse(
    await run(Deno.execPath(), ["info", "--quiet", "--json", entry]),
  ) as {
    modules: { npmPackage?: string }[];
    npmPackages: Record<string, Package>;
  };
  const ids = new Set<string>();
  const add = (id: string) => {
    if (ids.has(id)) return;
    ids.add(id);
    for (const dependency of npmPackages[id]!.dependencies) add(dependency);
  };
  for (const { npmPackage } of modules) if (npmPackage !== undefined) add(npmPackage);
  return [...ids].sort().map((id) => npmPackages[id]!).filter(({ localPath }) => isFolder(localPath));
}
