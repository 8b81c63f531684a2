/**
 * `lovage dead list|show|retry|drop`: the messages that nobody could handle, or whose workers died too often.
 *
 * Letters are named by their own id or by the id of their task.
 */

import type { Command } from "commander";
import { nearest, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { type Connection, DEAD_LETTERS_MAX, type DeadLetter, type DeadLetters } from "../transport/mod.ts";
import { bodyBytes, decodeEnvelope, DecodeError, type EncodedMessage } from "../wire/mod.ts";
import { whole } from "./arguments.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { jsonLine } from "./output.ts";

interface DeadOptions {
  all?: boolean;
  queue?: string;
  limit?: number;
  json?: boolean;
}

const ACTIONS = ["list", "show", "retry", "drop"] as const;
const LISTED = 100;
const BODY_CHARS_MAX = 2000;

/** The command. */
export const dead: CommandModule = {
  define(command: Command): void {
    command.argument("<action>", "list, show, retry or drop")
      .argument("[ids...]", "ids of dead letters, or of their tasks")
      .option("-a, --all", "retry, drop: every one")
      .option("-Q, --queue <name>", "list: only from this queue; retry: into this queue instead of its own")
      .option("-n, --limit <count>", `list: at most so many (default ${LISTED})`, whole(0))
      .option("-j, --json", "print JSON");
  },

  async run({ world, loadApp }: CommandContext, [action, ...ids], raw): Promise<number> {
    const options = raw as DeadOptions;
    mustBeAction(action!);
    mustName(action!, ids, options);
    await using app = await loadApp();
    await using connection = await app.connectBroker({ forWriting: true });
    const letters = lettersOf(connection);
    const { out } = world.terminal;
    switch (action) {
      case "list":
        return await list(letters, options, out);
      case "show":
        return await show(letters, ids, options, out);
      case "retry":
        return await forEach(letters, ids, options, out, {
          done: "Put back",
          act: (letter) => letters.retry(letter, options.queue ?? mustHaveQueue(letter)),
        });
      default:
        return await forEach(letters, ids, options, out, {
          done: "Dropped",
          act: (letter) => letters.drop(letter),
        });
    }
  },
};

/** Prints a text. */
type Out = (text: string) => void;

/** What is done with each letter that was named. */
interface Deed {
  /** As the line about it begins. */
  readonly done: string;
  act(letter: DeadLetter): Promise<boolean>;
}

async function list(letters: DeadLetters, options: DeadOptions, out: Out): Promise<number> {
  const total = await letters.count();
  const all = await letters.list(options.queue === undefined ? options.limit ?? LISTED : DEAD_LETTERS_MAX);
  const shown = all.filter(({ queue }) => options.queue === undefined || queue === options.queue)
    .slice(0, options.limit ?? LISTED);
  if (options.json) {
    out(jsonLine(shown.map(describe)));
    return EXIT.OK;
  }
  if (total === 0) {
    out("No dead letters.\n");
    return EXIT.OK;
  }
  const rows = shown.map(describe).map(({ id, at, queue, task, task_id, reason }) => [
    id,
    at,
    queue ?? "-",
    task === null ? "-" : `${task}[${task_id ?? ""}]`,
    reason,
  ]);
  const head = ["Id", "Since", "Queue", "Task", "Reason"];
  const widths = head.map((_, n) => Math.max(...[head, ...rows].map((row) => row[n]!.length)));
  const line = (row: readonly string[]) =>
    `${row.map((cell, n) => cell.padEnd(widths[n]!)).join("  ").trimEnd()}\n`;
  out([head, ...rows].map(line).join(""));
  if (options.queue === undefined && total > shown.length) {
    out(`${total - shown.length} more: --limit shows them\n`);
  }
  return EXIT.OK;
}

async function show(letters: DeadLetters, ids: string[], options: DeadOptions, out: Out): Promise<number> {
  const found = named(await letters.list(DEAD_LETTERS_MAX), ids);
  if (options.json) {
    out(jsonLine(found.map((letter) => ({ ...describe(letter), message: letter.envelope }))));
    return EXIT.OK;
  }
  out(found.map(inFull).join("\n"));
  return EXIT.OK;
}

async function forEach(
  letters: DeadLetters,
  ids: string[],
  options: DeadOptions,
  out: Out,
  deed: Deed,
): Promise<number> {
  const all = await letters.list(DEAD_LETTERS_MAX);
  // The oldest first, so that retried messages keep their order.
  const chosen = (options.all ? [...all] : named(all, ids)).reverse();
  const done: string[] = [];
  for (const letter of chosen) if (await deed.act(letter)) done.push(letter.id);
  if (options.json) out(jsonLine({ count: done.length, ids: done }));
  else out(`${deed.done} ${done.length} dead letter${done.length === 1 ? "" : "s"}.\n`);
  return done.length === chosen.length ? EXIT.OK : EXIT.FAILURE;
}

function mustBeAction(action: string): void {
  if ((ACTIONS as readonly string[]).includes(action)) return;
  const near = nearest(action, ACTIONS);
  throw new UsageError(
    `Cannot ${action} dead letters: ${
      near ? `did you mean "${near}"?` : "there are list, show, retry and drop"
    }`,
  );
}

function mustName(action: string, ids: readonly string[], options: DeadOptions): void {
  if (action === "list") {
    if (ids.length > 0) throw new UsageError("Cannot list by id: dead show does");
    return;
  }
  const mayBeAll = action !== "show";
  if (options.all && !mayBeAll) throw new UsageError("Cannot show all: dead list --json does");
  if (options.all && ids.length > 0) throw new UsageError("Cannot take ids and --all together");
  if (!options.all && ids.length === 0) {
    throw new UsageError(
      `Cannot ${action} nothing: name ids${mayBeAll ? ", or say --all" : ""} (dead list shows them)`,
    );
  }
}

function lettersOf(connection: Connection): DeadLetters {
  const { deadLetters, transport } = connection;
  if (deadLetters !== undefined) return deadLetters;
  throw new UsageError(`Cannot look at dead letters: ${transport} keeps them in exchanges of its own`);
}

function mustHaveQueue(letter: DeadLetter): string {
  if (letter.queue !== null) return letter.queue;
  throw new UsageError(
    `Cannot put back dead letter ${letter.id}: its queue is not known; name one with --queue`,
  );
}

/** The letters that ids name, newest first. Throws UsageError for an id that names none. */
function named(letters: readonly DeadLetter[], ids: readonly string[]): DeadLetter[] {
  const found = new Set<DeadLetter>();
  const byTask = new Map<string, DeadLetter[]>();
  for (const letter of letters) {
    const id = describe(letter).task_id;
    if (id === null) continue;
    const same = byTask.get(id);
    if (same) same.push(letter);
    else byTask.set(id, [letter]);
  }
  for (const id of ids) {
    const own = letters.filter((letter) => letter.id === id);
    const all = own.length > 0 ? own : byTask.get(id) ?? [];
    if (all.length === 0) throw new UsageError(`No dead letter "${id}": dead list shows them`);
    for (const letter of all) found.add(letter);
  }
  return letters.filter((letter) => found.has(letter));
}

/** A letter as `--json` tells it. */
function describe(letter: DeadLetter) {
  const headers = messageOf(letter)?.headers ?? {};
  const text = (value: unknown) => typeof value === "string" ? value : null;
  return {
    id: letter.id,
    at: new Date(letter.atMs).toISOString(),
    queue: letter.queue,
    task: text(headers["task"]),
    task_id: text(headers["id"]),
    reason: letter.reason,
  };
}

function inFull(letter: DeadLetter): string {
  const { id, at, queue, reason } = describe(letter);
  const head = `Id:      ${id}\nSince:   ${at}\nQueue:   ${queue ?? "not known"}\nReason:  ${reason}\n`;
  const message = messageOf(letter);
  if (message === null) return `${head}Message: ${cut(letter.envelope)}\n`;
  const type = `${message.contentType}; ${message.contentEncoding}`;
  return `${head}Headers: ${JSON.stringify(message.headers)}\nType:    ${type}\nBody:    ${
    cut(bodyOf(message))
  }\n`;
}

function messageOf(letter: DeadLetter): EncodedMessage | null {
  try {
    return decodeEnvelope(letter.envelope).message;
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

function bodyOf(message: EncodedMessage): string {
  try {
    return new TextDecoder().decode(bodyBytes(message));
  } catch (error) {
    if (error instanceof DecodeError) return String(message.body);
    throw error;
  }
}

function cut(text: string): string {
  return text.length > BODY_CHARS_MAX
    ? `${text.slice(0, BODY_CHARS_MAX)}… (${text.length} characters)`
    : text;
}
