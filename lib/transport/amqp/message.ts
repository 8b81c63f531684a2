/**
 * Conversion of messages to and from AMQP: properties, headers, body.
 *
 * Source: protocol.md 1.1, 1.3, 3.3; kombu 5.2.4 transport/pyamqp.py Message.
 */

import { textOrNull } from "../../base/mod.ts";
import type { AmqpMessage } from "../../amqp/mod.ts";
import {
  AmqpProperties,
  bodyBytes,
  type DeliveryInfo,
  type EncodedMessage,
  encodeEnvelope,
  type MessageProperties,
} from "../../wire/mod.ts";
import { withoutDelay } from "./delay.ts";
import type { Delivery } from "../message.ts";

/**
 * The longest time to live that RabbitMQ accepts, milliseconds: a longer one would close the channel (406).
 */
const EXPIRATION_MAX = 4_294_967_295;
/** How often a message was returned to a quorum queue; from RabbitMQ 4.3 on, only failed deliveries count. */
const DELIVERY_COUNT = "x-delivery-count";
/**
 * Headers that brokers add to a dead-lettered or returned message; they are removed when it is sent again.
 */
const BROKER_HEADERS: ReadonlySet<string> = new Set([
  "x-death",
  "x-first-death-exchange",
  "x-first-death-queue",
  "x-first-death-reason",
  "x-last-death-exchange",
  "x-last-death-queue",
  "x-last-death-reason",
  DELIVERY_COUNT,
  "x-acquired-count",
]);

/** Returns the AMQP properties of a message. Data lane: per message sent. */
export function toAmqpProperties(message: EncodedMessage): AmqpProperties {
  const { properties } = message;
  const result = new AmqpProperties();
  result.contentType = message.contentType;
  result.contentEncoding = message.contentEncoding;
  result.headers = freshHeaders(message.headers);
  result.deliveryMode = properties.deliveryMode;
  result.priority = Math.min(255, Math.max(0, Math.trunc(properties.priority) || 0));
  result.correlationId = properties.correlationId;
  result.replyTo = properties.replyTo;
  // The receiver still gets `expires` in the headers.
  if (properties.expiration !== null && Number(properties.expiration) <= EXPIRATION_MAX) {
    result.expiration = properties.expiration;
  }
  if (properties.rest !== null) {
    result.messageId = textOrNull(properties.rest["message_id"]);
    result.type = textOrNull(properties.rest["type"]);
    result.appId = textOrNull(properties.rest["app_id"]);
  }
  return result;
}

/**
 * Returns a body as AMQP carries it: bytes, or text that is sent as UTF-8. Throws DecodeError for wrong
 * base64.
 */
export function toAmqpBody(message: EncodedMessage): Uint8Array | string {
  return message.bodyEncoding === "base64" ? bodyBytes(message) : message.body;
}

/** Returns a received body as text; wrong UTF-8 is replaced. */
export function bodyText(body: Uint8Array | string): string {
  return typeof body === "string" ? body : new TextDecoder().decode(body);
}

/** Converts a received message, whose properties must have been readable. Data lane: per message received. */
export function fromAmqp(received: AmqpMessage): EncodedMessage {
  const from = received.properties!;
  const properties: MessageProperties = {
    correlationId: from.correlationId,
    replyTo: from.replyTo,
    deliveryMode: from.deliveryMode === 2 ? 2 : 1,
    priority: from.priority ?? 0,
    expiration: from.expiration,
    rest: null,
  };
  if (from.messageId !== null || from.type !== null || from.appId !== null || from.userId !== null) {
    properties.rest = {};
    if (from.messageId !== null) properties.rest["message_id"] = from.messageId;
    if (from.type !== null) properties.rest["type"] = from.type;
    if (from.appId !== null) properties.rest["app_id"] = from.appId;
    if (from.userId !== null) properties.rest["user_id"] = from.userId;
  }
  return {
    body: received.body,
    bodyEncoding: "none",
    contentType: from.contentType ?? "application/data",
    contentEncoding: from.contentEncoding ?? "utf-8",
    headers: from.headers ?? {},
    properties,
  };
}

/** Returns how a received message was routed, without the delay exchanges. */
export function infoOf(received: AmqpMessage, queue: string): DeliveryInfo {
  const { args } = received.call;
  const routingKey = args["routing-key"] as string;
  const redelivered = args["redelivered"] === true;
  // A retry must not go back into a delay exchange, so the queue itself is given as the origin.
  if (withoutDelay(routingKey) !== null) return { exchange: "", routingKey: queue, redelivered };
  return { exchange: args["exchange"] as string, routingKey, redelivered };
}

/** A delivery whose envelope is encoded when it is first read. */
export class AmqpDelivery implements Delivery {
  readonly tag: number;
  readonly queue: string;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  /**
   * 0, unless the broker would drop the message after this delivery: then its delivery count, so that the
   * message becomes a dead letter and is not begun again. Otherwise the count does not serve, since it
   * includes cut connections.
   */
  readonly attempts: number;
  readonly wasReported = false;
  /** If the message is returned once more, its next delivery is the last, or there is none. */
  readonly isNearLimit: boolean;
  #envelope: string | null = null;

  /** `limit`: how often the queue redelivers a message at most (`AmqpServer.deliveryLimit`). */
  constructor(tag: number, queue: string, received: AmqpMessage, limit = Infinity) {
    this.tag = tag;
    this.queue = queue;
    this.message = fromAmqp(received);
    this.info = infoOf(received, queue);
    const count = this.info.redelivered && limit !== Infinity
      ? Number(this.message.headers[DELIVERY_COUNT]) || 0
      : 0;
    this.attempts = count > 0 && count >= limit ? count : 0;
    this.isNearLimit = count >= limit - 1;
  }

  get envelope(): string {
    return this.#envelope ??= encodeEnvelope(this.message, {
      exchange: this.info.exchange,
      routingKey: this.info.routingKey,
      deliveryTag: String(this.tag),
    });
  }
}

function freshHeaders(headers: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  for (const name of BROKER_HEADERS) {
    if (name in headers) {
      return Object.fromEntries(Object.entries(headers).filter(([key]) => !BROKER_HEADERS.has(key)));
    }
  }
  return headers;
}
