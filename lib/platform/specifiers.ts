/** The modules that a program names in its own text: what of them is imported is a part of the program. */

import { filePath, fileUrl } from "../base/mod.ts";

/** Files that are looked into at most. */
const FILES_MAX = 5000;
/** A file of the program's own, imported by its path or URL. */
const OWN = /\b(?:from|import)\s*\(?\s*(["'])((?:\.{1,2}\/|\/|file:)[^"'\n]+)\1/g;
const NAMED = /(["'`])((?:npm|data):[^"'`\n]+)\1/gi;

/**
 * The `npm:` and `data:` specifiers that stand in these modules and in what they import by path, as texts. Nothing is
 * parsed: what stands in a comment is named too. A file that cannot be read has none.
 */
export function specifiersIn(paths: readonly string[]): string[] {
  const found = new Set<string>();
  const seen = new Set(paths);
  for (const path of seen) {
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch {
      continue; // Whoever imports it is told.
    }
    for (const [, , specifier] of text.matchAll(NAMED)) found.add(specifier!);
    for (const [, , specifier] of text.matchAll(OWN)) {
      if (seen.size < FILES_MAX) seen.add(pathOf(specifier!, path));
    }
  }
  return [...found];
}

function pathOf(specifier: string, from: string): string {
  try {
    return filePath(new URL(specifier, fileUrl(from)));
  } catch {
    return from; // no path at all
  }
}
