/**
 * Finds the specifiers in the text of a program's modules; modules that are named there belong to the
 * program.
 */

import { filePath, fileUrl } from "../base/mod.ts";

/** The maximum number of files that are read. */
const FILES_MAX = 5000;
/** Matches an import of a file by path or URL. */
const OWN = /\b(?:from|import)\s*\(?\s*(["'])((?:\.{1,2}\/|\/|file:)[^"'\n]+)\1/g;
const NAMED = /(["'`])((?:npm|data):[^"'`\n]+)\1/gi;

/**
 * Returns the `npm:` and `data:` specifiers in the text of these modules and of the files that they import by
 * path. The text is not parsed, so specifiers in comments count too. Unreadable files are skipped.
 */
export function specifiersIn(paths: readonly string[]): string[] {
  const found = new Set<string>();
  const seen = new Set(paths);
  for (const path of seen) {
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch {
      continue; // importing it will report the error
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
    return from; // not a path
  }
}
