/** Makes a new message from a failed task's message: the same except for its id and its count of retries. */

import { isRecord } from "../../base/mod.ts";
import { DecodeError } from "../errors.ts";
import { fromExactJson } from "../json/reader.ts";
import { toJson } from "../json/json.ts";

/**
 * Returns the envelope of a failed task as a new message: with a new id, no retries, and no marks of
 * redelivery. Everything else (body, headers, properties) stays as it was, including the form of numbers.
 * Throws DecodeError if the text is not the envelope of a task with its id in the headers (protocol 2).
 */
export function resendEnvelope(envelopeText: string, id: string): string {
  const envelope = record(fromExactJson(envelopeText));
  const headers = record(envelope["headers"]);
  const properties = record(envelope["properties"]);
  const before = headers["id"];
  if (typeof before !== "string") throw new DecodeError("Cannot send it again: its headers name no task");
  headers["id"] = id;
  headers["retries"] = 0;
  delete headers["redelivered"];
  if (properties["correlation_id"] === before) properties["correlation_id"] = id;
  const info = properties["delivery_info"];
  if (typeof info === "object" && info !== null) delete (info as Record<string, unknown>)["redelivered"];
  return toJson(envelope);
}

function record(value: unknown): Record<string, unknown> {
  if (isRecord(value)) return value;
  throw new DecodeError("Cannot send it again: it is not kombu's envelope");
}
