/**
 * The command line: finds the command, reads its options, runs it, and tells errors in one line.
 *
 * The command's name is found by a light scan, so that only its own module is loaded and global options may stand
 * before or after it. Exit statuses: 0 done, 1 failed, 64 usage, 69 unreachable, 128 + n ended by a signal.
 */

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
import type { CommandContext, GlobalOptions } from "./command.ts";
import { addGlobals } from "./globals.ts";
import { readQuickly } from "./quick.ts";
import { COMMANDS } from "./table.ts";

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
  if (at === null) return (await import("./grammar.ts")).runRoot(world, argv);
  const name = argv[at]!;
  const entry = COMMANDS.find((one) => one.name === name);
  if (!entry) throw unknownCommand(name);
  const rest = argv.slice(at + 1);
  if (entry.isRaw) {
    const globals = at === 0
      ? { color: true }
      : await (await import("./grammar.ts")).readGlobals(world, argv.slice(0, at));
    if (typeof globals === "number") return globals;
    return await (await entry.load()).run(context(world, globals, rest), rest, {});
  }
  const module = await entry.load();
  const read = readQuickly((command) => module.define(addGlobals(command)), [...argv.slice(0, at), ...rest]);
  if (read) return await module.run(context(world, read.options, rest), read.args, read.options);
  const { runByGrammar } = await import("./grammar.ts");
  return await runByGrammar(world, entry, [...argv.slice(0, at), ...rest], (globals) => {
    return context(world, globals, rest);
  });
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
