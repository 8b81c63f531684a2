/** The facts of all commands, for completions and manual pages. This loads all command modules. */

import { type CommandFacts, factsOf } from "./command.ts";
import { COMMANDS, PROGRAM } from "./table.ts";

/** Loads the facts of the program, whose name is "", and of the commands in the order of the help. */
export async function allFacts(): Promise<CommandFacts[]> {
  const shown = COMMANDS.filter(({ isHidden }) => !isHidden);
  const commands = await Promise.all(shown.map(async (entry) => factsOf(entry, await entry.load())));
  return [factsOf(PROGRAM, PROGRAM), ...commands];
}
