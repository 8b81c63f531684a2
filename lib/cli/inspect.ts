/** `lovage inspect COMMAND`: asks workers about themselves. Source: celery 5.2.6 and 5.6.3 bin/control.py inspect. */

import { UsageError } from "../base/mod.ts";
import type { App, RemoteCommandFacts } from "../app/mod.ts";
import { argumentsFrom, type Ask, commandsOf, findCommand } from "../mailbox/mod.ts";
import { EXIT } from "../platform/mod.ts";
import type { ControlClient } from "../mailbox/mod.ts";
import { type Argument, command, type CommandContext, type Options, type ValuesOf } from "./command.ts";
import { askAndPrint, askOf, byNode, exitOf, namesApp, openCluster } from "./remote.ts";
import { REMOTE_OPTIONS } from "./remote_options.ts";
import { onlineText, pythonJson } from "./remote_output.ts";

/** The options of `inspect` and `control`. */
export const COMMAND_OPTIONS = {
  ...REMOTE_OPTIONS,
  list: { help: "list the commands" },
} as const satisfies Options;

/** Returns the arguments of `inspect` or `control`. */
export function commandArguments(kind: "inspect" | "control", help: string): readonly Argument[] {
  const words = commandsOf(kind).map(({ name }) => name).sort();
  return [{ name: "command", help, words }, {
    name: "argument",
    help: "arguments of the command",
    isRest: true,
  }];
}

/** The command. */
export const inspect = command({
  arguments: commandArguments("inspect", "the command; --list shows all"),
  options: COMMAND_OPTIONS,

  async run(context, options): Promise<number> {
    return await runRemote(context, "inspect", options, async (cluster, ask) => {
      const answer = await askAndPrint(context, cluster, ask, { json: options.json ?? false, body: true });
      if (answer !== null && !options.json && !options.quiet) {
        context.world.terminal.out(onlineText(Object.keys(byNode(answer)).length));
      }
      return exitOf(answer);
    });
  },
});

/**
 * Lists the commands of a kind with --list, else calls `run` with the named command. Rejects with UsageError.
 */
export async function runRemote(
  context: CommandContext,
  kind: "inspect" | "control",
  options: ValuesOf<typeof COMMAND_OPTIONS>,
  run: (cluster: ControlClient, ask: Ask) => Promise<number>,
): Promise<number> {
  await using app = namesApp(context) ? await context.loadApp() : null;
  if (options.list) return listCommands(context, kind, app, options.json ?? false);
  const { command, words } = chosen(kind, context.args, app);
  const ask = askOf({ command: command.name, arguments: argumentsFrom(command, words) }, options);
  await using cluster = await openCluster(context, app);
  return await run(cluster, ask);
}

/** Returns the named command and its arguments. Throws UsageError. */
function chosen(
  kind: "inspect" | "control",
  args: readonly string[],
  app: App | null,
): { command: RemoteCommandFacts; words: readonly string[] } {
  const [name, ...words] = args;
  if (name === undefined) throw new UsageError(`Missing command: lovage ${kind} --list shows them`);
  return { command: findCommand(kind, name, app?.remoteCommands ?? []), words };
}

/** Prints the commands of a kind, including those of the App. */
function listCommands(
  { world }: CommandContext,
  kind: "inspect" | "control",
  app: App | null,
  json: boolean,
): number {
  const commands = commandsOf(kind, app?.remoteCommands ?? []).sort((a, b) => a.name < b.name ? -1 : 1);
  const { terminal } = world;
  if (json) {
    terminal.out(
      `${pythonJson(commands.map(({ name, signature, help }) => ({ name, signature, help })))}\n`,
    );
    return EXIT.OK;
  }
  terminal.out(`${kind === "inspect" ? "Inspect" : "Control"} Commands:\n`);
  for (const { name, signature, help } of commands) {
    const head = `  ${name}${signature === "" ? "" : ` ${signature}`}`;
    const gap = head.length > 32 ? `\n${" ".repeat(34)}` : " ".repeat(34 - head.length);
    terminal.out(`${`${head}${help === "" ? "" : gap}${help}`.trimEnd()}\n`);
  }
  return EXIT.OK;
}
