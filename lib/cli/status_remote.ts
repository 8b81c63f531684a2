/** `status` by remote control: asks the workers through the broker. */

import type { Ask } from "../mailbox/mod.ts";
import { waitForNodes } from "../mailbox/mod.ts";
import { EXIT } from "../platform/mod.ts";
import type { CommandContext } from "./command.ts";
import type { StatusValues } from "./remote_options.ts";
import {
  askAndPrint,
  askOf,
  byNode,
  exitOf,
  namesApp,
  NOBODY,
  openCluster,
  replyStyle,
  reportSilent,
} from "./remote.ts";
import { onlineText, pythonJson, replyText } from "./remote_output.ts";

/** Pings the workers and prints their replies. Resolves to the exit status; rejects if the broker is away. */
export async function remoteStatus(context: CommandContext, options: StatusValues): Promise<number> {
  const ask = askOf({ command: "ping" }, options);
  await using app = namesApp(context) ? await context.loadApp() : null;
  if (options.min !== undefined || options.wait !== undefined) {
    return await waited(context, () => openCluster(context, app), { ask, options });
  }
  await using cluster = await openCluster(context, app);
  const json = options.json ?? false;
  const answer = await askAndPrint(context, cluster, ask, { json, body: false });
  if (answer !== null && !json && !context.globals.quiet) {
    context.world.terminal.out(onlineText(Object.keys(byNode(answer)).length));
  }
  return exitOf(answer);
}

async function waited(
  context: CommandContext,
  open: Parameters<typeof waitForNodes>[1],
  { ask, options }: { readonly ask: Ask; readonly options: StatusValues },
): Promise<number> {
  const { min = 1, wait = 0, json } = options;
  const answer = await waitForNodes(context.world, open, { min, waitMs: wait * 1000, ask });
  const { terminal } = context.world;
  const style = replyStyle(context);
  const nodes = Object.entries(byNode(answer));
  if (json) terminal.out(`${pythonJson(byNode(answer))}\n`);
  else for (const [node, reply] of nodes) terminal.styled(replyText(node, reply, style, false));
  reportSilent(context, answer, ask);
  if (nodes.length > 0 && !json && !context.globals.quiet) terminal.out(onlineText(nodes.length));
  if (nodes.length >= min) return EXIT.OK;
  terminal.err(`Error: ${nodes.length === 0 ? NOBODY : `${nodes.length} of ${min} nodes replied`}\n`);
  return EXIT.UNAVAILABLE;
}
