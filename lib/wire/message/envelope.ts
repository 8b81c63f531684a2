/**
 * The envelope: one JSON object per message, as kombu's virtual transports store it in a list, a hash or a
 * channel.
 *
 * Source: kombu 5.6.2 transport/virtual/base.py Channel.prepare_message, Message; transport/redis.py
 * _do_restore_message.
 */

import { quoted, textOrNull } from "../../base/mod.ts";
import { base64ToAscii, base64ToBytes, textToBase64 } from "../base64.ts";
import { DecodeError } from "../errors.ts";
import { fromCarriedJson } from "../json/carried.ts";
import { fromExactJson, fromJson, fromPlainJson } from "../json/reader.ts";
import { headersToJson, toJson } from "../json/json.ts";
import type { DeliveryInfo, EncodedMessage, MessageProperties } from "./message.ts";
import { isTruthy } from "../python_truth.ts";
import { kindOf, recordOrNull, setOwn } from "../record.ts";

/**
 * The route of an envelope. `deliveryTag` is unique per message; it is the message's field in the structures
 * of unacknowledged messages.
 */
export interface EnvelopeRoute {
  exchange: string;
  routingKey: string;
  deliveryTag: string;
}

/** A decoded envelope. */
export interface DecodedEnvelope {
  message: EncodedMessage;
  info: DeliveryInfo;
  deliveryTag: string | null;
}

/**
 * Returns the envelope of a message. Bytes are always sent as base64, text as `bodyEncoding` says. Headers
 * may contain anything that JSON with kombu's types can carry. Throws EncodeError. Cost: per message sent.
 */
export function encodeEnvelope(message: EncodedMessage, route: EnvelopeRoute): string {
  const [before, body, after] = envelopeParts(message, route);
  return before + body + after;
}

/**
 * Returns the envelope in three parts. The second is the body, so that a large body can be written without
 * copying it. Throws EncodeError.
 */
export function envelopeParts(message: EncodedMessage, route: EnvelopeRoute): [string, string, string] {
  const { body, properties } = message;
  let bodyText: string;
  let bodyEncoding: string;
  let quote = "";
  if (typeof body !== "string") {
    bodyText = body.toBase64();
    quote = '"';
    bodyEncoding = '"base64"';
  } else if (message.bodyEncoding === "base64") {
    // Quoted like any text, since a body from outside may not really be base64.
    bodyText = quoted(body);
    bodyEncoding = '"base64"';
  } else {
    bodyText = quoted(body);
    bodyEncoding = "null";
  }
  let props = "";
  if (properties.correlationId !== null) {
    props += '"correlation_id":' + quoted(properties.correlationId) + ",";
  }
  if (properties.replyTo !== null) props += '"reply_to":' + quoted(properties.replyTo) + ",";
  props += '"delivery_mode":' + properties.deliveryMode;
  if (properties.expiration !== null) props += ',"expiration":' + quoted(properties.expiration);
  props += ',"delivery_info":{"exchange":' + quoted(route.exchange) + ',"routing_key":' +
    quoted(route.routingKey) + '},"priority":' + properties.priority + ',"body_encoding":' +
    bodyEncoding +
    ',"delivery_tag":' + quoted(route.deliveryTag);
  if (properties.rest !== null) props += restJson(properties.rest);
  const after = quote + ',"content-encoding":' + quoted(message.contentEncoding) +
    ',"content-type":' + quoted(message.contentType) + ',"headers":' + headersToJson(message.headers) +
    ',"properties":{' + props + "}}";
  return ['{"body":' + quote, bodyText, after];
}

/**
 * Decodes an envelope; the body stays encoded. Missing parts get kombu's defaults: no headers, no properties,
 * content type "application/data", delivery mode 2, priority 0, an unencoded body. `read` is `fromTypedJson`
 * for an envelope that our own process wrote. Throws DecodeError (one line) if the text is not a JSON object
 * or its body is not text. Cost: per message received.
 */
export function decodeEnvelope(
  text: string,
  read: (text: string) => unknown = fromJson,
): DecodedEnvelope {
  const envelope = envelopeRecord(read(text));
  const body: unknown = envelope["body"];
  if (typeof body !== "string") {
    throw new DecodeError(`Cannot decode envelope: its body is ${kindOf(body)} instead of text`);
  }
  const headers = recordOrNull(envelope["headers"]) ?? {};
  const wireProperties = recordOrNull(envelope["properties"]) ?? NO_PROPERTIES;
  const properties: MessageProperties = {
    correlationId: null,
    replyTo: null,
    deliveryMode: 2,
    priority: 0,
    expiration: null,
    rest: null,
  };
  let bodyEncoding: "base64" | "none" = "none";
  let deliveryInfo: Record<string, unknown> | null = null;
  let deliveryTag: string | null = null;
  for (const key in wireProperties) {
    const value = wireProperties[key];
    switch (key) {
      case "correlation_id":
        properties.correlationId = textOrNull(value);
        break;
      case "reply_to":
        properties.replyTo = textOrNull(value);
        break;
      case "delivery_mode":
        properties.deliveryMode = value === 1 ? 1 : 2;
        break;
      case "priority":
        properties.priority = typeof value === "number" && value - value === 0 ? value : 0;
        break;
      case "expiration":
        properties.expiration = typeof value === "number" ? String(value) : textOrNull(value);
        break;
      case "delivery_info":
        deliveryInfo = recordOrNull(value);
        break;
      case "body_encoding":
        if (value === "base64") bodyEncoding = "base64";
        break;
      case "delivery_tag":
        deliveryTag = typeof value === "number" ? String(value) : textOrNull(value);
        break;
      default:
        if (properties.rest === null) properties.rest = {};
        setOwn(properties.rest, key, value);
    }
  }
  const info: DeliveryInfo = {
    exchange: deliveryInfo === null ? "" : textOrNull(deliveryInfo["exchange"]) ?? "",
    routingKey: deliveryInfo === null ? "" : textOrNull(deliveryInfo["routing_key"]) ?? "",
    redelivered: (deliveryInfo !== null && isTruthy(deliveryInfo["redelivered"])) ||
      isTruthy(headers["redelivered"]),
  };
  const message: EncodedMessage = {
    body,
    bodyEncoding,
    contentType: textOrNull(envelope["content-type"]) ?? "application/data",
    contentEncoding: textOrNull(envelope["content-encoding"]) ?? "utf-8",
    headers,
    properties,
  };
  return { message, info, deliveryTag };
}

