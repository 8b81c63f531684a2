/**
 * The command line: finds the command, reads its options, runs it, and prints errors in one line.
 *
 * A quick scan finds the command's name, so that only its module is loaded and global options may come before
 * or after it. Exit statuses: 0 success, 1 failure, 64 usage, 69 unreachable, 128 + n ended by a signal.
 */

import {
  absolutePath,
  errorText,
  isRetryable,
  isUnreachable,
  longName,
  maskUrls,
  nearest,
  OperatingError,
  setCurrentWorld,
  UsageError,
  VERSION,
  withoutStyles,
} from "../base/mod.ts";
import { enterProject, EXIT, type RealWorld, restartUnder, staleTypes, TYPES_FILE } from "../platform/mod.ts";
import { type CommandContext, factsOf, GLOBAL_OPTIONS, type GlobalValues, type Option } from "./command.ts";
import { type Env, MisreadWords, readWords, variableOf } from "./reader.ts";
import { withLoggedErrors } from "./logged_terminal.ts";
import { COMMANDS, PROGRAM } from "./table.ts";

const FOOT = "lovage COMMAND --help shows the options of a command.";

/** Global options that take a value, by their spellings. */
const WITH_VALUE = new Set(
  Object.entries<Option>(GLOBAL_OPTIONS).filter(([, { value }]) => value !== undefined)
    .flatMap(([key, { short }]) => [longName(key), ...short === undefined ? [] : [short]]),
);
/** Global options that must not be empty. */
const NEVER_EMPTY = ["app", "broker", "resultBackend", "config", "workdir"] as const;

/** Celery's global options that have no effect here, and why. */
const HAS_NO_EFFECT = {
  loader: "has no effect: -A names the module, and this program loads it",
  skipChecks: "has no effect: Lovage does not run Django's checks",
} as const;
const WITHOUT_EFFECT = Object.keys(HAS_NO_EFFECT) as (keyof typeof HAS_NO_EFFECT)[];

/** Runs a command line (without the program's name). Resolves to the exit status; never rejects. */
export async function runCli(outside: RealWorld, argv: readonly string[]): Promise<number> {
  const world = withLoggedErrors(outside);
  setCurrentWorld(world);
  try {
    return await dispatch(world, argv);
  } catch (error) {
    return report(world, error);
  }
}

async function dispatch(world: RealWorld, argv: readonly string[]): Promise<number> {
  const at = commandIndex(argv);
  if (at === null) {
    obeyLogFormat(world, argv);
    return await runProgram(world, argv);
  }
  const name = argv[at]!;
  const [before, rest] = [argv.slice(0, at), argv.slice(at + 1)];
  if (name === "help") return await help(world, rest);
  const entry = COMMANDS.find((one) => one.name === name);
  const command = await entry?.load();
  obeyLogFormat(world, command?.isRaw ? before : argv, name);
  if (!entry || !command) throw unknownCommand(name);
  if (upToDashes(command.isRaw ? before : argv).includes("--version")) return version(world);
  if (command.isRaw) {
    const { options, isHelpAsked } = readWords("", { command: PROGRAM, words: before });
    const args = isHelpAsked ? ["--help"] : rest;
    return await command.run(context(world, options, args), options);
  }
  const env: Env = (variable) => world.host.env(variable);
  const { options, args, isHelpAsked } = readWords(name, { command, words: [...before, ...rest], env });
  if (isHelpAsked) {
    const { helpText } = await import("./help.ts");
    world.terminal.out(helpText(factsOf(entry, command), world.terminal));
    return EXIT.OK;
  }
  const isModuleUnused = command.isModuleUnused?.(options) ?? false;
  return await command.run(context(world, options, args, isModuleUnused), options);
}

/** Handles a command line without a command: `--help`, `--version`, or a usage error. */
async function runProgram(world: RealWorld, argv: readonly string[]): Promise<number> {
  const { terminal } = world;
  if (upToDashes(argv).includes("--version")) return version(world);
  const { args: [word], isHelpAsked } = readWords("", { command: PROGRAM, words: argv });
  if (word !== undefined && !isHelpAsked) throw unknownCommand(word);
  const { helpText } = await import("./help.ts");
  const commands = COMMANDS.filter(({ isHidden }) => !isHidden).map(({ name, summary }) =>
    [name, summary] as const
  );
  const text = helpText(factsOf(PROGRAM, PROGRAM), {
    columns: terminal.columns,
    commands,
    foot: FOOT,
  });
  if (isHelpAsked) terminal.out(text);
  else terminal.err(text);
  return isHelpAsked ? EXIT.OK : EXIT.USAGE;
}

function version({ terminal }: RealWorld): number {
  terminal.out(`${VERSION} (lovage)\n`);
  return EXIT.OK;
}

/** Runs `help` and `help COMMAND`. */
async function help(world: RealWorld, [name]: readonly string[]): Promise<number> {
  return await dispatch(world, name === undefined || name.startsWith("-") ? ["--help"] : [name, "--help"]);
}

/** Returns the words before "--"; only arguments follow it. */
function upToDashes(words: readonly string[]): readonly string[] {
  const end = words.indexOf("--");
  return end < 0 ? words : words.slice(0, end);
}

