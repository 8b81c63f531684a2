/**
 * `lovage completions SHELL`: prints a script that completes commands, options and values, made from the
 * tables of options. The script is self-contained: completing does not start this program.
 */

import { EXIT } from "../platform/mod.ts";
import { command, type CommandFacts } from "./command.ts";
import { InvalidValue, oneOf } from "./arguments.ts";
import { UsageError } from "../base/mod.ts";

/** Makes a shell's script from the facts of all commands; the program itself comes first. */
type Script = (facts: readonly CommandFacts[]) => string;

const shell = oneOf("bash", "zsh", "fish");

const SCRIPTS: Readonly<Record<ReturnType<typeof shell>, () => Promise<Script>>> = {
  bash: async () => (await import("./completions_bash.ts")).bashCompletions,
  zsh: async () => (await import("./completions_zsh.ts")).zshCompletions,
  fish: async () => (await import("./completions_fish.ts")).fishCompletions,
};

/** The command. */
export const completions = command({
  arguments: [{ name: "shell", help: "bash, zsh or fish", words: shell.words, isRequired: true }],
  options: {},
  isModuleUnused: () => true,

  validate: ([word]) => void named(word!),

  async run({ world, facts, args: [word] }): Promise<number> {
    const script = await SCRIPTS[named(word!)]();
    world.terminal.out(script(await facts()));
    return EXIT.OK;
  },
});

function named(word: string): ReturnType<typeof shell> {
  try {
    return shell(word);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new UsageError(`Cannot complete for "${word}": ${error.message}`);
  }
}
