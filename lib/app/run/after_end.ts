/**
 * The user's code that a slot calls for a task that its worker has ended: because of the hard time limit,
 * with its process, or before it began. The worker itself, which renews leases and sends heartbeats, does not
 * call user code.
 *
 * Source: celery main (5.7) worker/request.py Request.on_timeout, on_failure, where the parent process calls
 * them.
 */

import { type EncodedMessage, fromWireException } from "../../wire/mod.ts";
import { runAsTask } from "../call/current_task.ts";
import { bareOutcome, type EndedTask } from "../call/outcome.ts";
import type { AppCore } from "../core.ts";
import { Context } from "./context.ts";
import { callErrbacks } from "./dispatch.ts";
import { hooksAfter, sendTaskFailure } from "./hooks.ts";
import type { Run } from "./run.ts";
import { errorFacts } from "./trace_outcome.ts";
import { decodeForParent, requestOf } from "./trace_parent.ts";

/**
 * Calls those errbacks of an ended task that are functions, then its hooks and `taskFailure`. `run`: its
 * decoded message; null if its task is not registered here. Never rejects: errors are logged.
 */
export async function callAfterEnd(
  app: AppCore,
  message: EncodedMessage,
  ended: EndedTask,
  run: Run | null,
): Promise<void> {
  const error = fromWireException(ended.exception);
  const { headers, body } = decodeForParent(app, message);
  if (headers !== null && body?.embed.errbacks) {
    const { errbacks } = body.embed;
    const failure = { request: () => requestOf(headers, body), error, traceback: ended.traceback };
    const call = (): Promise<void> => callErrbacks(app, errbacks, failure);
    try {
      await (run === null ? call() : runAsTask(run, call, null));
    } catch (thrown) {
      const { repr } = errorFacts(thrown, headers.task);
      app.world.log.error(`An errback of ${headers.task}[${headers.id}] raised: ${repr}`);
    }
  }
  if (run === null || ended.hooks === "none") return;
  run.error = error;
  const { log } = app.world;
  if (ended.hooks === "signal") return sendTaskFailure(run, null, log);
  await hooksAfter(run, new Context(run), bareOutcome(run.init.seq, "failure"), log);
}
