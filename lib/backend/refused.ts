/** What a store is given in place of a result that it refuses: who waits for one that never comes, waits for ever. */

import { AccessRefused, type Clock, errorText, isRetryable } from "../base/mod.ts";
import { encodeResultMeta, READY_STATES, toPythonIsoIn } from "../wire/mod.ts";
import type { ResultRecord } from "./backend.ts";

/** A document that is refused for what it is has at least so many characters or bytes. */
const LARGE = 64 * 1024;

/**
 * The end of a task whose result was refused for good: FAILURE with Celery's BackendStoreError, which says why. Null if
 * nothing of the kind would be taken either: the store is what fails, or the document is small already.
 */
export function inPlaceOf(
  record: ResultRecord,
  error: Error,
  { clock, serializer }: { readonly clock: Clock; readonly serializer: string },
): ResultRecord | null {
  if (record.document.length < LARGE || !READY_STATES.has(record.state)) return null;
  if (error instanceof AccessRefused || isRetryable(error)) return null;
  const unit = typeof record.document === "string" ? "characters" : "bytes";
  const text = `Cannot store a result of ${record.document.length} ${unit}: ${errorText(error)}`;
  const document = encodeResultMeta({
    taskId: record.taskId,
    state: "FAILURE",
    result: { excType: "BackendStoreError", excModule: "celery.exceptions", args: [text] },
    traceback: null,
    children: [],
    dateDone: toPythonIsoIn(clock.wallMs(), "UTC"),
  }, serializer);
  return { ...record, state: "FAILURE", document };
}
