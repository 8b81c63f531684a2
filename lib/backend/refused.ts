/** The replacement of a result that a store refuses: without it, waits for that result would never end. */

import { AccessRefused, type Clock, errorText, isRetryable } from "../base/mod.ts";
import { encodeResultMeta, READY_STATES, toPythonIsoIn } from "../wire/mod.ts";
import type { ResultRecord } from "./backend.ts";

/** A document that is refused for its size has at least so many characters or bytes. */
const LARGE = 64 * 1024;

/**
 * Returns the record that replaces a final result that was refused for good: FAILURE with Celery's
 * BackendStoreError, which says why. Null if a replacement would be refused too: the store itself fails, or
 * the document is small already.
 */
export function replacementOf(
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
