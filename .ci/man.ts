/**
 * `make man`: makes manual pages of the program and of each command in dist/man/man1, from the tables of
 * options.
 */

import { gitText } from "./commands.ts";
import { filePath } from "../lib/base/mod.ts";
import { allFacts } from "../lib/cli/facts.ts";
import { manPage, pageName } from "../lib/cli/man_page.ts";

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Writes the pages into a folder, `lovage.1`, `lovage-worker.1` ...; resolves to their names. */
export async function makeMan(folder: string): Promise<string[]> {
  await Deno.mkdir(folder, { recursive: true });
  const [all, date] = [await allFacts(), await gitText("log", "-1", "--format=%cs") ?? ""];
  const names = all.map((facts) => `${pageName(facts)}.1`);
  for (const [n, facts] of all.entries()) {
    await Deno.writeTextFile(`${folder}/${names[n]}`, manPage(facts, { all, date }));
  }
  return names;
}

if (import.meta.main) {
  const made = await makeMan(`${root}/dist/man/man1`);
  console.log(`dist/man/man1: ${made.length} pages`);
}
