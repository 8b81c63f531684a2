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

/** A message's properties; null where absent. */
export class AmqpProperties {
  contentType: string | null = null;
  contentEncoding: string | null = null;
  /** Application headers. Received: values of a table, whole floats as `RawJson`; sent: anything a table can carry. */
  headers: AmqpTable | Readonly<Record<string, unknown>> | null = null;
  deliveryMode: number | null = null;
  priority: number | null = null;
  correlationId: string | null = null;
  replyTo: string | null = null;
  /** Milliseconds, as text. */
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

/** A header frame's head: whose content it is and how long its body. */
export interface AmqpContentHead {
  /** Bytes. */
  readonly bodySize: number;
  /** For `readProperties`. */
  readonly reader: AmqpReader;
}

/** Reads a header frame's payload up to the properties. Throws ProtocolError. */
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
 * Reads the properties. Throws ProtocolError on anything else; the frames after it are in order all the same, since
 * the header frame says its own length. Data lane: per message.
 */
export function readProperties(reader: AmqpReader): AmqpProperties {
  const flags = reader.short();
  const properties = new AmqpProperties();
  // A set last bit announces another word of flags; class basic defines no property there.
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
 * Appends a message's header frame and its body frames, each at most `frameMax` bytes (0: no limit). A text is sent as
 * UTF-8. Throws EncodeError where a property cannot be sent or all do not fit one frame; the outbox is then as it
 * was. Data lane: per message.
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
    // A header cannot be split; the server would end the whole connection for it.
    if (headSize > partMax) {
      throw new EncodeError(`Cannot send headers of ${headSize} bytes: at most ${partMax} fit an AMQP frame`);
    }
    // Three bytes per unit is the most that UTF-8 takes: such a text surely fits one frame.
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
