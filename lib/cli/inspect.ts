/** `lovage inspect COMMAND`: asks workers about themselves. Source: celery 5.2.6 and 5.6.3 bin/control.py inspect. */

import type { Command } from "commander";
import { UsageError } from "../base/mod.ts";
import type { App, RemoteCommandFacts } from "../app/mod.ts";
import { argumentsFrom, type Ask, commandsOf, findCommand } from "../mailbox/mod.ts";
import { EXIT } from "../platform/mod.ts";
import type { Cluster } from "../status/mod.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import {
  addRemoteOptions,
  askAndPrint,
  byNode,
  exitOf,
  namesApp,
  openCluster,
  remoteOptions,
} from "./remote.ts";
import { onlineText, pythonJson } from "./remote_output.ts";

/** The command. */
export const inspect: CommandModule = {
  define: (command: Command) => defineRemote(command, "ask this; --list lists what can be asked"),

  async run(context: CommandContext, args, raw): Promise<number> {
    return await runRemote(context, "inspect", { args, raw }, async (cluster, ask, json) => {
      const answer = await askAndPrint(context, cluster, ask, { json, body: true });
      if (answer !== null && !json && !context.globals.quiet) {
        context.world.terminal.out(onlineText(Object.keys(byNode(answer)).length));
      }
      return exitOf(answer);
    });
  },
};

/** Lists the commands of a kind where asked to, else has `run` send the one that the words name. Throws UsageError. */
export async function runRemote(
  context: CommandContext,
  kind: "inspect" | "control",
  given: { args: readonly string[]; raw: Readonly<Record<string, unknown>> },
  run: (cluster: Cluster, ask: Ask, json: boolean) => Promise<number>,
): Promise<number> {
  const { json, destination, timeoutMs } = remoteOptions(given.raw);
  await using app = namesApp(context) ? await context.loadApp() : null;
  if (given.raw["list"] === true) return listCommands(context, kind, app, json);
  const { command, words } = chosen(kind, given.args, app);
  const ask = { command: command.name, arguments: argumentsFrom(command, words), destination, timeoutMs };
  await using cluster = await openCluster(context, app);
  return await run(cluster, ask, json);
}

/** Arguments and options of `inspect` and `control`. */
export function defineRemote(command: Command, what: string): void {
  addRemoteOptions(command.argument("[command]", what).argument("[argument...]", "its arguments"))
    .option("--list", "list the commands");
}

/** The command that the words name, and its own words. Throws UsageError. */
function chosen(
  kind: "inspect" | "control",
  args: readonly string[],
  app: App | null,
): { command: RemoteCommandFacts; words: readonly string[] } {
  const [name, ...words] = args;
  if (name === undefined) throw new UsageError(`Missing command: lovage ${kind} --list lists them`);
  return { command: findCommand(kind, name, app?.remoteCommands ?? []), words };
}

/** Prints the commands of a kind, the App's own among them. */
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
