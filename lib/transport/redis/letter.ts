/** Dead letters and failed tasks as Redis keeps them: JSON documents, which anybody may have written. */

import { isRecord } from "../../base/mod.ts";
import { DecodeError, fromPlainJson } from "../../wire/mod.ts";
import type { DeadLetter } from "../message.ts";

/** Reads a document; `atMs` returns its time. A foreign document is shown as it is. Never throws. */
export function readLetter(text: string, atMs: (document: Record<string, unknown>) => number): DeadLetter {
  const document = record(text);
  const { id, reason, queue, envelope } = document;
  return {
    id: typeof id === "string" ? id : "?",
    queue: typeof queue === "string" ? queue : null,
    reason: typeof reason === "string" ? reason : "Not a document of Lovage",
    atMs: atMs(document),
    envelope: typeof envelope === "string" ? envelope : text,
  };
}

function record(text: string): Record<string, unknown> {
  try {
    const value = fromPlainJson(text);
    return isRecord(value) ? value : {};
  } catch (error) {
    if (error instanceof DecodeError) return {};
    throw error;
  }
}
