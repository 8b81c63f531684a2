/**
 * `make reference`: generates the pages of docs/reference from the program's own tables. tests/docs_test.ts
 * checks that they are up to date.
 */

import { filePath } from "../../lib/base/mod.ts";
import { apiPage } from "./api.ts";
import { commandsPage, exitCodesPage } from "./commands.ts";
import { environmentPage, eventsPage, metricsPage } from "./runtime.ts";
import { settingsPage } from "./settings.ts";

const FOLDER = filePath(new URL("../../docs/reference/", import.meta.url));

/** Makes the pages, by their names in docs/reference. */
export async function referencePages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ["settings.md", settingsPage()],
    ["commands.md", await commandsPage()],
    ["environment.md", environmentPage()],
    ["exit-codes.md", exitCodesPage()],
    ["events.md", eventsPage()],
    ["metrics.md", metricsPage()],
    ["api.md", await apiPage()],
  ]);
}

if (import.meta.main) {
  await Deno.mkdir(FOLDER, { recursive: true });
  for (const [name, text] of await referencePages()) await Deno.writeTextFile(FOLDER + name, text);
}
