/**
 * `lovage status`: which workers are there.
 *
 * Source: celery 5.2.6 bin/control.py status; `--min` and `--wait` are ours.
 */

import type { Command } from "commander";
import { UsageError } from "../base/mod.ts";
import type { Ask } from "../mailbox/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { waitForNodes } from "../status/mod.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import {
  addRemoteOptions,
  askAndPrint,
  byNode,
  exitOf,
  namesApp,
  NOBODY,
  openCluster,
  remoteOptions,
  replyStyle,
  seconds,
  tellSilent,
} from "./remote.ts";
import { onlineText, pythonJson, replyText } from "./remote_output.ts";

/** The command. */
export const status: CommandModule = {
  define(command: Command): void {
    addRemoteOptions(command)
      .option("--min <nodes>", "exit with 69 unless that many are there")
      .option("--wait <seconds>", "with --min (or alone: for the first node): wait for them so long");
  },

  async run(context: CommandContext, _args, raw): Promise<number> {
    const { timeoutMs, destination, json } = remoteOptions(raw);
    const ask: Ask = { command: "ping", destination, timeoutMs };
    await using app = namesApp(context) ? await context.loadApp() : null;
    if (raw["min"] !== undefined || raw["wait"] !== undefined) {
      return await waited(context, () => openCluster(context, app), { ask, json, raw });
    }
    await using cluster = await openCluster(context, app);
    const answer = await askAndPrint(context, cluster, ask, { json, body: false });
    if (answer !== null && !context.globals.quiet) {
      context.world.terminal.out(onlineText(Object.keys(byNode(answer)).length));
    }
    return exitOf(answer);
  },
};

async function waited(
  context: CommandContext,
  open: Parameters<typeof waitForNodes>[1],
  { ask, json, raw }: { ask: Ask; json: boolean; raw: Record<string, unknown> },
): Promise<number> {
  const min = Number(raw["min"] ?? 1);
  if (!Number.isInteger(min) || min < 1) {
    throw new UsageError(`--min must be a whole number of 1 or more, not "${raw["min"]}"`);
  }
  const waitMs = seconds("--wait", raw["wait"] ?? "0") * 1000;
  const answer = await waitForNodes(context.world, open, { min, waitMs, ask });
  const { terminal } = context.world;
  const style = replyStyle(context);
  const nodes = Object.entries(byNode(answer));
  if (json) terminal.out(`${pythonJson(byNode(answer))}\n`);
  else for (const [node, reply] of nodes) terminal.out(replyText(node, reply, style, false));
  tellSilent(context, answer, ask);
  if (nodes.length > 0 && !context.globals.quiet) terminal.out(onlineText(nodes.length));
  if (nodes.length >= min) return EXIT.OK;
  terminal.err(`Error: ${nodes.length === 0 ? NOBODY : `${nodes.length} of ${min} nodes replied`}\n`);
  return EXIT.UNAVAILABLE;
}
