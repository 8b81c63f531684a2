/**
 * Reads a plain command line without commander, whose loading takes as long as all the rest of `lovage status`.
 *
 * It asks the command for its grammar, as commander would, and keeps what it needs of it. Anything out of the ordinary
 * (help, a mistake, a value that its reader refuses, options run together) is left to commander and its messages.
 */

import type { Command } from "commander";
import type { GlobalOptions } from "./command.ts";

/** A command line, read. */
export interface QuickRead {
  readonly options: GlobalOptions & Record<string, unknown>;
  readonly args: string[];
}

type Reader = (text: string, before: unknown) => unknown;

interface QuickOption {
  /** As commander names it: `--task-events` is taskEvents, and `--no-color` is color. */
  readonly name: string;
  readonly takesValue: boolean;
  readonly isNegated: boolean;
  readonly read: Reader | null;
}

/** What commands call on a commander Command to say what they take. */
class Grammar {
  readonly options = new Map<string, QuickOption>();
  readonly values: Record<string, unknown> = {};
  argsMin = 0;
  argsMax = 0;

  option(flags: string, _description: string, readerOrDefault?: unknown, byDefault?: unknown): this {
    const spellings = flags.split(/[ ,|]+/).filter((word) => word.startsWith("-"));
    const long = spellings.at(-1)!;
    const isNegated = long.startsWith("--no-");
    const name = long.replace(/^--(no-)?/, "").replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    const isReader = typeof readerOrDefault === "function";
    const option: QuickOption = {
      name,
      takesValue: flags.includes("<"),
      isNegated,
      read: isReader ? readerOrDefault as Reader : null,
    };
    // An optional value is for commander: what follows may be the value or an argument.
    if (!flags.includes("[")) { for (const spelling of spellings) this.options.set(spelling, option); }
    const first = isReader ? byDefault : readerOrDefault;
    if (first !== undefined) this.values[name] = first;
    else if (isNegated) this.values[name] = true;
    return this;
  }

  argument(words: string): this {
    if (words.startsWith("<")) this.argsMin++;
    this.argsMax = words.includes("...") ? Infinity : this.argsMax + 1;
    return this;
  }

  // What only the help shows.

  helpOption(): this {
    return this;
  }

  usage(): this {
    return this;
  }
}

/** The words without the command's name, or null: let commander read them. `define` is the command's grammar. */
export function readQuickly(define: (command: Command) => void, words: readonly string[]): QuickRead | null {
  const grammar = new Grammar();
  define(grammar as unknown as Command);
  const { values } = grammar;
  const given = new Set<string>();
  const args: string[] = [];
  for (let n = 0; n < words.length; n++) {
    const word = words[n]!;
    if (!word.startsWith("-")) {
      args.push(word);
      continue;
    }
    const at = word.startsWith("--") ? word.indexOf("=") : -1;
    const option = grammar.options.get(at < 0 ? word : word.slice(0, at));
    if (option === undefined || at >= 0 && !option.takesValue) return null;
    const { name } = option;
    if (!option.takesValue) {
      values[name] = !option.isNegated;
      continue;
    }
    const value = at < 0 ? words[++n] : word.slice(at + 1);
    // A value that looks like an option is more likely a value forgotten.
    if (value === undefined || (at < 0 && value.startsWith("-"))) return null;
    try {
      values[name] = option.read === null
        ? value
        : option.read(value, given.has(name) ? values[name] : undefined);
    } catch {
      return null;
    }
    given.add(name);
  }
  if (args.length < grammar.argsMin || args.length > grammar.argsMax) return null;
  return { options: values as unknown as QuickRead["options"], args };
}
