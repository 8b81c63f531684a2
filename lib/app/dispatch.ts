/**
 * What a finished task sends: its callbacks, the next step of its chain, its errbacks.
 *
 * Source: celery 5.2.6 app/trace.py trace_task, backends/base.py _call_task_errbacks; protocol.md 8.2, 8.7.
 */

import { Group, Signature, toSignature } from "../canvas/mod.ts";
import type { ResultTuple, TaskEmbed, WireSignature } from "../wire/mod.ts";
import type { App } from "./app.ts";
import { bindArguments } from "./calling.ts";
import { applySignature, canvasSender } from "./canvas_send.ts";
import type { TaskRequest } from "./request.ts";
import type { AnyTask } from "./task.ts";

/** Who sends: ids of the task that is done. */
export interface Done {
  readonly id: string;
  readonly rootId: string;
  /** With `task_inherit_parent_priority` the priority of its message, else null. */
  readonly priority: number | null;
}

/** Sends callbacks and the next step of the chain with the result; they are its children. */
export async function sendNext(app: App, done: Done, embed: TaskEmbed, result: unknown): Promise<void> {
  const options = { parentId: done.id, rootId: done.rootId, priority: done.priority };
  const sender = canvasSender(app);
  const callbacks = embed.callbacks ?? [];
  if (callbacks.length === 1) {
    await applySignature(app, toSignature(callbacks[0]!, sender), [result], {}, options);
  } else if (callbacks.length > 1) {
    const all = callbacks.map((one) => toSignature(one, sender));
    const single: Signature[] = [];
    for (const one of all) {
      if (one instanceof Group) await applySignature(app, one, [result], {}, options);
      else single.push(one);
    }
    if (single.length > 0) await applySignature(app, new Group(single, null, sender), [result], {}, options);
  }
  const { chain } = embed;
  if (chain !== null) {
    const next = toSignature(chain.next, sender);
    // What comes later stays as it came: a chain of 1,000 steps is not to be made anew at each.
    const { later } = chain;
    await applySignature(app, next, [result], {}, {
      ...options,
      ...(later === null ? {} : { chain: later }),
    });
  }
}

/** What a failed task's errbacks may be told. */
export interface Failure {
  request(): TaskRequest;
  readonly error: unknown;
  /** Null where the worker itself decided it. */
  readonly traceback: string | null;
}

/**
 * Runs a failed task's errbacks. One whose task is registered here and takes more than one argument is called at once,
 * in this isolate, with the request, the error and the traceback; the others are sent as one group, each with the id of
 * the failed task. An errback that throws keeps none of the others; its error is thrown when all have had their turn.
 * Resolves with the group that was sent, or null.
 */
export async function sendErrbacks(
  app: App,
  done: Done,
  errbacks: readonly WireSignature[],
  failure: Failure,
): Promise<ResultTuple | null> {
  const sender = canvasSender(app);
  const sent: Signature[] = [];
  const thrown: unknown[] = [];
  for (const one of errbacks) {
    const errback = toSignature(one, sender);
    const task = errback.subtaskType === null ? app.tasks.get(errback.task) : undefined;
    if (task === undefined || !takesFailure(task)) {
      sent.push(errback);
      continue;
    }
    try {
      const given = [failure.request(), failure.error, failure.traceback];
      const { args, kwargs } = errback.merge(given, {}, null);
      await task.fn(...bindArguments(task.parameters, args, kwargs, task.label) as never[]);
    } catch (error) {
      thrown.push(error);
    }
  }
  let result: ResultTuple | null = null;
  if (sent.length > 0) {
    const group = new Group(sent, null, sender);
    const options = { parentId: done.id, rootId: done.rootId };
    const applied = await applySignature(app, group, [done.id], {}, options);
    result = (applied as unknown as { asTuple(): ResultTuple }).asTuple();
  }
  if (thrown.length > 0) throw thrown[0];
  return result;
}

/** Errbacks of Celery 4 on: those that take more than the id. */
function takesFailure(task: AnyTask): boolean {
  if (task.isBuiltin || task.given.bind) return false;
  const { names, hasRest, takesObject } = task.parameters;
  return hasRest || names.length - (takesObject ? 1 : 0) > 1;
}
