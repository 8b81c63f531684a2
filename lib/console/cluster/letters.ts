/**
 * Lists, resends and drops dead letters and kept failed tasks, and resends a task with its exact arguments.
 * Those come from the first of:
 *
 *   1. Its message, kept by the Lovage worker on which it failed (`failed_keep`): resent as it came, with a new id.
 *   2. Its message among the dead letters: put back unchanged.
 *   3. Its arguments stored with its result (`result_extended`, Python's workers): sent in a new message.
 */

import { errorText, UsageError } from "../../base/mod.ts";
import { type Connection, DEAD_LETTERS_MAX, type DeadLetter } from "../../transport/mod.ts";
import { fromExactJson, resendEnvelope, type ResultMeta, toJson } from "../../wire/mod.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import { type ReadMessage, readMessage, shownArguments, shownHeaders } from "./messages.ts";

/** The kinds of letters. */
export type LetterKind = "dead" | "failed";

/** A task's original message or arguments. */
export interface Original {
  readonly source: Shape<"Exact">["source"];
  readonly kind: LetterKind | null;
  readonly letter: DeadLetter | null;
  readonly read: ReadMessage | null;
  /** JSON texts. */
  readonly args: string;
  readonly kwargs: string;
  readonly headers: string;
  readonly name: string | null;
  readonly queue: string | null;
}

const NO_ARGUMENTS = "Its message was longer than failed_keep allows, so its arguments were not kept";
const NOT_KEPT =
  "Its arguments are known only as text: Lovage's workers keep the messages of failed tasks (failed_keep), Python's " +
  "keep arguments with result_extended = True";

/** Returns letters of one kind, newest first. Rejects if the broker is away. */
export async function listLetters(
  cluster: Cluster,
  kind: LetterKind,
  limit: number,
): Promise<Shape<"LetterList">> {
  const connection = await cluster.connection();
  const place = placeOf(connection, kind);
  if (place === undefined) {
    return { rows: [], total: 0, why: `The ${connection.transport} broker keeps none of them.` };
  }
  const [rows, total] = await Promise.all([place.list(limit), place.count()]);
  return { rows: rows.map((letter) => letterRow(kind, letter)), total, why: null };
}

/**
 * Resends letters or drops them, oldest first, so that they keep their order. Rejects if the broker is away.
 */
export async function forLetters(
  cluster: Cluster,
  { kind, ids, how }: { kind: LetterKind; ids: readonly string[]; how: "retry" | "drop" },
): Promise<Shape<"BulkDone">> {
  const connection = await cluster.connection();
  const wanted = new Set(ids);
  const found = (await placeOf(connection, kind)?.list(DEAD_LETTERS_MAX) ?? []).filter(({ id }) =>
    wanted.has(id)
  );
  const failures: { id: string; why: string }[] = [];
  let done = 0;
  for (const letter of found.reverse()) {
    wanted.delete(letter.id);
    try {
      const isDone = how === "drop"
        ? await placeOf(connection, kind)!.drop(letter)
        : await sendLetter(cluster, connection, { kind, letter }) !== false;
      if (isDone) done++;
      else failures.push({ id: letter.id, why: "It is not there any more" });
    } catch (error) {
      failures.push({ id: letter.id, why: errorText(error) });
    }
  }
  for (const id of wanted) failures.push({ id, why: "It is not there any more" });
  return { count: ids.length, isCountExact: true, done, failures: failures.slice(0, 50) };
}

/**
 * The letters that the broker keeps. Each kind is listed once, at first use, however many tasks are looked
 * up.
 */
