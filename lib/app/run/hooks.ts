/** The hooks of tasks and the signals of a run. Source: celery 5.2.6 app/trace.py; signals.py. */

import type { Log } from "../../base/mod.ts";
import type { Outcome } from "../call/outcome.ts";
import { signals } from "../call/signals.ts";
import type { ErrorInfo, ResolvedTaskOptions, TaskHooks } from "../conf/task_options.ts";
import type { Context } from "./context.ts";
import type { Run } from "./run.ts";
import { errorFacts } from "./trace_outcome.ts";

/** Returns a task's hooks, typed for its context. */
export function hooksOf(run: Run): TaskHooks<Context> {
  return run.options;
}

/** Returns true if a task has any hook. */
export function hasHooks(options: ResolvedTaskOptions): boolean {
  return Boolean(
    options.beforeStart ?? options.onSuccess ?? options.onFailure ?? options.onRetry ??
      options.afterReturn ?? options.onReplace,
  );
}

/** Returns true if a signal of runs has receivers. */
export function hasSignalReceivers(): boolean {
  return signals.taskPrerun.hasReceivers || signals.taskPostrun.hasReceivers ||
    signals.taskSuccess.hasReceivers || signals.taskFailure.hasReceivers || signals.taskRetry.hasReceivers;
}

/** Calls the hooks and signals for the end of a run. Never rejects. */
export async function hooksAfter(run: Run, self: Context, outcome: Outcome, log: Log): Promise<void> {
  const { task, id, body: { args, kwargs } } = run;
  const hooks = hooksOf(run);
  const info: ErrorInfo = { exception: run.error, traceback: outcome.traceback ?? "" };
  const { traceback } = outcome;
  try {
    if (outcome.kind === "success") {
      await hooks.onSuccess?.(self, run.value, id, args, kwargs);
      signals.taskSuccess.send(task, { result: run.value }, log);
      await hooks.afterReturn?.(self, "SUCCESS", run.value, id, args, kwargs, null);
    } else if (outcome.kind === "failure") {
      await hooks.onFailure?.(self, run.error, id, args, kwargs, info);
      sendTaskFailure(run, traceback, log);
      await hooks.afterReturn?.(self, "FAILURE", run.error, id, args, kwargs, info);
    } else if (outcome.kind === "retry") {
      await hooks.onRetry?.(self, run.error, id, args, kwargs, info);
      signals.taskRetry.send(task, { request: run.request, reason: run.error, einfo: traceback }, log);
      await hooks.afterReturn?.(self, "RETRY", run.error, id, args, kwargs, info);
    } else if (outcome.kind === "reject" && !outcome.requeue && !run.init.isEager) {
      sendTaskFailure(run, traceback, log);
    }
  } catch (error) {
    // The task itself has ended: an error of its hook is reported and changes nothing.
    const { repr, traceback } = errorFacts(error, run.name);
    run.log("ERROR", `A hook of task ${run.name}[${id}] raised: ${repr}`);
    const failed = { taskId: id, task, args, kwargs, request: run.request, exception: error };
    signals.taskInternalError.send(task, { ...failed, traceback, einfo: traceback }, log);
  }
}

/** Sends `taskFailure` for a run that has failed with `run.error`. */
export function sendTaskFailure(run: Run, traceback: string | null, log: Log): void {
  const { task, id, body: { args, kwargs }, error: exception } = run;
  const fields = { taskId: id, task, args, kwargs, exception, traceback, einfo: traceback };
  signals.taskFailure.send(task, fields, log);
}
