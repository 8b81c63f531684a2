/**
 * Encodes and decodes AMQP's values and field tables.
 *
 * RabbitMQ differs from the specification in two type letters: `s` is a signed 16-bit number there (a short
 * string in the specification) and `l` a signed 64-bit one (unsigned); `x` (bytes) is its own. Both dialects
 * can be read. Only types that mean the same in both are written: strings as `S`, whole numbers as `I` or
 * `L`, other numbers as `d`.
 *
 * Source: AMQP 0-9-1 specification 4.2.5; RabbitMQ "AMQP 0-9-1 Errata" 3; py-amqp 5.1.1 serialization.py.
 */

import { type Outbox, ProtocolError } from "../../base/mod.ts";
import { AmqpDecimal } from "../decimal.ts";
import { EncodeError } from "../errors.ts";
import { isTypedRecord, reviveOwn } from "../json/reader.ts";
import { KnownTexts } from "../known_texts.ts";
import { pythonFloat } from "../python_repr.ts";
import { isRawJson, type RawJson, rawJson } from "../raw_json.ts";
import { kindOf, setOwn } from "../record.ts";

/**
 * A value in a field table. Integers beyond 2^53 are bigint. A string that is not UTF-8 is read as bytes.
 * Whole floats are numbers, or `RawJson` (`2.0`) from a reader with `carriesFloats`.
 */
export type AmqpValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Date
  | AmqpDecimal
  | RawJson
  | AmqpValue[]
  | AmqpTable;

/** A field table. */
export interface AmqpTable {
  [key: string]: AmqpValue;
}

/** The dialect of type letters in which a table is read. */
export type AmqpDialect = "rabbitmq" | "specification";

/** The maximum nesting of tables and arrays. */
const DEPTH_MAX = 32;
const SHORT_BYTES_MAX = 255;
const INT32_MIN = -(2 ** 31);
const INT32_MAX = 2 ** 31 - 1;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;
/** The largest number of seconds that a Date can hold. */
const DATE_SECONDS_MAX = 8_640_000_000_000;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

const known = new KnownTexts();

/** Reads values from bytes. A read past the end throws ProtocolError. */
export class AmqpReader {
  #bytes: Uint8Array;
  #view: DataView;
  #at: number;
  #end: number;
  #isRabbit: boolean;
  #carriesFloats: boolean;

