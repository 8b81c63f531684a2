/** Shared parts of the completion scripts. */

import type { CommandFacts, OptionFacts } from "./command.ts";

/** How an option's value is completed: from a list of words, as a file or folder, or not at all ("text"). */
export type Completed = "words" | "files" | "folders" | "text";

const FILES = new Set(["file", "path", "module", "modules"]);

/** Returns how an option's value is completed; null for a flag. */
export function completed({ value, words }: OptionFacts): Completed | null {
  if (value === undefined) return null;
  if (words.length > 0) return "words";
  return value === "folder" ? "folders" : FILES.has(value) ? "files" : "text";
}

/** Returns the spellings of an option that are offered. */
export function spellings({ long, short }: OptionFacts): string[] {
  return short === undefined ? [long] : [short, long];
}

/** Returns all spellings of an option that are accepted. */
export function understood(option: OptionFacts): string[] {
  return [...spellings(option), ...option.aliases ?? []];
}

/** Returns the possible values of a command's first argument. */
export function firstWords({ arguments: [first] }: CommandFacts): readonly string[] {
  return first?.words ?? [];
}
