/**
 * Celery's own tasks, which every app has: canvas messages of other programs use them.
 *
 * Source: celery 5.2.6 app/builtins.py; protocol.md 4.10, 4.11, 8.5.
 */

import { chord, chunks, Group, Signature, type SignatureLike, toSignature } from "../canvas/mod.ts";
import { ImproperlyConfigured, type ResultTuple, revived, type WireSignature } from "../wire/mod.ts";
import type { AppCore } from "./core.ts";
import { canvasSender } from "./send/canvas_send.ts";
import type { Context } from "./run/context.ts";
import { currentTask } from "./call/current_task.ts";
import { isSandboxed, LOOPS } from "./run/loops.ts";
import { loadRunning } from "./run/running.ts";
import { type AnyTask, createTask, type TaskOptions } from "./task.ts";
import type { TaskRegistry } from "./task_registry.ts";

/**
 * Registers these tasks in an app. The App's constructor calls it; a user's task of the same name replaces
 * one.
 */
export function registerBuiltins(app: AppCore, tasks: TaskRegistry): void {
  const add = (name: string, options: TaskOptions, fn: (...args: never[]) => unknown): void => {
    tasks.register(createTask(app, name, options, fn, true));
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
    return loop(innerTask(app, tasks, task), it.map((item) => [revived(item)]));
  });
  add("celery.starmap", { params: ["task", "it"] }, (task: SignatureLike, it: unknown[][]) => {
    return loop(innerTask(app, tasks, task), it.map(revived));
  });
  add("celery.chunks", { params: ["task", "it", "n"] }, (task: SignatureLike, it: unknown[][], n: number) => {
    return chunks(toSignature(task, canvasSender(app)), it, n).applyAsync();
  });
  add("celery.chain", { bind: true }, (_self: Context, ..._: unknown[]) => {
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
  }, async (self: Context, ...args: unknown[]) => {
    const { unlockChord } = await loadRunning();
    return await unlockChord(app, self, args);
  });
}

/** Returns the task whose function `celery.map` calls for each item in this process. */
function innerTask(app: AppCore, tasks: TaskRegistry, task: SignatureLike): AnyTask {
  const inner = tasks.need(toSignature(task, canvasSender(app)).task);
  // The sandbox of a map is determined from the task that it calls; a map of maps would hide it.
  if (LOOPS.has(inner.name) && [...tasks].some(([, { options }]) => isSandboxed(options))) {
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
