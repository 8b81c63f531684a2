/** Makes a new message from a failed task's message: the same except for its id and its count of retries. */

import { isRecord } from "../../base/mod.ts";
import { DecodeError } from "../errors.ts";
import { fromExactJson } from "../json/reader.ts";
import { toJson } from "../json/json.ts";

/**
 * Returns the envelope of a failed task as a new message: with an id from `newId`, no retries, and no marks of
 * redelivery. Everything else (body, headers, properties) stays as it was, including the form of numbers. A task
 * of protocol 1 has its id in the body: its envelope is returned unchanged, and `id` is null. Throws DecodeError
 * if the text is not kombu's envelope.
 */
export function resendEnvelope(
  envelopeText: string,
  newId: () => string,
): { readonly envelope: string; readonly id: string | null } {
  const envelope = record(fromExactJson(envelopeText));
  const headers = record(envelope["headers"]);
  const before = headers["id"];
  if (typeof before !== "string") return { envelope: envelopeText, id: null };
  const properties = record(envelope["properties"]);
  const id = newId();
  headers["id"] = id;
  headers["retries"] = 0;
  delete headers["redelivered"];
  if (properties["correlation_id"] === before) properties["correlation_id"] = id;
  const info = properties["delivery_info"];
  if (typeof info === "object" && info !== null) delete (info as Record<string, unknown>)["redelivered"];
  return { envelope: toJson(envelope), id };
}

function record(value: unknown): Record<string, unknown> {
  if (isRecord(value)) return value;
  throw new DecodeError("Cannot send it again: it is not kombu's envelope");
}
