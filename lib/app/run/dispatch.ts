/**
 * The messages that a finished task sends: its callbacks, the next step of its chain, its errbacks.
 *
 * Source: celery 5.2.6 app/trace.py trace_task, backends/base.py _call_task_errbacks; protocol.md 8.2, 8.7.
 */

import { Group, Signature, toSignature } from "../../canvas/mod.ts";
import { type ResultTuple, revived, type TaskEmbed, type WireSignature } from "../../wire/mod.ts";
import type { AppCore, RunnableTask } from "../core.ts";
import { bindArguments } from "../call/calling.ts";
import { applySignature, canvasSender } from "../send/canvas_send.ts";
import type { TaskRequest } from "../call/request.ts";

/** The finished task that sends: ids and priority. */
export interface Done {
  readonly id: string;
  readonly rootId: string;
  /** With `task_inherit_parent_priority` the priority of its message, else null. */
  readonly priority: number | null;
}

/**
 * Sends callbacks and the next step of the chain with the result; they become the task's children. Rejects as
 * `applySignature` does.
 */
export async function sendNext(app: AppCore, done: Done, embed: TaskEmbed, result: unknown): Promise<void> {
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
    // The later steps are passed on as they arrived: a chain of 1,000 steps must not be rebuilt at each step.
    const { later } = chain;
    await applySignature(app, next, [result], {}, {
      ...options,
      ...(later === null ? {} : { chain: later }),
    });
  }
}

/** Facts about a failed task for its errbacks. */
export interface Failure {
  request(): TaskRequest;
  readonly error: unknown;
  /** Null if the worker itself ended the task. */
  readonly traceback: string | null;
}

/**
 * Runs a failed task's errbacks: calls those that are functions, then sends the others. All are run even if
 * one throws; then the first error is thrown. Resolves with the group that was sent, or null.
 */
export async function runErrbacks(
  app: AppCore,
  done: Done,
  errbacks: readonly WireSignature[],
  failure: Failure,
): Promise<ResultTuple | null> {
  const thrown = await callErrbacks(app, errbacks, failure).then(() => null, (error: unknown) => ({ error }));
  const result = await sendErrbacks(app, done, errbacks);
  if (thrown !== null) throw thrown.error;
  return result;
}

/**
 * Calls errbacks that are functions of this app: a registered task that takes more than one argument is
 * called with the request, the error and the traceback. Since this is user code, only an isolate that runs
 * user code may call it. Rejects with the first error after all have been called.
 */
export async function callErrbacks(
  app: AppCore,
  errbacks: readonly WireSignature[],
  failure: Failure,
): Promise<void> {
  const thrown: unknown[] = [];
  for (const one of errbacks) {
    const task = calledTask(app, one);
    if (task === undefined) continue;
    try {
      const errback = toSignature(one, canvasSender(app));
      errback.args = revived(errback.args);
      errback.kwargs = revived(errback.kwargs);
      const given = [failure.request(), failure.error, failure.traceback];
      const { args, kwargs } = errback.merge(given, {}, null);
      await task.fn(...bindArguments(task.parameters, args, kwargs, task.label) as never[]);
    } catch (error) {
      thrown.push(error);
    }
  }
  if (thrown.length > 0) throw thrown[0];
}

/**
 * Sends the other errbacks as one group, each with the failed task's id as argument. Resolves with the group,
 * or null. Rejects as `applySignature` does.
 */
export async function sendErrbacks(
  app: AppCore,
  done: Done,
  errbacks: readonly WireSignature[],
): Promise<ResultTuple | null> {
  const sender = canvasSender(app);
  const sent = errbacks.filter((one) => calledTask(app, one) === undefined);
  if (sent.length === 0) return null;
  const group = new Group(sent.map((one) => toSignature(one, sender)), null, sender);
  const options = { parentId: done.id, rootId: done.rootId };
  return (await applySignature(app, group, [done.id], {}, options)).asTuple();
}

/** Returns true if any of these errbacks is called instead of sent. */
export function hasCalledErrbacks(app: AppCore, errbacks: readonly WireSignature[] | null): boolean {
  return errbacks !== null && errbacks.some((one) => calledTask(app, one) !== undefined);
}

/** Returns the task of an errback that is called directly; undefined if the errback is sent. */
function calledTask(app: AppCore, errback: WireSignature): RunnableTask | undefined {
  if (errback.subtask_type) return undefined;
  const task = app.tasks.get(errback.task);
  return task !== undefined && takesFailure(task) ? task : undefined;
}

/** Returns true for an errback of Celery 4 or later, which takes more than the id. */
function takesFailure(task: RunnableTask): boolean {
  if (task.isBuiltin || task.given.bind) return false;
  const { names, hasRest, takesObject } = task.parameters;
  return hasRest || names.length - (takesObject ? 1 : 0) > 1;
}