/** Returns the index of the command's name: the first word that is neither a global option nor its value. */
function commandIndex(argv: readonly string[]): number | null {
  for (let n = 0; n < argv.length; n++) {
    const word = argv[n]!;
    if (WITH_VALUE.has(word)) n++;
    else if (!word.startsWith("-")) return n;
  }
  return null;
}

/** Sets the log format before the words are parsed, so that parse errors are printed in it. */
function obeyLogFormat({ host, log }: RealWorld, argv: readonly string[], command = ""): void {
  const { logFormat } = GLOBAL_OPTIONS;
  const option = longName("logFormat");
  const words = upToDashes(argv);
  const given = words.flatMap((word, n) =>
    word === option ? words[n + 1] ?? [] : word.startsWith(`${option}=`) ? word.slice(option.length + 1) : []
  );
  const format = given.at(-1) ??
    variableOf(logFormat, { key: "logFormat", command, env: (name) => host.env(name) })?.text;
  if (format === "json") log.configure({ isJson: true });
}

function context(
  world: RealWorld,
  options: GlobalValues,
  args: readonly string[],
  isModuleUnused = false,
): CommandContext {
  mustSaySomething(options);
  if (options.workdir !== undefined) changeFolder(options.workdir);
  if (options.noColor) {
    // Set as the variable, so that it also applies to children.
    Deno.env.set("NO_COLOR", "1");
    world.log.configure({ color: false });
  }
  for (const key of WITHOUT_EFFECT) {
    if (options[key] !== undefined && !options.quiet) {
      world.log.warning(`${longName(key)} ${HAS_NO_EFFECT[key]}`);
    }
  }
  const module = options.app ??
    variableOf(GLOBAL_OPTIONS.app, { key: "app", command: "", env: (name) => world.host.env(name) })?.text ??
    null;
  if (module && !isModuleUnused) {
    enterProject(module, { cwd: world.host.cwd, restart: restartUnder });
    if (!options.quiet) warnOfTypes(world, module);
  }
  return {
    world,
    globals: options,
    args,
    module,
    facts: async () => await (await import("./facts.ts")).allFacts(),
    async loadApp({ settings = {}, include = [] } = {}) {
      const { loadApp } = await import("../app/mod.ts");
      return await loadApp(world, module, {
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

/** Warns if the project's declaration file is from another version than this program. */
function warnOfTypes({ host, log }: RealWorld, module: string): void {
  const folder = absolutePath(module, host.cwd).replace(/\/[^/]*$/, "");
  const version = staleTypes(folder);
  if (version === null) return;
  log.warning(
    `"${folder}/${TYPES_FILE}" is from version ${version}, this is ${VERSION}: "lovage types" updates it`,
  );
}

/** Refuses empty global options, which usually come from an unset shell variable. Throws UsageError. */
function mustSaySomething(options: GlobalValues): void {
  for (const key of NEVER_EMPTY) {
    if (options[key]?.trim() === "") {
      throw new UsageError(
        `Cannot use ${
          longName(key)
        } "": it is empty; leave the option out, or set the variable that it comes from`,
      );
    }
  }
}

function changeFolder(path: string): void {
  try {
    Deno.chdir(path);
  } catch (error) {
    throw new UsageError(`Cannot change to folder "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** Celery's commands that do not exist here, and their replacements. */
const INSTEAD: ReadonlyMap<string, string> = new Map([
  ["shell", "lovage run FILE runs a program with the library"],
  ["amqp", "rabbitmqadmin acts on a RabbitMQ server"],
]);

function unknownCommand(name: string): UsageError {
  const instead = INSTEAD.get(name);
  if (instead !== undefined) return new UsageError(`No such command "${name}": ${instead}`);
  const near = nearest(name, [...COMMANDS.filter((one) => !one.isHidden).map((one) => one.name), "help"]);
  if (/\.[cm]?[jt]sx?$/.test(name)) {
    return new UsageError(`No such command "${name}": lovage run ${name} runs a program`);
  }
  return new UsageError(
    `No such command "${name}"${near ? `: did you mean "${near}"?` : "; lovage --help lists all"}`,
  );
}

/** Prints an error in one line and returns its exit status. A programming error is printed with its stack. */
function report(world: RealWorld, error: unknown): number {
  world.log.flushSync();
  const line = (text: string, advice = ""): void => {
    const masked = maskUrls(text.replace(/^(ERROR|Error): /, ""));
    world.terminal.err(`Error: ${masked}\n${advice}`);
  };
  if (error instanceof UsageError) {
    const advice = error instanceof MisreadWords
      ? `Try ${["lovage", error.command, "--help"].filter(Boolean).join(" ")}.\n`
      : "";
    line(errorText(error), advice);
    return error.exitCode;
  }
  if (isUnreachable(error) || isRetryable(error)) {
    line(errorText(error));
    return EXIT.UNAVAILABLE;
  }
  if (error instanceof OperatingError) {
    line(errorText(error));
    return EXIT.FAILURE;
  }
  // A programming error: the stack shows where.
  line(withoutStyles(error instanceof Error ? error.stack ?? error.message : String(error)));
  return EXIT.FAILURE;
}
