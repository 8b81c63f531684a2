/**
 * `lovage run FILE [ARGUMENT...]`, `lovage test [FILE...]` and `lovage check [FILE...]`: a program or tests of the
 * user's own, and their types. In all, "lovage" is this program's library and the project's own imports hold, as they
 * do in a task module.
 *
 * A web application that sends tasks, a script, tests with TestWorker. The process becomes the program: its arguments,
 * streams, signals and exit status are its own.
 */

import { UsageError } from "../base/mod.ts";
import { becomeUserProgram, enterProject, EXIT, restartUnder } from "../platform/mod.ts";
import { command, type CommandContext } from "./command.ts";
import { REMOTE_FILE } from "./project_files.ts";

const RUN_HELP = `Usage: lovage run FILE [ARGUMENT...]

Runs a TypeScript or JavaScript file, in which "lovage" is this program's library.
`;
const TEST_HELP = `Usage: lovage test [FILE or FOLDER...]

Runs tests (Deno.test), in which "lovage" is this program's library; by default those below the current folder.
`;

const CHECK_HELP = `Usage: lovage check [FILE or FOLDER...]

Checks the types of programs and task modules, in which "lovage" is this program's library; by default of all that lie
below the current folder.
`;

/** The command `run`. */
export const run = command({
  usage: "FILE [ARGUMENT...]",
  arguments: [
    { name: "file", help: "a program in TypeScript or JavaScript", isRequired: true },
    { name: "argument", help: "its arguments", isRest: true },
  ],
  options: {},
  isRaw: true,
  async run(context): Promise<number> {
    const [file] = context.args;
    if (file === "--help" || file === "-h") return help(context, RUN_HELP);
    if (file === undefined || file.startsWith("-")) throw new UsageError("Cannot run: name a file to run");
    return await become(context, "run");
  },
});

/** The command `test`. */
export const test = command({
  arguments: [{ name: "file", help: "tests, or folders of them; by default this one", isRest: true }],
  options: {},
  isRaw: true,
  async run(context): Promise<number> {
    if (context.args.includes("--help") || context.args.includes("-h")) return help(context, TEST_HELP);
    return await become(context, "test");
  },
});

/** The command `check`. */
export const check = command({
  arguments: [{ name: "file", help: "programs, or folders of them; by default this one", isRest: true }],
  options: {},
  isRaw: true,
  async run(context): Promise<number> {
    if (context.args.includes("--help") || context.args.includes("-h")) return help(context, CHECK_HELP);
    return await become(context, "check");
  },
});

function help({ world }: CommandContext, text: string): number {
  world.terminal.out(text);
  return EXIT.OK;
}

function become(
  { world, globals, args: words }: CommandContext,
  kind: "run" | "test" | "check",
): Promise<never> {
  const { cwd } = world.host;
  const file = words.find((word) => !word.startsWith("-")) ?? ".";
  if (world.host.fileKind(file) === null) {
    throw new UsageError(`Cannot ${kind} "${file}": there is no such file`);
  }
  enterProject(file, { cwd, restart: restartUnder });
  world.log.flushSync();
  const hasFile = words.some((word) => !word.startsWith("-"));
  const isTyped = kind === "check" && world.host.fileKind(`${cwd}/${REMOTE_FILE}`) === "file";
  const named = [
    ...words,
    // Without a folder the runtime tests that of its configuration, which may be ours.
    ...kind === "run" || hasFile ? [] : ["."],
    // The stubs are part of no program: they are named, or the tasks of other workers would not be known.
    ...isTyped ? [REMOTE_FILE] : [],
  ];
  return becomeUserProgram(kind, named, { hasColor: !globals.noColor });
}
