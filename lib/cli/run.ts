/**
 * `lovage run FILE [ARGUMENT...]`, `lovage test [FILE...]` and `lovage check [FILE...]`: run the user's own
 * programs and tests, and check their types. In all three, "lovage" is this program's library and the
 * project's own imports work, as in a task module.
 *
 * Uses are a web application that sends tasks, a script, or tests with TestWorker. This process becomes the
 * program, with the program's arguments, streams, signals and exit status.
 */

import { UsageError } from "../base/mod.ts";
import { becomeUserProgram, enterProject, EXIT, restartUnder } from "../platform/mod.ts";
import { command, type CommandContext } from "./command.ts";
import { REMOTE_FILE } from "./project_files.ts";

const RUN_HELP = `Usage: lovage run FILE [ARGUMENT...]

Runs a TypeScript or JavaScript file. In it, "lovage" is this program's library.
`;
const TEST_HELP = `Usage: lovage test [FILE or FOLDER...]

Runs tests (Deno.test), by default those in the current folder. In them, "lovage" is this program's library.
`;

const CHECK_HELP = `Usage: lovage check [FILE or FOLDER...]

Checks the types of programs and task modules, by default of all in the current folder. In them, "lovage" is
this program's library.
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
  arguments: [{ name: "file", help: "tests, or folders of tests; by default the current one", isRest: true }],
  options: {},
  isRaw: true,
  async run(context): Promise<number> {
    if (context.args.includes("--help") || context.args.includes("-h")) return help(context, TEST_HELP);
    return await become(context, "test");
  },
});

/** The command `check`. */
export const check = command({
  arguments: [{
    name: "file",
    help: "programs, or folders of them; by default the current one",
    isRest: true,
  }],
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
    // Without a folder the runtime uses its configuration's folder, which may be the library's.
    ...kind === "run" || hasFile ? [] : ["."],
    // No program imports the stubs, so name them: otherwise the tasks of other workers would be unknown.
    ...isTyped ? [REMOTE_FILE] : [],
  ];
  return becomeUserProgram(kind, named, { hasColor: !globals.noColor });
}
