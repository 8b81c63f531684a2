/**
 * The `msgpack` serializer: distinguishes text and bytes, carries integers up to 64 bits, writes no dates.
 * Not a library, so that lengths declared by bytes from outside allocate nothing.
 *
 * Source: kombu 5.6.2 serialization.py register_msgpack (use_bin_type, strict keys); msgpack's specification.
 */

import { BinaryReader } from "./binary_reader.ts";
import { BinaryWriter } from "./binary_writer.ts";
import { plainTree } from "./plain_tree.ts";
import { setOwn } from "../record.ts";
import type { Codec } from "./codec.ts";

/** msgpack, loaded by `loadSerializer`. */
export const MSGPACK: Codec = {
  name: "msgpack",
  contentType: "application/x-msgpack",
  contentEncoding: "binary",
  encode(value: unknown): Uint8Array {
    const writer = new BinaryWriter();
    write(
      writer,
      plainTree(value, { format: "msgpack", dates: false, sets: false, surrogates: false, bigintBits: 64 }),
    );
    return writer.take();
  },
  decode(body: Uint8Array | string): unknown {
    const reader = new BinaryReader(typeof body === "string" ? ENCODER.encode(body) : body, "msgpack");
    const value = read(reader);
    if (reader.left > 0) throw reader.refuse("something follows the value");
    return value;
  },
};

const ENCODER = new TextEncoder();

/** The extension type of timestamps. */
const TIMESTAMP = -1;

function write(to: BinaryWriter, value: unknown): void {
  switch (typeof value) {
    case "string":
      return writeText(to, value);
    case "number":
      if (Number.isSafeInteger(value) && !Object.is(value, -0)) return writeInteger(to, value);
      to.uint(1, 0xcb);
      return to.float(value);
    case "bigint":
      return writeLong(to, value);
    case "boolean":
      return to.uint(1, value ? 0xc3 : 0xc2);
  }
  if (value === null || value === undefined) return to.uint(1, 0xc0);
  if (value instanceof Uint8Array) {
    head(to, value.length, { size1: 0xc4, size2: 0xc5, size4: 0xc6 });
    return to.bytes(value);
  }
  if (Array.isArray(value)) {
    head(to, value.length, { fix: 0x90, fixMax: 15, size2: 0xdc, size4: 0xdd });
    for (const item of value) write(to, item);
    return;
  }
  const entries = Object.entries(value as Record<string, unknown>);
  head(to, entries.length, { fix: 0x80, fixMax: 15, size2: 0xde, size4: 0xdf });
  for (const [key, item] of entries) {
    writeText(to, key);
    write(to, item);
  }
}

function writeText(to: BinaryWriter, text: string): void {
  const bytes = ENCODER.encode(text);
  head(to, bytes.length, { fix: 0xa0, fixMax: 31, size1: 0xd9, size2: 0xda, size4: 0xdb });
  to.bytes(bytes);
}

function writeInteger(to: BinaryWriter, value: number): void {
  if (value >= 0) {
    if (value > 0xffff_ffff) return writeLong(to, BigInt(value));
    return head(to, value, { fix: 0, fixMax: 0x7f, size1: 0xcc, size2: 0xcd, size4: 0xce });
  }
  if (value >= -32) return to.uint(1, value & 0xff);
  if (value >= -0x80) {
    to.uint(1, 0xd0);
    to.uint(1, value & 0xff);
  } else if (value >= -0x8000) {
    to.uint(1, 0xd1);
    to.uint(2, value & 0xffff);
  } else if (value >= -0x8000_0000) {
    to.uint(1, 0xd2);
    to.uint(4, value >>> 0);
  } else writeLong(to, BigInt(value));
}

function writeLong(to: BinaryWriter, value: bigint): void {
  to.uint(1, value < 0n ? 0xd3 : 0xcf);
  to.long(value);
}

/** Writes the first byte and the length after it, in the shortest of the forms given. */
function head(
  to: BinaryWriter,
  length: number,
  forms: { fix?: number; fixMax?: number; size1?: number; size2: number; size4: number },
): void {
  if (forms.fix !== undefined && length <= forms.fixMax!) return to.uint(1, forms.fix | length);
  if (forms.size1 !== undefined && length <= 0xff) {
    to.uint(1, forms.size1);
    to.uint(1, length);
  } else if (length <= 0xffff) {
    to.uint(1, forms.size2);
    to.uint(2, length);
  } else {
    to.uint(1, forms.size4);
    to.uint(4, length);
  }
}

function read(from: BinaryReader): unknown {
  const first = from.uint(1);
  if (first < 0x80) return first;
  if (first >= 0xe0) return first - 0x100;
  if (first < 0x90) return from.within(() => record(from, first & 15));
  if (first < 0xa0) return from.within(() => array(from, first & 15));
  if (first < 0xc0) return from.text(first & 31);
  switch (first) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc4:
      return from.bytes(from.uint(1));
    case 0xc5:
      return from.bytes(from.uint(2));
    case 0xc6:
      return from.bytes(from.uint(4));
    case 0xc7:
      return extension(from, from.uint(1));
    case 0xc8:
      return extension(from, from.uint(2));
    case 0xc9:
      return extension(from, from.uint(4));
    case 0xca:
      return from.float(4);
    case 0xcb:
      return from.float(8);
    case 0xcc:
      return from.uint(1);
    case 0xcd:
      return from.uint(2);
    case 0xce:
      return from.uint(4);
    case 0xcf:
      return from.long(false);
    case 0xd0:
      return from.int(1);
    case 0xd1:
      return from.int(2);
    case 0xd2:
      return from.int(4);
    case 0xd3:
      return from.long(true);
    case 0xd9:
      return from.text(from.uint(1));
    case 0xda:
      return from.text(from.uint(2));
    case 0xdb:
      return from.text(from.uint(4));
    case 0xdc:
      return from.within(() => array(from, from.uint(2)));
    case 0xdd:
      return from.within(() => array(from, from.uint(4)));
    case 0xde:
      return from.within(() => record(from, from.uint(2)));
    case 0xdf:
      return from.within(() => record(from, from.uint(4)));
  }
  // 0xd4 to 0xd8: extensions of 1, 2, 4, 8 and 16 bytes.
  if (first >= 0xd4 && first <= 0xd8) return extension(from, 1 << (first - 0xd4));
  throw from.refuse("an unknown first byte 0xc1");
}

function array(from: BinaryReader, length: number): unknown[] {
  const items: unknown[] = [];
  for (let n = 0; n < length; n++) items.push(read(from));
  return items;
}

function record(from: BinaryReader, length: number): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (let n = 0; n < length; n++) {
    const key = read(from);
    if (typeof key === "object") throw from.refuse("a key is neither a string nor a number");
    setOwn(found, String(key), read(from));
  }
  return found;
}

/** Reads a timestamp as a Date. Throws DecodeError for other extensions, whose meaning is unknown. */
function extension(from: BinaryReader, length: number): Date {
  const type = from.int(1);
  if (type !== TIMESTAMP) throw from.refuse(`unsupported extension ${type}`);
  let seconds: number;
  let nanos = 0;
  if (length === 4) seconds = from.uint(4);
  else if (length === 8) {
    const value = BigInt(from.long(false));
    nanos = Number(value >> 34n);
    seconds = Number(value & 0x3_ffff_ffffn);
  } else if (length === 12) {
    nanos = from.uint(4);
    seconds = Number(from.long(true));
  } else throw from.refuse("a broken time");
  const date = new Date(seconds * 1000 + nanos / 1e6);
  if (Number.isNaN(date.getTime())) throw from.refuse("a broken time");
  return date;
}
