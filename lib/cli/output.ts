/** Formats values: as text for people, as JSON for programs. */

import { shownLine } from "../base/mod.ts";
import { shownJson } from "../wire/mod.ts";

/** Formats a task's result: a string as it is, any other value as JSON. */
export function plain(value: unknown): string {
  return typeof value === "string" ? value : shownJson(value);
}

/**
 * Formats rows as a table with two spaces between columns; the last column is not padded. Line breaks in
 * cells are escaped.
 */
export function columns(rows: readonly (readonly string[])[]): string {
  const safe = rows.map((row) => row.map((cell) => shownLine(cell)));
  const widths = (safe[0] ?? []).map((_, n) => Math.max(...safe.map((row) => row[n]!.length)));
  return safe.map((row) => `${row.map((cell, n) => cell.padEnd(widths[n]!)).join("  ").trimEnd()}\n`).join(
    "",
  );
}

/** Formats a value as one line of JSON. */
export function jsonLine(value: unknown): string {
  return shownJson(value) + "\n";
}

/** Formats words as a line that a POSIX shell splits into the same words. */
export function shellLine(words: readonly string[]): string {
  return words.map((word) =>
    /^[\w@%+=:,./-][\w@%+=:,./~-]*$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
  ).join(" ");
}
