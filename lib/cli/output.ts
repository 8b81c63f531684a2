/** How values are printed: plain for people, JSON for programs. */

import { shownLine } from "../base/mod.ts";
import { shownJson } from "../wire/mod.ts";

/** A task's result on one line or as JSON text: strings as they are, everything else as JSON. */
export function plain(value: unknown): string {
  return typeof value === "string" ? value : shownJson(value);
}

/**
 * Rows as a table: each column as wide as its widest cell and two blanks, the last as it comes. Cells stay on their
 * line, whatever they hold.
 */
export function columns(rows: readonly (readonly string[])[]): string {
  const safe = rows.map((row) => row.map((cell) => shownLine(cell)));
  const widths = (safe[0] ?? []).map((_, n) => Math.max(...safe.map((row) => row[n]!.length)));
  return safe.map((row) => `${row.map((cell, n) => cell.padEnd(widths[n]!)).join("  ").trimEnd()}\n`).join(
    "",
  );
}

/** One line of JSON. */
export function jsonLine(value: unknown): string {
  return shownJson(value) + "\n";
}
