/** Reads messages that the broker keeps: the task and its exact arguments. */

import { isRecord, textOrNull } from "../../base/mod.ts";
import {
  bodyBytes,
  decodeEnvelope,
  DecodeError,
  type EncodedMessage,
  fromExactJson,
  shownJson,
  toJson,
} from "../../wire/mod.ts";

/** A parsed task message. */
export interface ReadMessage {
  readonly id: string | null;
  readonly name: string | null;
  readonly headers: Record<string, unknown>;
  readonly isEmpty: boolean;
  /** JSON texts; null if the body is not JSON. */
  readonly args: string | null;
  readonly kwargs: string | null;
  /** `callbacks`, `errbacks`, `chain`, `chord`. */
  readonly embed: Record<string, unknown>;
}

/** Parses a message; null if it is not valid. Protocol 1 has everything in the body. */
export function readMessage(envelope: string): ReadMessage | null {
  let message: EncodedMessage;
  try {
    message = decodeEnvelope(envelope, fromExactJson).message;
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
  const { headers } = message;
  const body = bodyOf(message);
  const own = isRecord(body) ? body : {};
  const [args, kwargs, embed] = Array.isArray(body) ? body : [own["args"], own["kwargs"], own];
  const json = (value: unknown) => value === undefined ? null : toJson(value);
  return {
    id: textOrNull(headers["id"]) ?? textOrNull(own["id"]),
    name: textOrNull(headers["task"]) ?? textOrNull(own["task"]),
    headers,
    isEmpty: message.body.length === 0,
    args: json(args),
    kwargs: json(kwargs),
    embed: isRecord(embed) ? embed : {},
  };
}

/**
 * Returns the `argsrepr` and `kwargsrepr` of a message, else the arguments as JSON, cut off at 1000
 * characters.
 */
export function shownArguments(read: ReadMessage | null): { args: string | null; kwargs: string | null } {
  if (read === null) return { args: null, kwargs: null };
  const text = (key: string, json: string | null) =>
    typeof read.headers[key] === "string" ? read.headers[key] : json?.slice(0, 1000) ?? null;
  return { args: text("argsrepr", read.args), kwargs: text("kwargsrepr", read.kwargs) };
}

/** Returns the headers as readable JSON. */
export function shownHeaders(read: ReadMessage): string {
  return shownJson(read.headers, { charsMax: 64 * 1024 });
}

function bodyOf(message: EncodedMessage): unknown {
  if (message.contentType !== "application/json" || "compression" in message.headers) return undefined;
  try {
    return fromExactJson(new TextDecoder().decode(bodyBytes(message)));
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
