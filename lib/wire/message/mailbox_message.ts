/**
 * Messages of remote control (pidbox): a broadcast request, and each node's reply.
 *
 * Source: kombu 5.6.2 pidbox.py Mailbox._broadcast, Mailbox._publish_reply, Node.handle_message.
 */

import { textOrNull } from "../../base/mod.ts";
import { encodeBody } from "./envelope.ts";
import { DecodeError } from "../errors.ts";
import { revived } from "../json/carried.ts";
import type { EncodedMessage } from "./message.ts";
import { kindOf, recordOrNull } from "../record.ts";
import { type Accept, serialize, type SerializedBody } from "../serializer/serializer.ts";
import { decodePayload } from "./task_decoder.ts";

/** A request to one, some or all nodes. */
export interface MailboxRequest {
  method: string;
  arguments: Record<string, unknown>;
  /** Node names; null: the nodes that match `pattern`, or all nodes without one. */
  destination: string[] | null;
  pattern: string | null;
  matcher: "glob" | "pcre" | null;
  /** Set together with `replyTo` if a reply is wanted. */
  ticket: string | null;
  replyTo: { exchange: string; routingKey: string } | null;
  /** The sender's logical clock; null if it was not sent. */
  clock: number | null;
  /** Epoch seconds after which nobody waits for the reply; 0: no limit. */
  expires: number;
}

/** One node's reply. */
export interface MailboxReply {
  ticket: string | null;
  clock: number | null;
  /** What the handler returned, by node name. Normally one entry, but all are read. */
  replies: Record<string, unknown>;
}

/** The options for encoding mailbox messages. */
export interface MailboxEncoding {
  /** The name of a loaded serializer. Default "json". */
  serializer?: string;
  bodyEncoding: "base64" | "none";
}

/**
 * The maximum size of the body of a control message or of events in bytes, both as received (in base64:
 * characters) and unpacked. The longest regular one is `hello` with 50,000 revoked ids: about 6 MiB in
 * base64.
 */
export const CONTROL_BYTES_MAX: number = 16 * 1024 * 1024;

/**
 * Returns the value of the body of a control message or of events. Throws ContentDisallowed or DecodeError,
 * also if it is too long.
 */
export function decodeControlPayload(message: EncodedMessage, accept: Accept): unknown {
  const { length } = message.body;
  if (length > CONTROL_BYTES_MAX) throw new DecodeError(`Cannot decode body: ${length} bytes are too many`);
  return decodePayload(message, accept, CONTROL_BYTES_MAX);
}

/**
 * Returns the message of a request: persistent, as in kombu, although the exchange is transient. Throws
 * EncodeError.
 */
export function encodeMailboxRequest(request: MailboxRequest, options: MailboxEncoding): EncodedMessage {
  const body: Record<string, unknown> = {
    method: request.method,
    arguments: request.arguments,
    destination: request.destination,
    pattern: request.pattern,
    matcher: request.matcher,
  };
  if (request.ticket !== null) body["ticket"] = request.ticket;
  if (request.replyTo !== null) {
    body["reply_to"] = { exchange: request.replyTo.exchange, routing_key: request.replyTo.routingKey };
  }
  return mailboxMessage(body, { clock: request.clock ?? 0, expires: request.expires }, 2, options);
}

/**
 * Reads a request. Throws DecodeError if it is not an object with a method, ContentDisallowed for refused
 * content.
 */
export function decodeMailboxRequest(message: EncodedMessage, accept: Accept): MailboxRequest {
  const value = decodeControlPayload(message, accept);
  const record = recordOrNull(value);
  if (record === null || typeof record["method"] !== "string") {
    throw new DecodeError(`Cannot decode control message: ${kindOf(value)} without a method`);
  }
  const matcher = record["matcher"];
  const replyTo = recordOrNull(record["reply_to"]);
  return {
    method: record["method"],
    arguments: recordOrNull(record["arguments"]) ?? {},
    destination: names(record["destination"]),
    pattern: textOrNull(record["pattern"]),
    matcher: matcher === "glob" || matcher === "pcre" ? matcher : null,
    ticket: textOrNull(record["ticket"]),
    replyTo: replyTo === null ? null : {
      exchange: textOrNull(replyTo["exchange"]) ?? "",
      routingKey: textOrNull(replyTo["routing_key"]) ?? "",
    },
    clock: number(revived(message.headers["clock"])),
    expires: number(revived(message.headers["expires"])) ?? 0,
  };
}

/** Returns the message of one node's reply. Throws EncodeError. */
export function encodeMailboxReply(
  reply: { hostname: string; reply: unknown; ticket: string | null; clock: number },
  options: MailboxEncoding,
): EncodedMessage {
  const headers = { ticket: reply.ticket, clock: reply.clock };
  return mailboxMessage({ [reply.hostname]: reply.reply ?? null }, headers, 1, options);
}

/** Reads a reply. Throws DecodeError if it is not an object, ContentDisallowed for refused content. */
export function decodeMailboxReply(message: EncodedMessage, accept: Accept): MailboxReply {
  const value = decodeControlPayload(message, accept);
  const replies = recordOrNull(value);
  if (replies === null) {
    throw new DecodeError(`Cannot decode control reply: ${kindOf(value)} instead of an object`);
  }
  return {
    ticket: textOrNull(message.headers["ticket"]),
    clock: number(revived(message.headers["clock"])),
    replies,
  };
}

function mailboxMessage(
  body: Record<string, unknown>,
  headers: Record<string, unknown>,
  deliveryMode: 1 | 2,
  options: MailboxEncoding,
): EncodedMessage {
  const { serializer = "json", bodyEncoding } = options;
  return controlMessage(serialize(body, serializer), headers, { bodyEncoding, deliveryMode });
}

/** Returns the message that carries a request, a reply, or events. */
export function controlMessage(
  { body, contentType, contentEncoding }: SerializedBody,
  headers: Record<string, unknown>,
  { bodyEncoding, deliveryMode = 1 }: { bodyEncoding: "base64" | "none"; deliveryMode?: 1 | 2 },
): EncodedMessage {
  return {
    body: encodeBody(body, bodyEncoding),
    bodyEncoding,
    contentType,
    contentEncoding,
    headers,
    properties: {
      correlationId: null,
      replyTo: null,
      deliveryMode,
      priority: 0,
      expiration: null,
      rest: null,
    },
  };
}

function names(value: unknown): string[] | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return [value];
  if (!Array.isArray(value)) return null;
  return value.filter((name): name is string => typeof name === "string");
}

function number(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
