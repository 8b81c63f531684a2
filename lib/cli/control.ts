/** `lovage control COMMAND`: has workers do something. Source: celery 5.2.6 and 5.6.3 bin/control.py control. */

import type { Command } from "commander";
import { argumentsFrom } from "../mailbox/mod.ts";
import { EXIT } from "../platform/mod.ts";
import type { Cluster } from "../status/mod.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { chosen, defineRemote, listCommands } from "./inspect.ts";
import { askAndPrint, exitOf, namesApp, NOBODY, openCluster, remoteOptions } from "./remote.ts";

/** The command. */
export const control: CommandModule = {
  define: (command: Command) => defineRemote(command, "do this; --list lists what can be done"),

  async run(context: CommandContext, args, raw): Promise<number> {
    const options = remoteOptions(raw);
    await using app = namesApp(context) ? await context.loadApp() : null;
    if (raw["list"] === true) return listCommands(context, "control", app, options.json);
    const { command, words } = chosen("control", args, app);
    const ask = {
      command: command.name,
      arguments: argumentsFrom(command, words),
      destination: options.destination,
      timeoutMs: options.timeoutMs,
    };
    await using cluster = await openCluster(context, app);
    if (command.name === "shutdown") return await shutdown(context, cluster, options.destination);
    return exitOf(await askAndPrint(context, cluster, ask, { json: options.json, body: true }));
  },
};

/** A worker that shuts down sends no reply: there is nothing to wait for. */
async function shutdown(
  { world }: CommandContext,
  cluster: Cluster,
  destination: readonly string[] | null,
): Promise<number> {
  const { name } = cluster.exchange;
  const count = await cluster.connection.listeners(name);
  await cluster.mailbox.tell({ command: "shutdown", destination });
  if (count !== 0) return EXIT.OK;
  world.terminal.err(`Error: ${NOBODY}\n`);
  return EXIT.UNAVAILABLE;
}
