/**
 * Checks the bytes of a CBOR value before the library decodes them: the library trusts declared lengths,
 * follows references to earlier values, and creates objects of classes by tag. Bytes that pass produce only
 * plain values, none of which contains itself, is shared, or is larger than the bytes.
 *
 * Source: RFC 8949.
 */

import type { BinaryReader } from "./binary_reader.ts";
import { INTEGER_DIGITS_MAX } from "../json/reader.ts";

const MAJOR = { uint: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 } as const;
const TAG = { isoDate: 0, epochDate: 1, bigUint: 2, bigNegative: 3, described: 55799 } as const;
/**
 * Additional information: a simple value, the size of a float, or an indefinite length that ends at a break.
 */
const INFO = { false: 20, undefined: 23, half: 25, float: 26, double: 27, open: 31 } as const;
const BREAK = 0xff;
/** The bytes for as many digits as an integer may have in JSON, and their head. */
const BIG_BYTES_MAX = Math.ceil(INTEGER_DIGITS_MAX * Math.log2(10) / 8) + 3;

/** Checks and skips one value. Throws DecodeError. Cost: linear in the bytes. */
export function checkCbor(from: BinaryReader): void {
  const first = from.uint(1);
  const major = first >> 5;
  const info = first & 31;
  switch (major) {
    case MAJOR.simple:
      simple(from, info);
      break;
    case MAJOR.bytes:
      from.skip(length(from, info));
      break;
    case MAJOR.text:
      from.text(length(from, info));
      break;
    case MAJOR.array:
      from.within(() => items(from, info, () => checkCbor(from)));
      break;
    case MAJOR.map:
      from.within(() => items(from, info, () => entry(from)));
      break;
    case MAJOR.tag:
      from.within(() => tagged(from, argument(from, info)));
      break;
    default:
      argument(from, info);
  }
}

/** Reads the number after a head: a value, a length or a tag. */
function argument(from: BinaryReader, info: number): number | bigint {
  if (info < 24) return info;
  if (info === 24) return from.uint(1);
  if (info === 25) return from.uint(2);
  if (info === 26) return from.uint(4);
  if (info === 27) return from.long(false);
  throw from.refuse("a broken head");
}

function simple(from: BinaryReader, info: number): void {
  if (info >= INFO.false && info <= INFO.undefined) return;
  if (info === INFO.half) from.float(2);
  else if (info === INFO.float) from.float(4);
  else if (info === INFO.double) from.float(8);
  else throw from.refuse(`unknown simple value ${info}`);
}

/**
 * Reads the length of text or bytes. Text and bytes in pieces are refused: our processes never write them,
 * and the library cannot read them.
 */
function length(from: BinaryReader, info: number): number | bigint {
  if (info === INFO.open) throw from.refuse("a string or bytes in pieces");
  return argument(from, info);
}

function items(from: BinaryReader, info: number, item: () => void): void {
  if (info !== INFO.open) {
    for (let left = argument(from, info); left > 0; left--) item();
    return;
  }
  while (from.peek() !== BREAK) item();
  from.uint(1);
}

function entry(from: BinaryReader): void {
  const kind = from.peek() >> 5;
  if (kind !== MAJOR.text && kind !== MAJOR.uint && kind !== MAJOR.negative) {
    throw from.refuse("a key is neither a string nor a number");
  }
  checkCbor(from);
  checkCbor(from);
}

function tagged(from: BinaryReader, tag: number | bigint): void {
  const head = from.peek();
  const kind = head >> 5;
  switch (tag) {
    case TAG.isoDate:
      if (kind !== MAJOR.text) throw from.refuse("a broken date");
      break;
    case TAG.epochDate:
      // Must be a number. Floats have the same major type as true, false and null, which are refused here.
      if (kind > MAJOR.negative && (head & 31) < INFO.half) throw from.refuse("a broken date");
      break;
    case TAG.bigUint:
    case TAG.bigNegative: {
      const before = from.left;
      if (kind !== MAJOR.bytes) throw from.refuse("a broken integer");
      checkCbor(from);
      if (before - from.left > BIG_BYTES_MAX) throw from.refuse("a broken integer");
      return;
    }
    case TAG.described:
      break;
    default:
      throw from.refuse(`unsupported tag ${tag}`);
  }
  checkCbor(from);
}
