/**
 * A task that is delivered again though its success is stored (`worker_deduplicate_successful_tasks`): it does not run
 * again, and what its first run may not have sent any more is sent now.
 *
 * Source: celery 5.6.3 app/trace.py, where LOG_IGNORED is told. Counting the chord's part is ours: 5.6 leaves the
 * chord without an end where a worker died between the two.
 */

import type { Backend } from "../../backend/mod.ts";
import { type EncodedMessage, type ResultMeta, toJson } from "../../wire/mod.ts";
import type { AppCore } from "../core.ts";
import { completeChords } from "./chord_completion.ts";
import { runOutsideTasks } from "../call/current_task.ts";
import { sendNext } from "./dispatch.ts";
import { decodeForParent } from "./trace_parent.ts";

/**
 * Sends the callbacks and the chain's next step of a task with its stored result, where the result has no children yet,
 * and counts its part of a chord, which counts once. Rejects where the broker or the store does.
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
