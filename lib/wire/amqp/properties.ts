/**
 * The content of AMQP messages: header frames with the properties of class basic, and body frames.
 *
 * Source: AMQP 0-9-1 specification 2.3.5.2, 4.2.6 Content Framing.
 */

import { type Outbox, ProtocolError } from "../../base/mod.ts";
import { beginFrame, endFrame } from "./frame.ts";
import { readField, writeField } from "./method.ts";
import { AMQP_FRAME_OVERHEAD, AMQP_FRAMES, BASIC_PROPERTIES } from "./spec.ts";
import { EncodeError } from "../errors.ts";
import { AmqpReader, type AmqpTable, utf8Bytes, writeLonglong, writeShort } from "./table.ts";

/** A message's properties; an absent one is null. */
export class AmqpProperties {
  contentType: string | null = null;
  contentEncoding: string | null = null;
  /**
   * Application headers. In a received message: values of a table, with whole floats as `RawJson`. In a sent
   * one: any values that a table can carry.
   */
  headers: AmqpTable | Readonly<Record<string, unknown>> | null = null;
  deliveryMode: number | null = null;
  priority: number | null = null;
  correlationId: string | null = null;
  replyTo: string | null = null;
  /** Milliseconds as text. */
  expiration: string | null = null;
  messageId: string | null = null;
  timestamp: Date | bigint | null = null;
  type: string | null = null;
  userId: string | null = null;
  appId: string | null = null;
  clusterId: string | null = null;
}

/** The properties in the order of their flags. */
const FIELDS = BASIC_PROPERTIES.map((field, index) => ({
  field,
  key: camel(field.name) as keyof AmqpProperties,
  flag: 1 << (15 - index),
}));
const BASIC_CLASS = 60;

/** The start of a header frame. */
export interface AmqpContentHead {
  /** The size of the body in bytes. */
  readonly bodySize: number;
  /** The reader for `readProperties`. */
  readonly reader: AmqpReader;
}

/** Reads the payload of a header frame up to the properties. Throws ProtocolError. */
export function readContentHead(payload: Uint8Array): AmqpContentHead {
  const reader = new AmqpReader(payload, "rabbitmq", true);
  const classId = reader.short();
  if (classId !== BASIC_CLASS) {
    throw new ProtocolError(`Cannot read content of class ${classId}: it has none`);
  }
  reader.short();
  const size = reader.longlong();
  if (typeof size !== "number") throw new ProtocolError(`Cannot read content of ${size} bytes`);
  return { bodySize: size, reader };
}

/**
 * Reads the properties. Throws ProtocolError if they are invalid; later frames can still be read, since a
 * frame's head has its length. Data lane: once per message.
 */
export function readProperties(reader: AmqpReader): AmqpProperties {
  const flags = reader.short();
  const properties = new AmqpProperties();
  // If the last bit is set, another word of flags follows; class basic has no properties for it.
  if ((flags & 1) !== 0 && reader.short() !== 0) {
    throw new ProtocolError("Cannot read properties beyond the 14th");
  }
  for (let i = 0; i < FIELDS.length; i++) {
    const { flag, key, field } = FIELDS[i]!;
    if ((flags & flag) !== 0) {
      (properties as unknown as Record<string, unknown>)[key] = readField(reader, field);
    }
  }
  reader.mustBeAtEnd("a content header");
  return properties;
}

/**
 * Appends the header frame and the body frames of a message, each at most `frameMax` bytes (0: no limit).
 * Text is sent as UTF-8. Throws EncodeError if a property cannot be encoded, or if the properties do not fit
 * one frame; the outbox is then as it was. Data lane: once per message.
 */
export function encodeContent(
  outbox: Outbox,
  channel: number,
  properties: AmqpProperties,
  body: Uint8Array | string,
  frameMax: number,
): void {
  const start = outbox.length;
  try {
    const at = beginFrame(outbox, AMQP_FRAMES.header, channel);
    writeShort(outbox, BASIC_CLASS);
    writeShort(outbox, 0);
    const sizeAt = outbox.length;
    writeLonglong(outbox, typeof body === "string" ? 0 : body.length);
    writeProperties(outbox, properties);
    endFrame(outbox, at);
    const partMax = frameMax === 0 ? Infinity : frameMax - AMQP_FRAME_OVERHEAD;
    const headSize = outbox.length - start - AMQP_FRAME_OVERHEAD;
    // A header cannot be split, and the server would close the whole connection for a larger one.
    if (headSize > partMax) {
      throw new EncodeError(`Cannot send headers of ${headSize} bytes: at most ${partMax} fit an AMQP frame`);
    }
    // UTF-8 takes at most three bytes per unit, so such a text certainly fits one frame.
    if (typeof body === "string" && body.length * 3 <= partMax) {
      if (body.length > 0) patchSize(outbox, sizeAt, encodeTextBody(outbox, channel, body));
      return;
    }
    const bytes = typeof body === "string" ? utf8Bytes(body) : body;
    if (typeof body === "string") patchSize(outbox, sizeAt, bytes.length);
    for (let from = 0; from < bytes.length; from += partMax) {
      const to = Math.min(from + partMax, bytes.length);
      const partAt = beginFrame(outbox, AMQP_FRAMES.body, channel);
      outbox.bytes(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
      endFrame(outbox, partAt);
    }
  } catch (error) {
    outbox.shift(outbox.length, start - outbox.length);
    throw error;
  }
}

function encodeTextBody(outbox: Outbox, channel: number, text: string): number {
  const at = beginFrame(outbox, AMQP_FRAMES.body, channel);
  const length = outbox.text(text);
  endFrame(outbox, at);
  return length;
}

function patchSize(outbox: Outbox, at: number, size: number): void {
  // A body that fits a frame has fewer than 2^32 bytes.
  outbox.writeByte(at + 4, size >>> 24);
  outbox.writeByte(at + 5, (size >>> 16) & 255);
  outbox.writeByte(at + 6, (size >>> 8) & 255);
  outbox.writeByte(at + 7, size & 255);
}

function writeProperties(outbox: Outbox, properties: AmqpProperties): void {
  const at = outbox.skip(2);
  let flags = 0;
  for (let i = 0; i < FIELDS.length; i++) {
    const { flag, key, field } = FIELDS[i]!;
    const value = properties[key];
    if (value === null || value === undefined) continue;
    flags |= flag;
    writeField(outbox, field, value);
  }
  outbox.writeByte(at, flags >>> 8);
  outbox.writeByte(at + 1, flags & 255);
}

function camel(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
