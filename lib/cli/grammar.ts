/** The grammar of options, by commander: loaded only where a command line is more than quick.ts reads. */

import { Command, CommanderError } from "commander";
import { EXIT, type RealWorld } from "../platform/mod.ts";
import type { CommandContext, CommandEntry, GlobalOptions } from "./command.ts";
import { addGlobals } from "./globals.ts";
import { COMMANDS } from "./table.ts";
import { VERSION } from "./version.ts";

/** Makes a command's context from its global options. */
export type ContextOf = (globals: GlobalOptions) => CommandContext;

/** Reads the words of a command by its own grammar and runs it; the exit status. */
export async function runByGrammar(
  world: RealWorld,
  entry: CommandEntry,
  words: readonly string[],
  context: ContextOf,
): Promise<number> {
  const module = await entry.load();
  const command = new Command(`lovage ${entry.name}`).description(entry.summary);
  module.define(addGlobals(command));
  quieten(world, command);
  let exit = EXIT.OK as number;
  command.action(async () => {
    const options = command.opts<GlobalOptions & Record<string, unknown>>();
    exit = await module.run(context(options), command.args, options);
  });
  try {
    await command.parseAsync([...words], { from: "user" });
  } catch (error) {
    return commanderExit(error);
  }
  return exit;
}

/** No command: `--help`, `--version`, or a mistake. */
export async function runRoot(world: RealWorld, argv: readonly string[]): Promise<number> {
  const root = addGlobals(new Command("lovage")).usage("[options] command [arguments]")
    .description("Celery's system in one binary: workers, results, remote control.")
    .version(`${VERSION} (lovage)`, "--version", "print the version and exit");
  for (const { name, summary, isHidden } of COMMANDS) {
    root.command(name, { hidden: isHidden ?? false }).description(summary);
  }
  root.helpCommand(false).addHelpText("after", "\nlovage COMMAND --help tells the options of a command.");
  quieten(world, root);
  try {
    await root.parseAsync([...argv], { from: "user" });
  } catch (error) {
    return commanderExit(error);
  }
  return EXIT.USAGE;
}

/** The global options before a command that reads its own words; a number is the exit status of a mistake in them. */
export async function readGlobals(
  world: RealWorld,
  words: readonly string[],
): Promise<GlobalOptions | number> {
  const globals = quieten(world, addGlobals(new Command("lovage")));
  let options = {} as GlobalOptions;
  globals.action(() => void (options = globals.opts<GlobalOptions>()));
  try {
    await globals.parseAsync([...words], { from: "user" });
  } catch (error) {
    return commanderExit(error);
  }
  return options;
}

function quieten(world: RealWorld, command: Command): Command {
  return command.exitOverride().showSuggestionAfterError(true).configureOutput({
    writeOut: (text) => world.terminal.out(text),
    writeErr: (text) => world.terminal.err(text),
    getOutHelpWidth: () => world.terminal.columns,
    getErrHelpWidth: () => world.terminal.columns,
    outputError: (text, write) =>
      write(
        `${text.trimEnd()}\nTry lovage ${command.name().replace(/^lovage ?/, "")} --help.\n`.replace(
          "lovage  ",
          "lovage ",
        ),
      ),
  });
}

function commanderExit(error: unknown): number {
  if (!(error instanceof CommanderError)) throw error;
  return error.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
}
