/**
 * What `status`, `inspect` and `control` share: options, connecting, asking, and reporting nodes that do not
 * reply.
 */

import { shownLine } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { type Answer, type Ask, duplicateNode } from "../mailbox/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { ControlClient } from "../mailbox/mod.ts";
import type { CommandContext, ValuesOf } from "./command.ts";
import type { REMOTE_OPTIONS } from "./remote_options.ts";
import { pythonJson, type ReplyStyle, replyText } from "./remote_output.ts";

/** Celery's message if no node replies. */
export const NOBODY = "No nodes replied within time constraint";

/** Default time to wait for replies, seconds. */
const TIMEOUT_SECONDS = 1;

/** Makes a request from the options. */
export function askOf(
  ask: Pick<Ask, "command" | "arguments">,
  { timeout = TIMEOUT_SECONDS, destination }: ValuesOf<typeof REMOTE_OPTIONS>,
): Ask {
  return { ...ask, destination: destination ?? null, timeoutMs: timeout * 1000 };
}

/** Returns true if options or environment name an App or a settings file. */
export function namesApp({ globals, module, world }: CommandContext): boolean {
  return module !== null || globals.config !== undefined || Boolean(world.host.env("CELERY_CONFIG_MODULE"));
}

/**
 * Connects to the cluster with the App, or without one with the broker's URL. Rejects if the broker is away.
 */
export async function openCluster(context: CommandContext, app: App | null): Promise<ControlClient> {
  return app === null
    ? await ControlClient.openUrl(context.world, context.globals.broker ?? null)
    : await ControlClient.openApp(app);
}

/** Returns the style of replies on this terminal. */
export function replyStyle({ world, globals }: CommandContext): ReplyStyle {
  const isHighlighted = !world.host.env("NO_COLOR");
  const hasColors = isHighlighted && world.terminal.outIsTty;
  return { isQuiet: globals.quiet ?? false, hasColors, isHighlighted };
}

/**
 * Asks and prints each reply as it arrives, or with `json` all replies as one object at the end. Nodes that
 * did not reply are reported on standard error. Resolves to null if no node replied, which is reported too.
 */
export async function askAndPrint(
  context: CommandContext,
  cluster: ControlClient,
  ask: Ask,
  show: { json: boolean; body: boolean },
): Promise<Answer | null> {
  const { terminal } = context.world;
  const style = replyStyle(context);
  const answer = await cluster.ask({
    ...ask,
    ...(show.json ? {} : {
      onReply: (node: string, reply: unknown) => terminal.styled(replyText(node, reply, style, show.body)),
    }),
  });
  if (answer.replies.length === 0) {
    reportSilent(context, answer, ask);
    terminal.err(`Error: ${NOBODY}\n`);
    return null;
  }
  if (show.json) terminal.out(`${pythonJson(byNode(answer))}\n`);
  reportSilent(context, answer, ask);
  return answer;
}

/** Returns the exit status for an answer: a failure if every node replied with an error. */
export function exitOf(answer: Answer | null): number {
  if (answer === null) return EXIT.UNAVAILABLE;
  return answer.replies.every(([, reply]) => isError(reply)) ? EXIT.FAILURE : EXIT.OK;
}

function isError(reply: unknown): boolean {
  return typeof reply === "object" && reply !== null && "error" in reply && !("ok" in reply);
}

/** Returns the replies by node; of nodes with the same name, the last one. */
export function byNode({ replies }: Answer): Record<string, unknown> {
  return Object.fromEntries(replies);
}

/** Warns on standard error of nodes that did not reply, and of nodes with the same name. */
export function reportSilent({ world }: CommandContext, { replies, silent }: Answer, ask: Ask): void {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const [node] of replies) {
    if (seen.has(node)) twice.add(node);
    seen.add(node);
  }
  if (twice.size > 0) world.terminal.err(`Warning: ${shownLine(duplicateNode([...twice]))}\n`);
  const { count, names } = silent;
  // For nodes that are not online, "no nodes replied" is enough.
  if (count === 0 || (replies.length === 0 && names.length === 0)) return;
  const within = `within ${(ask.timeoutMs ?? 1000) / 1000} s`;
  const who = names.length === 0
    ? ""
    : names.length === count
    ? `: ${shownLine(names.join(", "))}`
    : `, of: ${shownLine(names.join(", "))}`;
  world.terminal.err(`Warning: ${count} node${count === 1 ? "" : "s"} did not reply ${within}${who}\n`);
}