  /**
   * With `carriesFloats`, whole floats in tables are read as `RawJson`, since a JavaScript number cannot
   * distinguish 2.0 from 2.
   */
  constructor(bytes: Uint8Array, dialect: AmqpDialect = "rabbitmq", carriesFloats = false) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
    this.#end = bytes.length;
    this.#isRabbit = dialect === "rabbitmq";
    this.#carriesFloats = carriesFloats;
  }

  /** Throws ProtocolError if any bytes are left; `what` was read. */
  mustBeAtEnd(what: string): void {
    if (this.#at !== this.#end) {
      throw new ProtocolError(`Cannot read ${what}: ${this.#end - this.#at} bytes too many`);
    }
  }

  octet(): number {
    return this.#bytes[this.#take(1)]!;
  }

  short(): number {
    return this.#view.getUint16(this.#take(2));
  }

  long(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** Reads an unsigned 64-bit number: as a number if it is exact, else as a bigint. */
  longlong(): number | bigint {
    const at = this.#take(8);
    const high = this.#view.getUint32(at);
    if (high < 0x20_0000) return high * 4_294_967_296 + this.#view.getUint32(at + 4);
    return this.#view.getBigUint64(at);
  }

  /** Reads text of up to 255 bytes. Bytes that are not UTF-8 are replaced. */
  shortstr(): string {
    const length = this.octet();
    const at = this.#take(length);
    return known.text(this.#bytes, at, length);
  }

  /** Reads up to 4 GiB of bytes into a copy. */
  longstr(): Uint8Array {
    const length = this.long();
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }

  /** Reads seconds since 1970 as a Date, or as a bigint beyond the range of Date. */
  timestamp(): Date | bigint {
    const seconds = this.longlong();
    return seconds <= DATE_SECONDS_MAX ? new Date(Number(seconds) * 1000) : BigInt(seconds);
  }

  table(): AmqpTable {
    return this.#table(0);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#end - at) {
      throw new ProtocolError(`Cannot read a value: ${count} bytes needed and ${this.#end - at} left`);
    }
    this.#at = at + count;
    return at;
  }

  /** Reads text, or bytes if it is not UTF-8. */
  #long(): string | Uint8Array {
    const length = this.long();
    const at = this.#take(length);
    const bytes = this.#bytes;
    const text = known.ascii(bytes, at, length);
    if (text !== null) return text;
    const part = bytes.subarray(at, at + length);
    try {
      return strictUtf8.decode(part);
    } catch {
      // Not UTF-8: returned as bytes.
      return part.slice();
    }
  }

  #table(depth: number): AmqpTable {
    const length = this.long();
    const end = this.#enter(length, depth);
    const outer = this.#end;
    this.#end = end;
    const table: AmqpTable = {};
    while (this.#at < end) {
      setOwn(table, this.#name(), this.#value(depth));
    }
    this.#end = outer;
    return table;
  }

  #float(value: number): number | RawJson {
    return this.#carriesFloats && Number.isInteger(value) ? rawJson(pythonFloat(value)) : value;
  }

  #name(): string {
    const length = this.octet();
    const at = this.#take(length);
    return known.name(this.#bytes, at, length);
  }

  #array(depth: number): AmqpValue[] {
    const length = this.long();
    const end = this.#enter(length, depth);
    const outer = this.#end;
    this.#end = end;
    const items: AmqpValue[] = [];
    while (this.#at < end) items.push(this.#value(depth));
    this.#end = outer;
    return items;
  }

  #enter(length: number, depth: number): number {
    if (depth >= DEPTH_MAX) {
      throw new ProtocolError(`Cannot read a table: more than ${DEPTH_MAX} levels deep`);
    }
    if (length > this.#end - this.#at) {
      throw new ProtocolError(`Cannot read a table: it claims ${length} bytes of ${this.#end - this.#at}`);
    }
    return this.#at + length;
  }

  #value(depth: number): AmqpValue {
    const type = this.octet();
    switch (type) {
      case 0x53: // S
        return this.#long();
      case 0x56: // V
        return null;
      case 0x49: // I
        return this.#view.getInt32(this.#take(4));
      case 0x74: // t
        return this.octet() !== 0;
      case 0x46: // F
        return this.#table(depth + 1);
      case 0x41: // A
        return this.#array(depth + 1);
      case 0x64: // d
        return this.#float(this.#view.getFloat64(this.#take(8)));
      case 0x66: // f
        return this.#float(this.#view.getFloat32(this.#take(4)));
      case 0x4c: // L
        return exact(this.#view.getBigInt64(this.#take(8)));
      case 0x6c: // l
        return exact(
          this.#isRabbit ? this.#view.getBigInt64(this.#take(8)) : this.#view.getBigUint64(this.#take(8)),
        );
      case 0x62: // b
        return this.#view.getInt8(this.#take(1));
      case 0x42: // B
        return this.octet();
      case 0x55: // U
        return this.#view.getInt16(this.#take(2));
      case 0x75: // u
        return this.short();
      case 0x69: // i
        return this.long();
      case 0x73: // s
        return this.#isRabbit ? this.#view.getInt16(this.#take(2)) : this.shortstr();
      case 0x54: // T
        return this.timestamp();
      case 0x44: // D
        return new AmqpDecimal(this.octet(), this.long());
      case 0x78: // x
        return this.longstr();
    }
    throw new ProtocolError(`Cannot read a table: unknown type ${shownType(type)}`);
  }
}

/** Writes an unsigned 16-bit number. */
export function writeShort(outbox: Outbox, value: number): void {
  outbox.byte(value >>> 8);
  outbox.byte(value & 255);
}

/** Writes an unsigned 32-bit number. */
export function writeLong(outbox: Outbox, value: number): void {
  patchLong(outbox, outbox.skip(4), value);
}

/** Writes an unsigned 32-bit number at a skipped position. */
function patchLong(outbox: Outbox, at: number, value: number): void {
  outbox.writeByte(at, value >>> 24);
  outbox.writeByte(at + 1, (value >>> 16) & 255);
  outbox.writeByte(at + 2, (value >>> 8) & 255);
  outbox.writeByte(at + 3, value & 255);
}

/** Writes an unsigned 64-bit number. */
export function writeLonglong(outbox: Outbox, value: number | bigint): void {
  if (typeof value === "number") {
    writeLong(outbox, Math.floor(value / 4_294_967_296));
    writeLong(outbox, value % 4_294_967_296);
  } else {
    if (value < 0n || value > UINT64_MAX) {
      throw new EncodeError(`Cannot send ${value}: it has more than 64 bits`);
    }
    writeLong(outbox, Number(value >> 32n));
    writeLong(outbox, Number(value & 0xffff_ffffn));
  }
}

/** Writes text of at most 255 bytes. Throws EncodeError, which names it as `what`, if it is longer. */
export function writeShortstr(outbox: Outbox, text: string, what: string): void {
  const at = outbox.skip(1);
  const length = outbox.text(text);
  if (length > SHORT_BYTES_MAX) {
    throw new EncodeError(`Cannot send ${what}: it has ${length} bytes, more than ${SHORT_BYTES_MAX}`);
  }
  outbox.writeByte(at, length);
}

/** Writes bytes, or text as UTF-8, after their length. */
export function writeLongstr(outbox: Outbox, value: string | Uint8Array): void {
  const at = outbox.skip(4);
  if (typeof value === "string") patchLong(outbox, at, outbox.text(value));
  else {
    outbox.bytes(value);
    patchLong(outbox, at, value.length);
  }
}

