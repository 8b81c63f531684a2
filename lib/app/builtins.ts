/**
 * Celery's own tasks, which every app has: other programs' canvas runs through them.
 *
 * Source: celery 5.2.6 app/builtins.py; protocol.md 4.10, 4.11, 8.5.
 */

import { chord, chunks, Group, Signature, type SignatureLike, toSignature } from "../canvas/mod.ts";
import {
  ChordError,
  exceptionRepr,
  ImproperlyConfigured,
  PROPAGATE_STATES,
  READY_STATES,
  type ResultMeta,
  type ResultTuple,
  toWireException,
  type WireException,
  type WireSignature,
} from "../wire/mod.ts";
import type { App } from "./app.ts";
import { canvasSender } from "./canvas_send.ts";
import { failChord, sendChordBody } from "./chord_completion.ts";
import type { Context } from "./context.ts";
import { currentTask } from "./current_task.ts";
import { isSandboxed, LOOPS } from "./loops.ts";
import { type AnyTask, createTask, type TaskOptions } from "./task.ts";

/** Seconds that `celery.chord_unlock` waits for a header at most, where results never expire. */
const HEADER_WAIT_MAX = 86_400;

/** Registers them in an app. Called by its constructor; a user's task of the same name takes the place of one. */
export function registerBuiltins(app: App): void {
  const add = (name: string, options: TaskOptions, fn: (...args: never[]) => unknown): void => {
    app.tasks.register(createTask(app, name, options, fn, true));
  };
  add("celery.backend_cleanup", {}, async () => {
    await app.backend.cleanup();
    return null;
  });
  add("celery.accumulate", { bind: true }, (self: Context, ...args: unknown[]) => {
    const index = self.request.kwargs["index"];
    return typeof index === "number" ? args.at(index) ?? null : args;
  });
  add("celery.map", { params: ["task", "it"] }, (task: SignatureLike, it: unknown[]) => {
    return loop(innerTask(app, task), it.map((item) => [item]));
  });
  add("celery.starmap", { params: ["task", "it"] }, (task: SignatureLike, it: unknown[][]) => {
    return loop(innerTask(app, task), it);
  });
  add("celery.chunks", { params: ["task", "it", "n"] }, (task: SignatureLike, it: unknown[][], n: number) => {
    return chunks(toSignature(task, canvasSender(app)), it, n).applyAsync();
  });
  add("celery.chain", {}, (..._: unknown[]) => {
    const error = new Error("chain is not a real task");
    error.name = "NotImplementedError";
    throw error;
  });
  add("celery.group", {
    params: ["tasks", "result", "group_id", "partial_args", "add_to_parent"],
  }, async (
    tasks: WireSignature[],
    result: ResultTuple,
    groupId: string,
    partial: unknown[],
    addToParent: boolean = true,
  ) => {
    for (const task of tasks) {
      const one = toSignature(task, canvasSender(app)).clone(partial);
      await one.applyAsync([], {}, { groupId, addToParent: false });
    }
    if (addToParent) currentTask()?.addChild(result);
    return result;
  });
  add("celery.chord", {
    params: ["header", "body", "partial_args", "interval", "countdown", "max_retries", "eager"],
    ignoreResult: false,
  }, (header: WireSignature[] | WireSignature, body: WireSignature, partial: unknown[] = []) => {
    const tasks = Array.isArray(header)
      ? header.map((one) => toSignature(one, canvasSender(app)))
      : toSignature(header, canvasSender(app));
    const all = tasks instanceof Group ? tasks.tasks : tasks instanceof Signature ? [tasks] : tasks;
    return chord(all, toSignature(body, canvasSender(app))).applyAsync(partial);
  });
  add("celery.chord_unlock", {
    bind: true,
    maxRetries: null,
    ignoreResult: true,
    params: ["group_id", "callback", "interval", "max_retries", "result"],
  }, (self: Context, ...args: unknown[]) => unlockChord(app, self, args));
}

/** The task whose function `celery.map` calls for each item, here and now. */
function innerTask(app: App, task: SignatureLike): AnyTask {
  const inner = app.tasks.need(toSignature(task, canvasSender(app)).task);
  // Which sandbox a map belongs in is seen from what it calls; a map of maps would hide it.
  if (LOOPS.has(inner.name) && [...app.tasks].some(([, { options }]) => isSandboxed(options))) {
    throw new ImproperlyConfigured(`${inner.name} is not called by a map where tasks are sandboxed`);
  }
  return inner;
}

async function loop(task: AnyTask, all: readonly unknown[][]): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const args of all) {
    task.checkArguments(args, {});
    results.push(await task(...args));
  }
  return results;
}

/**
 * Sends a chord's body once all of its header has ended; else asks to be run again. A header that does not end fails
 * the body when `max_retries` are used up, at the latest when results that came would have expired: Celery leaves
 * whoever waits for it without an end.
 */
async function unlockChord(app: App, self: Context, args: unknown[]): Promise<null> {
  const [groupId, callback, interval, maxRetries, result] = args as [
    string,
    WireSignature,
    number | null | undefined,
    number | null | undefined,
    ResultTuple[] | null | undefined,
  ];
  const tuples = result ?? [];
  const backend = await app.openBackend();
  const ids = tuples.flatMap(leafIds);
  const metas = await backend.fetchMany(ids);
  if (metas.some((meta) => meta === null || !READY_STATES.has(meta.state))) {
    const pause = interval ?? app.conf.result_chord_retry_interval;
    const most = maxRetries ??
      Math.ceil((app.conf.result_expires || HEADER_WAIT_MAX) / Math.max(pause, 0.001));
    if (self.request.retries < most) throw self.retry({ countdown: pause, maxRetries: most });
    const missing = ids.find((_, at) => !READY_STATES.has(metas[at]?.state ?? ""));
    const reason = `Dependency ${missing} has not ended after ${most} looks`;
    await failChord(app, backend, groupId, callback, new ChordError(reason));
    return null;
  }
  const byId = new Map(ids.map((id, at) => [id, metas[at] as ResultMeta]));
  const failed = ids.map((id) => byId.get(id)!).find((meta) => PROPAGATE_STATES.has(meta.state));
  if (failed) {
    const repr = exceptionRepr(failed.result as WireException);
    const error = new ChordError(`Dependency ${failed.taskId} raised ${repr}`);
    await failChord(app, backend, groupId, callback, error);
    return null;
  }
  const valueOf = ([[id], inner]: ResultTuple): unknown =>
    inner === null ? byId.get(id)?.result ?? null : inner.map(valueOf);
  try {
    await sendChordBody(app, callback, tuples.map(valueOf), { parentId: null, rootId: null });
  } catch (error) {
    const reason = `Callback error: ${exceptionRepr(toWireException(error, ""))}`;
    await failChord(app, backend, groupId, callback, new ChordError(reason));
  }
  return null;
}

function leafIds([[id], inner]: ResultTuple): string[] {
  return inner === null ? [id] : inner.flatMap(leafIds);
}