/**
 * Returns the headers of an envelope as carried values (json/carried.ts), to be sent on: typed objects and
 * numbers keep their form on the wire. Throws as `decodeEnvelope`.
 */
export function carriedHeaders(envelopeText: string): Record<string, unknown> {
  return decodeEnvelope(envelopeText, fromCarriedJson).message.headers;
}

/**
 * Returns an envelope marked as delivered again: `headers.redelivered` and
 * `properties.delivery_info.redelivered` are true. Everything else is kept. Throws DecodeError if the text is
 * not an envelope.
 */
export function markRedelivered(envelopeText: string): string {
  const envelope = envelopeRecord(fromExactJson(envelopeText));
  const headers = recordOrNull(envelope["headers"]) ?? {};
  const properties = recordOrNull(envelope["properties"]) ?? {};
  const info = recordOrNull(properties["delivery_info"]) ?? {};
  headers["redelivered"] = true;
  info["redelivered"] = true;
  properties["delivery_info"] = info;
  envelope["headers"] = headers;
  envelope["properties"] = properties;
  return toJson(envelope);
}

/** Like `markRedelivered`, but returns a text that is not an envelope as it is. */
export function markedIfEnvelope(text: string): string {
  try {
    return markRedelivered(text);
  } catch (error) {
    if (error instanceof DecodeError) return text;
    throw error;
  }
}

/**
 * The last member of an envelope whose message was parked until it was due: a worker has already reported it
 * as received, in its log and by an event. Kombu keeps unknown members and ignores them.
 */
const REPORTED_MARK = ',"lovage_told":true}';

/**
 * Marks an envelope as reported: a worker has logged the message as received and sent the event. Edits the
 * text without parsing it, since a body may be long.
 */
export function markReported(envelopeText: string): string {
  return isMarkedReported(envelopeText) ? envelopeText : envelopeText.slice(0, -1) + REPORTED_MARK;
}

/** Removes the mark from an envelope that is sent again, so that the next worker reports it. */
export function unmarkReported(envelopeText: string): string {
  return isMarkedReported(envelopeText) ? `${envelopeText.slice(0, -REPORTED_MARK.length)}}` : envelopeText;
}

/** Returns true if an envelope is marked as reported. Data lane: once per message. */
export function isMarkedReported(envelopeText: string): boolean {
  return envelopeText.endsWith(REPORTED_MARK);
}

/** Returns the priority of an envelope; 0 if it has none or is not an envelope. */
export function envelopePriority(envelopeText: string): number {
  try {
    const properties = recordOrNull(envelopeRecord(fromPlainJson(envelopeText))["properties"]);
    const priority = properties?.["priority"];
    return typeof priority === "number" && Number.isFinite(priority) ? priority : 0;
  } catch (error) {
    if (error instanceof DecodeError) return 0;
    throw error;
  }
}

/** Returns a message's body as bytes, decoded from base64. Throws DecodeError on invalid base64. */
export function bodyBytes(message: EncodedMessage): Uint8Array {
  const { body } = message;
  if (typeof body !== "string") return body;
  return message.bodyEncoding === "base64" ? base64ToBytes(body) : new TextEncoder().encode(body);
}

/**
 * Returns a message's body in the form that is fastest to decode: base64 becomes text if it is ASCII, else
 * bytes; any other body is returned as it is. Throws DecodeError on invalid base64.
 */
export function bodyData(message: EncodedMessage): Uint8Array | string {
  const { body } = message;
  if (typeof body !== "string" || message.bodyEncoding === "none") return body;
  return base64ToAscii(body) ?? base64ToBytes(body);
}

/**
 * Returns text or bytes as an `EncodedMessage.body` in the given encoding. A long body is returned as bytes,
 * which an envelope writes as base64: until then it is shorter, and it needs no quoting.
 */
export function encodeBody(body: string | Uint8Array, bodyEncoding: "base64" | "none"): string | Uint8Array {
  if (bodyEncoding === "none") return body;
  if (body.length > LONG_BODY) return typeof body === "string" ? ENCODER.encode(body) : body;
  return typeof body === "string" ? textToBase64(body) : body.toBase64();
}

const LONG_BODY = 4096;
const ENCODER = new TextEncoder();

const NO_PROPERTIES: Record<string, unknown> = Object.freeze({});
const OWN_PROPERTIES: ReadonlySet<string> = new Set([
  "correlation_id",
  "reply_to",
  "delivery_mode",
  "expiration",
  "delivery_info",
  "priority",
  "body_encoding",
  "delivery_tag",
]);

function restJson(rest: Record<string, unknown>): string {
  let text = "";
  for (const key of Object.keys(rest)) {
    if (!OWN_PROPERTIES.has(key)) text += "," + quoted(key) + ":" + toJson(rest[key]);
  }
  return text;
}

function envelopeRecord(value: unknown): Record<string, unknown> {
  const record = recordOrNull(value);
  if (record === null) throw new DecodeError(`Cannot decode envelope: ${kindOf(value)} instead of an object`);
  return record;
}
