/**
 * What `lovage dead` and `lovage failed` share: they list, show, resend and drop messages that the broker
 * keeps. A message is named by its own id or by its task's id.
 */

import { nearest, OperatingError, shownLine, type Terminal, textOrNull, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { type Connection, DEAD_LETTERS_MAX, type DeadLetter } from "../transport/mod.ts";
import { bodyBytes, decodeEnvelope, DecodeError, type EncodedMessage, shownJson } from "../wire/mod.ts";
import { whole } from "./arguments.ts";
import {
  type Command,
  command,
  type CommandContext,
  JSON_OPTION,
  type Options,
  type ValuesOf,
} from "./command.ts";
import { columns, jsonLine } from "./output.ts";

/** The kept messages of one kind. Methods reject if the broker is away. */
export interface Letters {
  count(): Promise<number>;
  /** Returns the newest first. */
  list(limit: number): Promise<DeadLetter[]>;
  /**
   * Resends a message. Resolves to the task's new id (null: unchanged), or to false if the message is gone.
   */
  retry(letter: DeadLetter, queueName: string): Promise<{ taskId: string | null } | false>;
  drop(letter: DeadLetter): Promise<boolean>;
}

/** A kind of kept messages. */
export interface LetterKind {
  /** The command that lists them: "dead". */
  readonly name: string;
  /** Its noun: "dead letter". */
  readonly noun: string;
  /** The beginning of the line that reports a retry: "Put back". */
  readonly retried: string;
  open(context: CommandContext, connection: Connection): Letters;
}

/** A letter and the kind that it belongs to. */
interface Found {
  readonly letter: DeadLetter;
  readonly among: Letters;
}

const ACTIONS = ["list", "show", "retry", "drop"] as const;
const LISTED = 100;
const BODY_CHARS_MAX = 2000;

const OPTIONS = {
  all: { short: "-a", help: "retry, drop: all of them" },
  queue: {
    short: "-Q",
    value: "name",
    help: "list: only from this queue; retry: into this queue instead of its own",
  },
  limit: {
    short: "-n",
    value: "count",
    help: `list: maximum number (default ${LISTED})`,
    read: whole(0),
  },
  ...JSON_OPTION,
} as const satisfies Options;

type LetterValues = ValuesOf<typeof OPTIONS>;

/** Makes the command of a kind; unknown ids are looked up among `others`. */
export function lettersCommand(kind: LetterKind, others: readonly LetterKind[]): Command {
  return command({
    arguments: [
      { name: "action", help: "list, show, retry or drop", words: ACTIONS, isRequired: true },
      { name: "ids", help: `ids of ${kind.noun}s, or of their tasks`, isRest: true },
    ],
    options: OPTIONS,
    validate([action, ...ids], options) {
      mustBeAction(action!, kind);
      mustName(action!, ids, options, kind);
    },
    run: (context, options) => runLetters(context, options, { kind, others }),
  });
}

async function runLetters(
  context: CommandContext,
  options: LetterValues,
  { kind, others }: { readonly kind: LetterKind; readonly others: readonly LetterKind[] },
): Promise<number> {
  const [action, ...ids] = context.args;
  await using app = await context.loadApp();
  await using connection = await app.connectBroker({ forWriting: true, retry: false });
  const letters = kind.open(context, connection);
  const { out } = context.world.terminal;
  if (action === "list") return await list(letters, options, kind, out);
  const places = [letters, ...others.map((other) => other.open(context, connection))];
  // Oldest first, so that retried messages keep their order.
  const chosen = (options.all ? await allOf(letters) : await named(places, ids, kind)).reverse();
  if (action === "show") {
    const found = chosen.reverse().map(({ letter }) => letter);
    if (options.json) {
      out(jsonLine(found.map((letter) => ({ ...describe(letter), message: letter.envelope }))));
    } else out(found.map(inFull).join("\n"));
    return EXIT.OK;
  }
  // A missing queue is declared as the App configures it: otherwise workers could not declare it later.
  const ready = async (name: string): Promise<string> => {
    const queue = app.amqp.queues.peek(name);
    if (queue !== undefined && await connection.queueLength(name) === null) await connection.declare(queue);
    return name;
  };
  return action === "retry"
    ? await retry(chosen, options, { kind, terminal: context.world.terminal, ready })
    : await drop(chosen, options, kind, out);
}

/** Prints a text. */
type Out = (text: string) => void;

async function list(
  letters: Letters,
  options: LetterValues,
  { noun }: LetterKind,
  out: Out,
): Promise<number> {
  const total = await letters.count();
  const all = await letters.list(options.queue === undefined ? options.limit ?? LISTED : DEAD_LETTERS_MAX);
  const shown = all.filter(({ queue }) => options.queue === undefined || queue === options.queue)
    .slice(0, options.limit ?? LISTED);
  if (options.json) {
    out(jsonLine(shown.map(describe)));
    return EXIT.OK;
  }
  if (total === 0) {
    out(`No ${noun}s.\n`);
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
  out(columns([head, ...rows]));
  if (options.queue === undefined && total > shown.length) {
    out(`${total - shown.length} more: --limit shows them\n`);
  }
  return EXIT.OK;
}

async function retry(
  chosen: readonly Found[],
  options: LetterValues,
  { kind: { noun, retried }, terminal: { out, err }, ready }: {
    readonly kind: LetterKind;
    readonly terminal: Terminal;
    /** Declares a queue if it is missing, and returns its name. */
    ready(queueName: string): Promise<string>;
  },
): Promise<number> {
  const done: { id: string; task_id: string | null }[] = [];
  for (const { letter, among } of chosen) {
    let sent: Awaited<ReturnType<Letters["retry"]>>;
    try {
      sent = await among.retry(letter, await ready(options.queue ?? mustHaveQueue(letter, noun)));
    } catch (error) {
      if (!(error instanceof UsageError) || chosen.length === 1) throw error;
      // A failure does not prevent the others from being sent.
      err(`Error: ${shownLine(error.message)}\n`);
      continue;
    }
    if (sent === false) continue;
    const { id, task, task_id } = describe(letter);
    done.push({ id, task_id: sent.taskId ?? task_id });
    if (sent.taskId !== null && !options.json) out(`${shownLine(`${task}[${sent.taskId}]`)}\n`);
  }
  if (options.json) out(jsonLine({ count: done.length, ids: done.map(({ id }) => id), sent: done }));
  else out(`${retried} ${countOf(done.length, noun)}.\n`);
  return done.length === chosen.length ? EXIT.OK : EXIT.FAILURE;
}

async function drop(
  chosen: readonly Found[],
  options: LetterValues,
  { noun }: LetterKind,
  out: Out,
): Promise<number> {
  const ids: string[] = [];
  for (const { letter, among } of chosen) if (await among.drop(letter)) ids.push(letter.id);
  if (options.json) out(jsonLine({ count: ids.length, ids }));
  else out(`Dropped ${countOf(ids.length, noun)}.\n`);
  return ids.length === chosen.length ? EXIT.OK : EXIT.FAILURE;
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function mustBeAction(action: string, { noun }: LetterKind): void {
  if ((ACTIONS as readonly string[]).includes(action)) return;
  const near = nearest(action, ACTIONS);
  throw new UsageError(
    `Cannot ${action} ${noun}s: ${near ? `did you mean "${near}"?` : "use list, show, retry or drop"}`,
  );
}

function mustName(
  action: string,
  ids: readonly string[],
  options: LetterValues,
  { name }: LetterKind,
): void {
  if (action === "list") {
    if (ids.length > 0) throw new UsageError(`Cannot list by id: use ${name} show`);
    return;
  }
  const mayBeAll = action !== "show";
  if (options.all && !mayBeAll) throw new UsageError(`Cannot show all: use ${name} list --json`);
  if (options.all && ids.length > 0) throw new UsageError("Cannot use ids and --all together");
  if (!options.all && ids.length === 0) {
    throw new UsageError(
      `Cannot ${action}: give ids${mayBeAll ? ", or --all" : ""} (${name} list shows them)`,
    );
  }
}

function mustHaveQueue(letter: DeadLetter, noun: string): string {
  if (letter.queue !== null) return letter.queue;
  throw new UsageError(
    `Cannot send ${noun} ${letter.id} again: its queue is not known; name one with --queue`,
  );
}

async function allOf(letters: Letters): Promise<Found[]> {
  return (await letters.list(DEAD_LETTERS_MAX)).map((letter) => ({ letter, among: letters }));
}

/**
 * Finds letters by ids, newest first. Rejects with OperatingError for an unknown id, before anything is done.
 */
async function named(places: readonly Letters[], ids: readonly string[], kind: LetterKind): Promise<Found[]> {
  const found: Found[] = [];
  let wanted = [...new Set(ids)];
  for (const letters of places) {
    if (wanted.length === 0) break;
    const all = await allOf(letters);
    const chosen = new Set<Found>();
    wanted = wanted.filter((id) => {
      const own = all.filter(({ letter }) => letter.id === id);
      const those = own.length > 0 ? own : all.filter(({ letter }) => describe(letter).task_id === id);
      for (const one of those) chosen.add(one);
      return those.length === 0;
    });
    found.push(...all.filter((one) => chosen.has(one)));
  }
  if (wanted.length > 0) {
    throw new OperatingError(`No ${kind.noun} "${wanted[0]}": ${kind.name} list shows them`);
  }
  return found;
}

/** Returns a letter in the form of `--json`. */
function describe(letter: DeadLetter) {
  const headers = messageOf(letter)?.headers ?? {};
  return {
    id: letter.id,
    at: new Date(letter.atMs).toISOString(),
    queue: letter.queue,
    task: textOrNull(headers["task"]),
    task_id: textOrNull(headers["id"]),
    reason: letter.reason,
  };
}

function inFull(letter: DeadLetter): string {
  const { id, at, queue, reason } = describe(letter);
  const head = `Id:      ${id}\nSince:   ${at}\nQueue:   ${shownLine(queue ?? "not known")}\n` +
    `Reason:  ${shownLine(reason)}\n`;
  const message = messageOf(letter);
  if (message === null) return `${head}Message: ${cut(letter.envelope)}\n`;
  const type = shownLine(`${message.contentType}; ${message.contentEncoding}`);
  return `${head}Headers: ${shownJson(message.headers)}\nType:    ${type}\nBody:    ${
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
  const part = text.length > BODY_CHARS_MAX
    ? `${text.slice(0, BODY_CHARS_MAX)}… (${text.length} characters)`
    : text;
  // Further lines are indented, so that none looks like a field.
  return part.replaceAll("\n", `\n${" ".repeat(9)}`);
}
