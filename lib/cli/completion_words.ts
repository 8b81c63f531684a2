/** What the scripts of the three shells have in common. */

import type { CommandFacts, OptionFacts } from "./command.ts";

/** What stands behind an option: one of some words, a file, a folder, or a text that nobody can guess. */
export type Completed = "words" | "files" | "folders" | "text";

const FILES = new Set(["file", "path", "module", "modules"]);

/** What is offered as an option's value; null for a flag. */
export function completed({ value, words }: OptionFacts): Completed | null {
  if (value === undefined) return null;
  if (words.length > 0) return "words";
  return value === "folder" ? "folders" : FILES.has(value) ? "files" : "text";
}

/** Every spelling of an option that is offered. */
export function spellings({ long, short }: OptionFacts): string[] {
  return short === undefined ? [long] : [short, long];
}

/** Every spelling that is understood. */
export function understood(option: OptionFacts): string[] {
  return [...spellings(option), ...option.aliases ?? []];
}

/** The words that a command's first argument is one of. */
export function firstWords({ arguments: [first] }: CommandFacts): readonly string[] {
  return first?.words ?? [];
}
