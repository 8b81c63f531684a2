/**
 * Encodes and decodes AMQP methods in method frames, by the table in spec.ts.
 *
 * Source: AMQP 0-9-1 specification 4.2.4 Method Payloads.
 */

import { type Outbox, ProtocolError } from "../../base/mod.ts";
import { beginFrame, endFrame } from "./frame.ts";
import { AMQP_FRAMES, type AmqpField, type AmqpMethod, amqpMethod, amqpMethodById } from "./spec.ts";
import {
  AmqpReader,
  writeLong,
  writeLonglong,
  writeLongstr,
  writeShort,
  writeShortstr,
  writeTable,
  writeTimestamp,
} from "./table.ts";
import { EncodeError } from "../errors.ts";

/** Arguments of a method, by field name. A missing one is 0, false, "" or an empty table. */
export type AmqpArgs = Readonly<Record<string, unknown>>;

/** A received method. */
export interface AmqpCall {
  readonly method: AmqpMethod;
  /** Every field, as a number, boolean, string, bytes (longstr) or table. */
  readonly args: Record<string, unknown>;
}

/**
 * Reads the payload of a method frame. Throws ProtocolError on an unknown method, and if the arguments are
 * more or fewer than its fields.
 */
export function decodeMethod(payload: Uint8Array): AmqpCall {
  const reader = new AmqpReader(payload);
  const id = reader.long();
  const method = amqpMethodById(id);
  if (method === undefined) {
    throw new ProtocolError(
      `Cannot read an AMQP method: unknown class ${id >>> 16}, method ${id & 0xffff}`,
    );
  }
  const args: Record<string, unknown> = {};
  let bits = 0;
  let bit = 8;
  for (const field of method.fields) {
    if (field.domain === "bit") {
      if (bit > 7) {
        bits = reader.octet();
        bit = 0;
      }
      args[field.name] = (bits & (1 << bit++)) !== 0;
    } else {
      bit = 8;
      args[field.name] = readField(reader, field);
    }
  }
  reader.mustBeAtEnd(method.name);
  return { method, args };
}

/**
 * Appends a method frame. Throws EncodeError if an argument does not fit its field; the outbox is then as it
 * was, so that it holds only whole frames. Throws TypeError for a name that is not a field, which is a
 * programmer's error.
 */
export function encodeMethod(
  outbox: Outbox,
  channel: number,
  method: AmqpMethod | string,
  args: AmqpArgs = {},
): void {
  const known = typeof method === "string" ? amqpMethod(method) : method;
  for (const name of Object.keys(args)) {
    if (!known.fields.some((field) => field.name === name)) {
      throw new TypeError(`${known.name} has no "${name}"`);
    }
  }
  const start = outbox.length;
  try {
    const at = beginFrame(outbox, AMQP_FRAMES.method, channel);
    writeLong(outbox, known.id);
    let bits = 0;
    let bit = 0;
    for (const field of known.fields) {
      if (field.domain === "bit") {
        if (bit === 8) {
          outbox.byte(bits);
          bits = bit = 0;
        }
        if (args[field.name]) bits |= 1 << bit;
        bit++;
        continue;
      }
      if (bit > 0) {
        outbox.byte(bits);
        bits = bit = 0;
      }
      writeField(outbox, field, args[field.name]);
    }
    if (bit > 0) outbox.byte(bits);
    endFrame(outbox, at);
  } catch (error) {
    outbox.shift(outbox.length, start - outbox.length);
    throw error;
  }
}

/** Reads one field. Consecutive bits are read by `decodeMethod`. */
export function readField(reader: AmqpReader, field: AmqpField): unknown {
  switch (field.domain) {
    case "octet":
      return reader.octet();
    case "short":
      return reader.short();
    case "long":
      return reader.long();
    case "longlong":
      return reader.longlong();
    case "shortstr":
      return reader.shortstr();
    case "longstr":
      return reader.longstr();
    case "timestamp":
      return reader.timestamp();
    case "table":
      return reader.table();
    case "bit":
      return reader.octet() !== 0;
  }
}

/**
 * Writes one field. Consecutive bits are written by `encodeMethod`. Throws EncodeError if the value does not
 * fit.
 */
export function writeField(outbox: Outbox, field: AmqpField, value: unknown): void {
  switch (field.domain) {
    case "octet":
      return outbox.byte(whole(field, value, 255));
    case "short":
      return writeShort(outbox, whole(field, value, 65_535));
    case "long":
      return writeLong(outbox, whole(field, value, 4_294_967_295));
    case "longlong":
      return writeLonglong(
        outbox,
        typeof value === "bigint" ? value : whole(field, value, Number.MAX_SAFE_INTEGER),
      );
    case "shortstr":
      return writeShortstr(outbox, typeof value === "string" ? value : String(value ?? ""), field.name);
    case "longstr":
      return writeLongstr(outbox, value instanceof Uint8Array ? value : String(value ?? ""));
    case "timestamp":
      return writeTimestamp(outbox, (value ?? 0) as Date | number | bigint);
    case "table":
      return writeTable(outbox, (value ?? {}) as Record<string, unknown>);
    case "bit":
      return outbox.byte(value ? 1 : 0);
  }
}

function whole(field: AmqpField, value: unknown, max: number): number {
  const number = value === undefined || value === null ? 0 : Number(value);
  if (Number.isInteger(number) && number >= 0 && number <= max) return number;
  throw new EncodeError(
    `Cannot send ${field.name} ${String(value)}: it must be a whole number from 0 to ${max}`,
  );
}
