/**
 * A redelivered task that has stored SUCCESS (`worker_deduplicate_successful_tasks`): it does not run again;
 * messages that its first run may not have sent are sent now.
 *
 * Source: celery 5.6.3 app/trace.py, where LOG_IGNORED is logged. Counting the part of the chord is ours: in
 * 5.6 the chord never ends if the worker died between storing and counting.
 */

import type { Backend } from "../../backend/mod.ts";
import { type EncodedMessage, type ResultMeta, toJson } from "../../wire/mod.ts";
import type { AppCore } from "../core.ts";
import { completeChords } from "./chord_completion.ts";
import { runOutsideTasks } from "../call/current_task.ts";
import { sendNext } from "./dispatch.ts";
import { decodeForParent } from "./trace_parent.ts";

/**
 * Sends the callbacks and the chain's next step with the stored result, if the result has no children yet,
 * and counts its part of a chord, which the store counts only once. Rejects with the broker's or the store's
 * error.
 */
export async function finishDoneBefore(
  app: AppCore,
  backend: Backend,
  message: EncodedMessage,
  meta: ResultMeta,
): Promise<void> {
  const { headers, body } = decodeForParent(app, message);
  if (headers === null || body === null) return;
  const { id, group: groupId, groupIndex } = headers;
  const rootId = headers.rootId ?? id;
  const { callbacks, chain, chord } = body.embed;
  if ((callbacks?.length || chain) && !meta.children?.length) {
    const priority = app.conf.task_inherit_parent_priority ? message.properties.priority : null;
    await runOutsideTasks(() => sendNext(app, { id, rootId, priority }, body.embed, meta.result));
  }
  if (chord === null || groupId === null) return;
  const part = { groupId, groupIndex, body: toJson(chord), result: toJson(meta.result) };
  await completeChords(app, backend, [
    { taskId: id, rootId: headers.rootId, state: meta.state, chord: part, message: null },
  ]);
}
