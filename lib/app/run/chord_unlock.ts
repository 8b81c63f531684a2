/**
 * `celery.chord_unlock`: polls the header of a chord, for stores that cannot count.
 *
 * Source: celery 5.2.6 app/builtins.py add_unlock_chord_task.
 */

import {
  exceptionRepr,
  PROPAGATE_STATES,
  READY_STATES,
  type ResultMeta,
  type ResultTuple,
  revived,
  toWireException,
  type WireException,
  type WireSignature,
} from "../../wire/mod.ts";
import type { AppCore } from "../core.ts";
import { failChord, sendChordBody } from "./chord_completion.ts";
import type { Context } from "./context.ts";

/** Maximum seconds that `celery.chord_unlock` waits for a header if results never expire. */
const HEADER_WAIT_MAX = 86_400;

/**
 * Sends a chord's body when its whole header has ended, else retries. A header that does not end fails the
 * body when `max_retries` are used up, at the latest when the first results would have expired. (In Celery a
 * client that waits for the body waits for ever then.)
 */
export async function unlockChord(app: AppCore, self: Context, args: unknown[]): Promise<null> {
  const [groupId, callback, , , result] = args as [
    string,
    WireSignature,
    unknown,
    unknown,
    ResultTuple[] | null | undefined,
  ];
  const [interval, maxRetries] = revived(args.slice(2, 4)) as (number | null | undefined)[];
  const tuples = result ?? [];
  const backend = await app.openBackend();
  const ids = tuples.flatMap(leafIds);
  const metas = await backend.fetchMany(ids, true);
  if (metas.some((meta) => meta === null || !READY_STATES.has(meta.state))) {
    const pause = interval ?? app.conf.result_chord_retry_interval;
    const most = maxRetries ??
      Math.ceil((app.conf.result_expires || HEADER_WAIT_MAX) / Math.max(pause, 0.001));
    if (self.request.retries < most) throw self.retry({ countdown: pause, maxRetries: most });
    const missing = ids.find((_, at) => !READY_STATES.has(metas[at]?.state ?? ""));
    const reason = `Dependency ${missing} has not ended after ${most} checks`;
    await failChord(app, backend, { groupId, wire: callback, reason });
    return null;
  }
  const byId = new Map(ids.map((id, at) => [id, metas[at] as ResultMeta]));
  const failed = ids.map((id) => byId.get(id)!).find((meta) => PROPAGATE_STATES.has(meta.state));
  if (failed) {
    const repr = exceptionRepr(failed.result as WireException);
    const reason = `Dependency ${failed.taskId} raised ${repr}`;
    await failChord(app, backend, { groupId, wire: callback, reason });
    return null;
  }
  const valueOf = ([[id], inner]: ResultTuple): unknown =>
    inner === null ? byId.get(id)?.result ?? null : inner.map(valueOf);
  try {
    await sendChordBody(app, callback, tuples.map(valueOf), { parentId: null, rootId: null });
  } catch (error) {
    const reason = `Callback error: ${exceptionRepr(toWireException(error, ""))}`;
    await failChord(app, backend, { groupId, wire: callback, reason });
  }
  return null;
}

function leafIds([[id], inner]: ResultTuple): string[] {
  return inner === null ? [id] : inner.flatMap(leafIds);
}
