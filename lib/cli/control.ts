/** `lovage control COMMAND`: has workers do something. Source: celery 5.2.6 and 5.6.3 bin/control.py control. */

import type { Command } from "commander";
import { EXIT } from "../platform/mod.ts";
import type { Cluster } from "../status/mod.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { defineRemote, runRemote } from "./inspect.ts";
import { askAndPrint, exitOf, NOBODY } from "./remote.ts";

/** The command. */
export const control: CommandModule = {
  define: (command: Command) => defineRemote(command, "do this; --list lists what can be done"),

  async run(context: CommandContext, args, raw): Promise<number> {
    return await runRemote(context, "control", { args, raw }, async (cluster, ask, json) => {
      if (ask.command === "shutdown") return await shutdown(context, cluster, ask.destination ?? null);
      return exitOf(await askAndPrint(context, cluster, ask, { json, body: true }));
    });
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