export class KeptLetters {
  readonly #cluster: Cluster;
  readonly #lists = new Map<LetterKind, Promise<readonly DeadLetter[]>>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Returns the letters of a kind, newest first. Rejects if the broker is away. */
  of(kind: LetterKind): Promise<readonly DeadLetter[]> {
    let listing = this.#lists.get(kind);
    if (listing === undefined) {
      this.#lists.set(kind, listing = this.#list(kind));
      listing.catch(() => this.#lists.delete(kind));
    }
    return listing;
  }

  async #list(kind: LetterKind): Promise<readonly DeadLetter[]> {
    return await placeOf(await this.#cluster.connection(), kind)?.list(DEAD_LETTERS_MAX) ?? [];
  }
}

/**
 * Looks for a task's message among the letters, or its arguments in its stored result; else returns why
 * neither is known. Rejects if the broker is away.
 */
export async function findOriginal(
  kept: KeptLetters,
  taskId: string,
  stored: ResultMeta | null,
): Promise<Original | { readonly whyNot: string }> {
  for (const kind of ["failed", "dead"] as const) {
    for (const letter of await kept.of(kind)) {
      if (!letter.envelope.includes(taskId)) continue;
      const read = readMessage(letter.envelope);
      if (read === null || read.id !== taskId) continue;
      if (read.isEmpty) return { whyNot: NO_ARGUMENTS };
      return originalOf(kind, letter, read);
    }
  }
  if (stored !== null && stored.name !== null && stored.args !== null && stored.kwargs !== null) {
    // Python's workers store values that the serializer cannot carry as text, which is not exact.
    if (typeof stored.args !== "string" && typeof stored.kwargs !== "string") {
      return {
        source: "result",
        kind: null,
        letter: null,
        read: null,
        args: toJson(stored.args),
        kwargs: toJson(stored.kwargs),
        headers: "{}",
        name: stored.name,
        queue: stored.queue,
      };
    }
  }
  return { whyNot: NOT_KEPT };
}

/**
 * Resends a task with its exact arguments and returns its new id. Rejects with UsageError if the arguments
 * are not known.
 */
export async function retryTask(
  cluster: Cluster,
  taskId: string,
  { stored, kept = new KeptLetters(cluster) }: {
    readonly stored: ResultMeta | null;
    readonly kept?: KeptLetters;
  },
): Promise<string> {
  const original = await findOriginal(kept, taskId, stored);
  if ("whyNot" in original) throw new UsageError(`Cannot retry task ${taskId}: ${original.whyNot}`);
  const { kind, letter, args, kwargs, name, queue } = original;
  if (kind !== null && letter !== null) {
    const sent = await sendLetter(cluster, await cluster.connection(), { kind, letter });
    if (sent === false) {
      throw new UsageError(`Cannot retry task ${taskId}: somebody else has retried or dropped it`);
    }
    return sent;
  }
  const result = await cluster.app.sendTask(name!, {
    args: fromExactJson(args) as unknown[],
    kwargs: fromExactJson(kwargs) as Record<string, unknown>,
    ...(queue === null ? {} : { queue }),
  });
  return result.id;
}

/**
 * Resends a letter. Resolves to the id of its task, or false if the letter is gone. Rejects with UsageError.
 */
async function sendLetter(
  cluster: Cluster,
  connection: Connection,
  { kind, letter }: { kind: LetterKind; letter: DeadLetter },
): Promise<string | false> {
  const { queue } = letter;
  if (queue === null) throw new UsageError(`Cannot send ${letter.id} again: its queue is not known`);
  await ensureQueue(cluster, connection, queue);
  const read = readMessage(letter.envelope);
  if (kind === "dead") return await connection.deadLetters!.retry(letter, queue) && (read?.id ?? letter.id);
  if (read === null || read.isEmpty) throw new UsageError(`Cannot send ${letter.id} again: ${NO_ARGUMENTS}`);
  const { envelope, id } = resendEnvelope(letter.envelope, () => cluster.world.random.id());
  return await connection.failedTasks!.retry(letter, queue, envelope) && (id ?? read.id ?? letter.id);
}

/** Declares a missing queue as the App configures it: otherwise workers could not declare it later. */
async function ensureQueue({ app }: Cluster, connection: Connection, name: string): Promise<void> {
  const queue = app.amqp.queues.peek(name);
  if (queue !== undefined && await connection.queueLength(name) === null) await connection.declare(queue);
}

function placeOf(connection: Connection, kind: LetterKind) {
  return kind === "dead" ? connection.deadLetters : connection.failedTasks;
}

function originalOf(kind: LetterKind, letter: DeadLetter, read: ReadMessage): Original {
  return {
    source: kind,
    kind,
    letter,
    read,
    args: read.args ?? "null",
    kwargs: read.kwargs ?? "null",
    headers: shownHeaders(read),
    name: read.name,
    queue: letter.queue,
  };
}

function letterRow(kind: LetterKind, letter: DeadLetter): Shape<"Letter"> {
  const read = readMessage(letter.envelope);
  const whyNot = letter.queue === null
    ? "Its queue is not known"
    : kind === "failed" && (read === null || read.isEmpty)
    ? NO_ARGUMENTS
    : null;
  return {
    id: letter.id,
    kind,
    taskId: read?.id ?? null,
    name: read?.name ?? null,
    queue: letter.queue,
    reason: letter.reason,
    at: letter.atMs / 1000,
    ...shownArguments(read),
    bytes: new TextEncoder().encode(letter.envelope).length,
    canRetry: whyNot === null,
    whyNot,
  };
}
