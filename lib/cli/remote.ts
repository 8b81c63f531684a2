/**
 * What `status`, `inspect` and `control` have in common: options, the way to the cluster, asking, telling of silence.
 */

import type { Command } from "commander";
import { UsageError } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { type Answer, type Ask, duplicateNode } from "../mailbox/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { Cluster } from "../status/mod.ts";
import type { CommandContext } from "./command.ts";
import { pythonJson, type ReplyStyle, replyText } from "./remote_output.ts";

/** Celery's words where nobody answers. */
export const NOBODY = "No nodes replied within time constraint";

/** Options of the three commands, read. Durations are milliseconds. */
export interface RemoteCliOptions {
  readonly timeoutMs: number;
  readonly destination: readonly string[] | null;
  readonly json: boolean;
}

/** Adds them to a command. */
export function addRemoteOptions(command: Command): Command {
  return command
    .option("-t, --timeout <seconds>", "wait no longer than this for replies", "1.0")
    .option("-d, --destination <nodes>", "only these nodes, comma separated", gathered)
    .option("-j, --json", "print JSON");
}

function gathered(text: string, before: string | undefined): string {
  return before === undefined ? text : `${before},${text}`;
}

/** Reads them. Throws UsageError. */
export function remoteOptions(raw: Record<string, unknown>): RemoteCliOptions {
  const destination = raw["destination"] === undefined
    ? null
    : String(raw["destination"]).split(",").map((name) => name.trim()).filter(Boolean);
  return {
    timeoutMs: seconds("--timeout", raw["timeout"] ?? "1.0") * 1000,
    destination,
    json: raw["json"] === true,
  };
}

/** A number of seconds from an option's text. */
export function seconds(option: string, text: unknown): number {
  const value = Number(text);
  if (String(text).trim() !== "" && Number.isFinite(value) && value >= 0) return value;
  throw new UsageError(`${option} must be a number of seconds, not "${text}"`);
}

/** True where an App, or a file of settings, is named: by options or the environment. */
export function namesApp({ globals, world }: CommandContext): boolean {
  if (globals.app !== undefined || globals.config !== undefined) return true;
  return ["CELERY_APP", "APP", "CELERY_CONFIG_MODULE"].some((name) => Boolean(world.host.env(name)));
}

/** Opens the cluster: by the App where one is named, else by the broker's URL alone. */
export async function openCluster(context: CommandContext, app: App | null): Promise<Cluster> {
  return app === null
    ? await Cluster.openUrl(context.world, context.globals.broker ?? null)
    : await Cluster.openApp(app);
}

/** How this terminal shows replies. */
export function replyStyle({ world, globals }: CommandContext): ReplyStyle {
  const isHighlighted = globals.color !== false && !world.host.env("NO_COLOR");
  const hasColors = isHighlighted && world.terminal.outIsTty;
  return { isQuiet: globals.quiet ?? false, hasColors, isHighlighted };
}

/**
 * Asks and prints: each reply as it comes, or with `json` all of them as one object at the end. Who was silent is told
 * on standard error. Null where nobody answered, which is told too.
 */
export async function askAndPrint(
  context: CommandContext,
  cluster: Cluster,
  ask: Ask,
  show: { json: boolean; body: boolean },
): Promise<Answer | null> {
  const { terminal } = context.world;
  const style = replyStyle(context);
  const answer = await cluster.ask({
    ...ask,
    ...(show.json ? {} : {
      onReply: (node: string, reply: unknown) => terminal.out(replyText(node, reply, style, show.body)),
    }),
  });
  if (answer.replies.length === 0) {
    tellSilent(context, answer, ask);
    terminal.err(`Error: ${NOBODY}\n`);
    return null;
  }
  if (show.json) terminal.out(`${pythonJson(byNode(answer))}\n`);
  tellSilent(context, answer, ask);
  return answer;
}

/** The exit status of an answer. */
export function exitOf(answer: Answer | null): number {
  return answer === null ? EXIT.UNAVAILABLE : EXIT.OK;
}

/** Replies as one object; of nodes that share a name the last. */
export function byNode({ replies }: Answer): Record<string, unknown> {
  return Object.fromEntries(replies);
}

/** Names on standard error who is there and did not answer, and nodes that share a name. */
export function tellSilent({ world }: CommandContext, { replies, silent }: Answer, ask: Ask): void {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const [node] of replies) {
    if (seen.has(node)) twice.add(node);
    seen.add(node);
  }
  if (twice.size > 0) world.terminal.err(`Warning: ${duplicateNode([...twice])}\n`);
  const { count, names } = silent;
  // Somebody named who is not there is what "no nodes replied" says.
  if (count === 0 || (replies.length === 0 && names.length === 0)) return;
  const within = `within ${(ask.timeoutMs ?? 1000) / 1000} s`;
  const who = names.length === 0
    ? ""
    : names.length === count
    ? `: ${names.join(", ")}`
    : `, of: ${names.join(", ")}`;
  world.terminal.err(`Warning: ${count} node${count === 1 ? "" : "s"} did not reply ${within}${who}\n`);
}
