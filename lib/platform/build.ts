/** What a built program knows of its own build: a small file beside its modules. From source there is none. */

import { fromPlainJson } from "../wire/mod.ts";
import { formName, moduleUrl } from "./form.ts";

/** Its name beside the program. */
export const BUILD_FILE = "build.json";

/** What it says. */
export interface BuildFacts {
  /** The commit that it was built from. */
  readonly commit: string | null;
  /** The URL that its releases can be had from; LOVAGE_BASE_URL wins. */
  readonly releases: string | null;
}

/** What this program knows; nothing when it runs from source. */
export function buildFacts(): BuildFacts {
  const nothing = { commit: null, releases: null };
  if (formName() === "source") return nothing;
  // Through its URL: a compiled program has it inside.
  const text = Deno.readTextFileSync(moduleUrl(BUILD_FILE, BUILD_FILE));
  return { ...nothing, ...fromPlainJson(text) as Partial<BuildFacts> };
}
