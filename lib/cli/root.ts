/**
 * The command line: finds the command, reads its options, runs it, and tells errors in one line.
 *
 * The command's name is found by a light scan, so that only its own module is loaded and global options may stand
 * before or after it. Exit statuses: 0 done, 1 failed, 64 usage, 69 unreachable, 128 + n ended by a signal.
 */

import { Command, CommanderError } from "commander";
import {
  AccessRefused,
  ConnectionLost,
  DialError,
  errorText,
  nearest,
  OperatingError,
  setCurrentWorld,
  UsageError,
} from "../base/mod.ts";
import { EXIT, type RealWorld } from "../platform/mod.ts";
import type { CommandContext, CommandEntry, GlobalOptions } from "./command.ts";
import { COMMANDS } from "./table.ts";
import { VERSION } from "./version.ts";

/** Global options that take a value, by their spellings. */
const WITH_VALUE = new Set(["-A", "--app", "-b", "--broker", "--result-backend", "--config", "--workdir"]);

/** Runs one command line (without the program's name); resolves with the exit status. Never rejects. */
export async function runCli(world: RealWorld, argv: readonly string[]): Promise<number> {
  setCurrentWorld(world);
  try {
    return await dispatch(world, argv);
  } catch (error) {
    return tell(world, error);
  }
}

async function dispatch(world: RealWorld, argv: readonly string[]): Promise<number> {
  const at = commandIndex(argv);
  if (at === null) return rootCommand(world, argv);
  const name = argv[at]!;
  const entry = COMMANDS.find((one) => one.name === name);
  if (!entry) throw unknownCommand(name);
  const rest = argv.slice(at + 1);
  if (entry.isRaw) return await runRaw(world, entry, argv.slice(0, at), rest);
  const module = await entry.load();
  const command = new Command(`lovage ${entry.name}`).description(entry.summary);
  module.define(addGlobals(command));
  quieten(world, command);
  let exit = EXIT.OK as number;
  command.action(async () => {
    const options = command.opts<GlobalOptions & Record<string, unknown>>();
    exit = await module.run(context(world, options, rest), command.args, options);
  });
  try {
    await command.parseAsync([...argv.slice(0, at), ...rest], { from: "user" });
  } catch (error) {
    return commanderExit(error);
  }
  return exit;
}

/** The place of the command's name: the first word that is no global option and no value of one. */
function commandIndex(argv: readonly string[]): number | null {
  for (let n = 0; n < argv.length; n++) {
    const word = argv[n]!;
    if (WITH_VALUE.has(word)) n++;
    else if (!word.startsWith("-")) return n;
  }
  return null;
}

/** No command: `--help`, `--version`, or a mistake. */
async function rootCommand(world: RealWorld, argv: readonly string[]): Promise<number> {
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

/** A command that reads its own words: the globals before its name are parsed here. */
async function runRaw(world: RealWorld, entry: CommandEntry, before: readonly string[], rest: string[]) {
  const globals = quieten(world, addGlobals(new Command("lovage")));
  let options = {} as GlobalOptions;
  globals.action(() => void (options = globals.opts<GlobalOptions>()));
  try {
    await globals.parseAsync([...before], { from: "user" });
  } catch (error) {
    return commanderExit(error);
  }
  const module = await entry.load();
  return await module.run(context(world, options, rest), rest, {});
}

function addGlobals(command: Command): Command {
  return command
    .option("-A, --app <module>", "task module: a file, a folder or a bare name, with an optional :export")
    .option("-b, --broker <url>", "the broker")
    .option("--result-backend <url>", "the result store")
    .option("--config <file>", "settings from a .ts, .json or .toml file")
    .option("--workdir <folder>", "change to this folder first")
    .option("-C, --no-color", "no colours")
    .option("-q, --quiet", "say less")
    .helpOption("--help", "print this help and exit");
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

function context(world: RealWorld, options: GlobalOptions, argv: readonly string[]): CommandContext {
  if (options.workdir !== undefined) changeFolder(options.workdir);
  if (options.color === false) world.log.configure({ color: false });
  return {
    world,
    globals: options,
    argv,
    async loadApp({ settings = {}, include = [] } = {}) {
      const { loadApp } = await import("../app/mod.ts");
      const { host } = world;
      return await loadApp(world, options.app ?? host.env("CELERY_APP") ?? host.env("APP"), {
        ...(options.config === undefined ? {} : { config: options.config }),
        settings: {
          ...(options.broker === undefined ? {} : { broker_url: options.broker }),
          ...(options.resultBackend === undefined ? {} : { result_backend: options.resultBackend }),
          ...settings,
        },
        include,
      });
    },
  };
}

function changeFolder(path: string): void {
  try {
    Deno.chdir(path);
  } catch (error) {
    throw new UsageError(`Cannot change to folder "${path}": ${errorText(error)}`, { cause: error });
  }
}

function unknownCommand(name: string): UsageError {
  const near = nearest(name, COMMANDS.filter((one) => !one.isHidden).map((one) => one.name));
  return new UsageError(
    `No such command "${name}"${near ? `: did you mean "${near}"?` : "; lovage --help lists them"}`,
  );
}

function commanderExit(error: unknown): number {
  if (!(error instanceof CommanderError)) throw error;
  return error.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
}

/** Tells an error in one line and gives its exit status. A fault of our own is told with its stack. */
function tell(world: RealWorld, error: unknown): number {
  world.log.flushSync();
  const { terminal } = world;
  if (error instanceof UsageError) {
    terminal.err(`Error: ${error.message.replace(/^ERROR: /, "")}\n`);
    return error.exitCode;
  }
  if (error instanceof DialError || error instanceof ConnectionLost || error instanceof AccessRefused) {
    terminal.err(`Error: ${error.message}\n`);
    return EXIT.UNAVAILABLE;
  }
  if (error instanceof OperatingError) {
    terminal.err(`Error: ${error.message}\n`);
    return EXIT.FAILURE;
  }
  terminal.err(`${error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
  return EXIT.FAILURE;
}
