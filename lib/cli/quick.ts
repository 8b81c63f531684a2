/**
 * Reads a plain command line without commander, whose loading takes as long as all the rest of `lovage status`.
 * Anything out of the ordinary (help, a mistake, an unknown option) is left to commander and its messages.
 */

import type { GlobalOptions, QuickOptions } from "./command.ts";

/** A command line, read. */
export interface QuickRead {
  readonly globals: GlobalOptions;
  readonly options: Record<string, unknown>;
  readonly args: string[];
}

const GLOBAL_VALUES: Readonly<Record<string, keyof GlobalOptions>> = {
  "-A": "app",
  "--app": "app",
  "-b": "broker",
  "--broker": "broker",
  "--result-backend": "resultBackend",
  "--config": "config",
  "--workdir": "workdir",
};

/** The words without the command's name, or null: let commander read them. */
export function readQuickly(quick: QuickOptions, words: readonly string[]): QuickRead | null {
  const globals: Record<string, unknown> = { color: true };
  const options: Record<string, unknown> = {};
  const args: string[] = [];
  for (let n = 0; n < words.length; n++) {
    const word = words[n]!;
    if (!word.startsWith("-")) {
      args.push(word);
      continue;
    }
    const at = word.startsWith("--") ? word.indexOf("=") : -1;
    const name = at < 0 ? word : word.slice(0, at);
    if (name in GLOBAL_VALUES || name in quick.values) {
      const value = at < 0 ? words[++n] : word.slice(at + 1);
      // A value that looks like an option is more likely a value forgotten.
      if (value === undefined || (at < 0 && value.startsWith("-"))) return null;
      const key = quick.values[name];
      if (key === undefined) globals[GLOBAL_VALUES[name]!] = value;
      else options[key] = options[key] === undefined ? value : `${options[key]},${value}`;
    } else if (at >= 0) return null;
    else if (name in quick.flags) options[quick.flags[name]!] = true;
    else if (name === "-q" || name === "--quiet") globals["quiet"] = true;
    else if (name === "-C" || name === "--no-color") globals["color"] = false;
    else return null;
  }
  if (args.length > quick.argsMax) return null;
  return { globals: { ...globals, ...options } as unknown as GlobalOptions, options, args };
}
