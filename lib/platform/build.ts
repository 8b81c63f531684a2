/**
 * Facts about a build, in a small file next to the program's modules. A program that runs from source has no
 * such file.
 */

import { fromPlainJson } from "../wire/mod.ts";
import { formName, moduleUrl } from "./form.ts";

/** The file's name, next to the program. */
export const BUILD_FILE = "build.json";

/** The facts about a build. */
export interface BuildFacts {
  /** The commit from which it was built. */
  readonly commit: string | null;
  /** The URL from which releases can be downloaded; LOVAGE_BASE_URL overrides it. */
  readonly releases: string | null;
}

/** Returns the facts about this program's build; all are null if it runs from source. */
export function buildFacts(): BuildFacts {
  const nothing = { commit: null, releases: null };
  if (formName() === "source") return nothing;
  // Read by URL, because a compiled program contains the file.
  const text = Deno.readTextFileSync(moduleUrl(BUILD_FILE, BUILD_FILE));
  return { ...nothing, ...fromPlainJson(text) as Partial<BuildFacts> };
}