/** Writes a Date, or seconds since 1970. Throws EncodeError for a time before 1970. */
export function writeTimestamp(outbox: Outbox, value: Date | number | bigint): void {
  const seconds = value instanceof Date ? Math.floor(value.getTime() / 1000) : value;
  if (typeof seconds === "number" && !(seconds >= 0)) {
    throw new EncodeError("Cannot send a time before 1970 as an AMQP timestamp");
  }
  writeLonglong(outbox, seconds);
}

/**
 * Writes a field table. Keys with the value `undefined` are left out. Throws EncodeError if a value has no
 * type in AMQP (the text names its key), a key is longer than 255 bytes, or tables are nested more than 32
 * deep. The caller must then remove what was appended. Data lane: once per message.
 */
export function writeTable(outbox: Outbox, table: Readonly<Record<string, unknown>>): void {
  writeTableAt(outbox, table, 0);
}

function writeTableAt(outbox: Outbox, table: Readonly<Record<string, unknown>>, depth: number): void {
  if (depth >= DEPTH_MAX) throw new EncodeError(`Cannot send a table more than ${DEPTH_MAX} levels deep`);
  const at = outbox.skip(4);
  const start = outbox.length;
  for (const key of Object.keys(table)) {
    const value = table[key];
    if (value === undefined) continue;
    writeShortstr(outbox, key, "the name of a header");
    writeValue(outbox, value, key, depth);
  }
  patchLong(outbox, at, outbox.length - start);
}

function writeValue(outbox: Outbox, value: unknown, key: string, depth: number): void {
  switch (typeof value) {
    case "string":
      outbox.byte(0x53);
      return writeLongstr(outbox, value);
    case "number":
      return writeNumber(outbox, value);
    case "boolean":
      outbox.byte(0x74);
      return outbox.byte(value ? 1 : 0);
    case "bigint":
      if (value < INT64_MIN || value > INT64_MAX) {
        throw new EncodeError(`Cannot send header "${key}": ${value} has more than 64 bits`);
      }
      return writeInt64(outbox, value);
    case "object":
      return writeObject(outbox, value, key, depth);
  }
  throw new EncodeError(`Cannot send header "${key}": ${kindOf(value)} has no type in AMQP`);
}

function writeObject(outbox: Outbox, value: object | null, key: string, depth: number): void {
  if (value === null) return outbox.byte(0x56);
  if (Array.isArray(value)) {
    if (depth + 1 >= DEPTH_MAX) {
      throw new EncodeError(`Cannot send a table more than ${DEPTH_MAX} levels deep`);
    }
    outbox.byte(0x41);
    const at = outbox.skip(4);
    const start = outbox.length;
    for (const item of value) writeValue(outbox, item ?? null, key, depth + 1);
    return patchLong(outbox, at, outbox.length - start);
  }
  if (value instanceof Uint8Array) {
    outbox.byte(0x78);
    return writeLongstr(outbox, value);
  }
  if (value instanceof Date) {
    outbox.byte(0x54);
    return writeTimestamp(outbox, value);
  }
  if (value instanceof AmqpDecimal) {
    outbox.byte(0x44);
    outbox.byte(value.scale);
    return writeLong(outbox, value.value);
  }
  if (isRawJson(value)) return writeFloat(outbox, Number(value.rawJSON));
  if (value instanceof Map || value instanceof Set) {
    throw new EncodeError(`Cannot send header "${key}": a ${value.constructor.name} has no type in AMQP`);
  }
  // A carried value is still in its JSON form here.
  const typed = isTypedRecord(value) ? reviveOwn(value) : value;
  if (typed !== value) return writeValue(outbox, typed, key, depth);
  outbox.byte(0x46);
  writeTableAt(outbox, value as Readonly<Record<string, unknown>>, depth + 1);
}

function writeNumber(outbox: Outbox, value: number): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
      outbox.byte(0x49);
      return writeLong(outbox, value);
    }
    return writeInt64(outbox, BigInt(value));
  }
  writeFloat(outbox, value);
}

function writeFloat(outbox: Outbox, value: number): void {
  float.setFloat64(0, value);
  outbox.byte(0x64);
  outbox.bytes(floatBytes);
}

function writeInt64(outbox: Outbox, value: bigint): void {
  outbox.byte(0x4c);
  writeLonglong(outbox, BigInt.asUintN(64, value));
}

const floatBytes = new Uint8Array(8);
const float = new DataView(floatBytes.buffer);

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function shownType(type: number): string {
  return type > 32 && type < 127 ? `"${String.fromCharCode(type)}"` : String(type);
}

/** Returns the UTF-8 bytes of a text. */
export function utf8Bytes(text: string): Uint8Array {
  return encoder.encode(text);
}
