/** What there is to say of every command, for completions and manual pages: all of them are loaded for it. */

import { type CommandFacts, factsOf } from "./command.ts";
import { COMMANDS, PROGRAM } from "./table.ts";

/** The facts of the program, whose name is "", and of every command that the help lists, in its order. */
export async function allFacts(): Promise<CommandFacts[]> {
  const shown = COMMANDS.filter(({ isHidden }) => !isHidden);
  const commands = await Promise.all(shown.map(async (entry) => factsOf(entry, await entry.load())));
  return [factsOf(PROGRAM, PROGRAM), ...commands];
}
