/** Actions on workers and tasks by remote control. */

import { errorText, isRecord, OperatingError, UsageError } from "../../base/mod.ts";
import { READY_STATES, shownJson } from "../../wire/mod.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import { KeptLetters, retryTask } from "./letters.ts";
import { storedResult } from "./tasks.ts";

/** Tasks that one action may reach. */
export const BULK_MAX = 10_000;

type Done = Shape<"Done">;

/** Sends a command and collects the replies. Rejects with OperatingError if no worker answers. */
export async function command(
  cluster: Cluster,
  { name, args, workers, message }: {
    name: string;
    args: Record<string, unknown>;
    workers?: readonly string[] | undefined;
    message: string;
  },
): Promise<Done> {
  const replies = Object.entries(await cluster.ask(name, args, workers)).map(([worker, reply]) => ({
    worker,
    ...answerOf(reply),
  }));
  if (replies.length === 0) {
    const isAll = workers === undefined || workers.length === 0;
    const seconds = `within ${cluster.options.inspectSeconds} s`;
    throw new OperatingError(
      isAll ? `No worker answered ${seconds}` : `Worker ${workers!.join(", ")} did not answer ${seconds}`,
    );
  }
  return { message, replies };
}

/** Revokes tasks; `terminate` also ends running ones. Does not wait for replies. */
export async function revoke(
  cluster: Cluster,
  ids: readonly string[],
  { terminate, signal }: { terminate: boolean; signal: string },
): Promise<void> {
  await cluster.control.revoke(ids, { terminate, signal: signalName(signal) });
}

/**
 * Stores ABORTED as the state of a task that has not ended. A task that checks for it (`is_aborted` of
 * Celery's AbortableTask) then ends by itself. Rejects with OperatingError if no result store keeps the
 * state, and with UsageError if the task has ended. Source: celery 5.2.6 contrib/abortable.py
 * AbortableAsyncResult.abort.
 */
export async function abort(cluster: Cluster, id: string): Promise<Done> {
  const { kind } = await cluster.app.openBackend();
  if (kind === "disabled" || kind === "rpc") {
    throw new OperatingError(`Cannot abort task ${id}: no result store keeps its state`);
  }
  const state = (await storedResult(cluster, id))?.state ?? "PENDING";
  if (READY_STATES.has(state)) throw new UsageError(`Cannot abort task ${id}: it has ended as ${state}`);
  await cluster.app.backend.storeResult(id, null, "ABORTED");
  return { message: `Task ${id} was told to abort`, replies: [] };
}

/** Shuts down a worker warmly; the worker sends no reply. */
export async function shutdown(cluster: Cluster, worker: string): Promise<Done> {
  await cluster.control.shutdown({ destination: [worker] });
  return { message: `Worker ${worker} was told to shut down`, replies: [] };
}

/** Takes an action on many tasks, and continues after failures. */
export async function forTasks(
  cluster: Cluster,
  ids: readonly string[],
  { action, signal }: { action: "revoke" | "terminate" | "retry"; signal: string },
): Promise<{ done: number; failures: { id: string; why: string }[] }> {
  if (action !== "retry") {
    for (let n = 0; n < ids.length; n += 500) {
      await revoke(cluster, ids.slice(n, n + 500), { terminate: action === "terminate", signal });
    }
    return { done: ids.length, failures: [] };
  }
  const failures: { id: string; why: string }[] = [];
  const kept = new KeptLetters(cluster);
  let done = 0;
  for (const id of ids) {
    try {
      await retryTask(cluster, id, { stored: await storedResult(cluster, id), kept });
      done++;
    } catch (error) {
      failures.push({ id, why: errorText(error).replace(`Cannot retry task ${id}: `, "") });
    }
  }
  return { done, failures };
}

/** Returns a signal's name with SIG, as workers expect it. Throws UsageError. */
function signalName(text: string): string {
  const name = text.toUpperCase();
  if (/^(SIG)?[A-Z]+[0-9]*$/.test(name)) return name.startsWith("SIG") ? name : `SIG${name}`;
  throw new UsageError(`Cannot send signal "${text}": not a signal's name`);
}

/** Reads a worker's reply: `ok`, `error`, or a bare value. */
function answerOf(reply: unknown): { isOk: boolean; text: string } {
  if (isRecord(reply) && "error" in reply) return { isOk: false, text: textOf(reply["error"]) };
  if (isRecord(reply) && "ok" in reply) return { isOk: true, text: textOf(reply["ok"]) };
  return { isOk: true, text: textOf(reply) };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : shownJson(value, { charsMax: 2000 });
}
