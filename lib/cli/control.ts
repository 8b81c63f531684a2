/**
 * `lovage control COMMAND`: sends commands to workers. Source: celery 5.2.6 and 5.6.3 bin/control.py control.
 */

import { EXIT } from "../platform/mod.ts";
import type { ControlClient } from "../mailbox/mod.ts";
import { command, type CommandContext } from "./command.ts";
import { COMMAND_OPTIONS, commandArguments, runRemote } from "./inspect.ts";
import { askAndPrint, exitOf, NOBODY } from "./remote.ts";

/** The command. */
export const control = command({
  arguments: commandArguments("control", "the command; --list shows all"),
  options: COMMAND_OPTIONS,

  async run(context, options): Promise<number> {
    return await runRemote(context, "control", options, async (cluster, ask) => {
      if (ask.command === "shutdown") return await shutdown(context, cluster, ask.destination ?? null);
      return exitOf(await askAndPrint(context, cluster, ask, { json: options.json ?? false, body: true }));
    });
  },
});

/** Sends a shutdown without waiting: a worker that shuts down sends no reply. */
async function shutdown(
  { world }: CommandContext,
  cluster: ControlClient,
  destination: readonly string[] | null,
): Promise<number> {
  const { name } = cluster.exchange;
  const count = await cluster.connection.listeners(name);
  await cluster.mailbox.send({ command: "shutdown", destination });
  if (count !== 0) return EXIT.OK;
  world.terminal.err(`Error: ${NOBODY}\n`);
  return EXIT.UNAVAILABLE;
}
