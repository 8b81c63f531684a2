/** A task's message as it is sent once more: the same in all but its id and its count of retries. */

import { DecodeError } from "../errors.ts";
import { fromExactJson } from "../json/reader.ts";
import { toJson } from "../json/json.ts";

/**
 * The envelope of a failed task as a message of its own: under a new id, with no retries, as not delivered before. All
 * else (body, headers, properties) stays what it was, numbers in the form in which they came. Throws DecodeError for
 * what is not an envelope of a task with its id among the headers (protocol 2).
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
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new DecodeError("Cannot send it again: it is not kombu's envelope");
}
