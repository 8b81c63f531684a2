/**
 * Unpacks the .xz format: streams of LZMA2 blocks, checked by CRC32 or CRC64; other checks are skipped. Other
 * filters, most of them for executables, and Python's older ".lzma" are not supported.
 *
 * Source: the .xz file format 1.2.1.
 */

import { nodeZlib } from "../../base/mod.ts";
import { unpackLzma2 } from "./lzma.ts";
import { BrokenData, Unpacked } from "./unpacked.ts";

const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const LZMA2_FILTER = 0x21;
/** The size of a check in bytes, by its kind. */
const CHECK_BYTES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const CRC32 = 1;
const CRC64 = 4;
/** The maximum size of an integer in bytes. */
const NUMBER_BYTES_MAX = 9;

/** Unpacks at most `bytesMax` bytes. Throws BrokenData, or DecodeError beyond the limit. */
export function unpackXz(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const output = new Unpacked(bytesMax);
  const reader = new Reader(bytes);
  do {
    readStream(reader, output);
    while (reader.at < bytes.length && bytes[reader.at] === 0) {
      if (reader.word() !== 0) throw new BrokenData("padding that is not zeros");
    }
  } while (reader.at < bytes.length);
  return output.since(0);
}

class Reader {
  at = 0;
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new BrokenData("ends early");
    return byte;
  }

  /** Reads 32 bits, little endian. */
  word(): number {
    if (this.at + 4 > this.bytes.length) throw new BrokenData("ends early");
    this.at += 4;
    return this.#view.getUint32(this.at - 4, true);
  }

  /** Reads an integer with seven bits per byte. */
  number(): number {
    let value = 0;
    for (let n = 0; n < NUMBER_BYTES_MAX; n++) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** (7 * n);
      if (byte < 0x80) return value;
    }
    throw new BrokenData("a number without an end");
  }

  /** Reads zeros up to the next multiple of four bytes since `from`. */
  padding(from: number): void {
    while ((this.at - from) % 4 !== 0) {
      if (this.byte() !== 0) throw new BrokenData("padding that is not zeros");
    }
  }

  /** Reads a CRC32 and compares it with that of the bytes since `from`. */
  checked(from: number): void {
    const crc = nodeZlib().crc32(this.bytes.subarray(from, this.at));
    if (this.word() !== crc) throw new BrokenData("a header's checksum");
  }
}

function readStream(reader: Reader, output: Unpacked): void {
  for (const byte of MAGIC) if (reader.byte() !== byte) throw new BrokenData("no .xz");
  const flagsAt = reader.at;
  if (reader.byte() !== 0) throw new BrokenData("unknown flags");
  const check = reader.byte();
  if (check > 15) throw new BrokenData("unknown flags");
  reader.checked(flagsAt);
  let blocks = 0;
  while (reader.bytes[reader.at] !== 0) {
    readBlock(reader, output, check);
    blocks++;
  }
  readIndex(reader, blocks);
  const crc = reader.word();
  const footerAt = reader.at;
  reader.word();
  if (reader.byte() !== 0 || reader.byte() !== check) throw new BrokenData("another end than beginning");
  if (nodeZlib().crc32(reader.bytes.subarray(footerAt, reader.at)) !== crc) throw new BrokenData("the end");
  if (reader.byte() !== 0x59 || reader.byte() !== 0x5a) throw new BrokenData("no end");
}

function readBlock(reader: Reader, output: Unpacked, check: number): void {
  const from = reader.at;
  const headerEnd = from + reader.byte() * 4;
  const flags = reader.byte();
  if ((flags & 0x3f) !== 0) throw new BrokenData("other filters than LZMA2");
  if ((flags & 0x40) !== 0) reader.number();
  const size = (flags & 0x80) === 0 ? null : reader.number();
  if (reader.number() !== LZMA2_FILTER || reader.number() !== 1) {
    throw new BrokenData("other filters than LZMA2");
  }
  reader.byte();
  if (reader.at > headerEnd) throw new BrokenData("a short header");
  reader.at = headerEnd;
  reader.checked(from);
  const start = output.length;
  reader.at = unpackLzma2(reader.bytes, reader.at, output);
  if (size !== null && output.length - start !== size) throw new BrokenData("another size");
  reader.padding(from);
  const made = output.since(start);
  if (check === CRC32) {
    if (reader.word() !== nodeZlib().crc32(made)) throw new BrokenData("a checksum");
  } else if (check === CRC64) {
    const [low, high] = crc64(made);
    if (reader.word() !== low || reader.word() !== high) throw new BrokenData("a checksum");
  } else for (let n = CHECK_BYTES[check]!; n > 0; n--) reader.byte();
}

function readIndex(reader: Reader, blocks: number): void {
  const from = reader.at;
  reader.byte();
  if (reader.number() !== blocks) throw new BrokenData("another number of blocks");
  for (let n = 0; n < blocks; n++) {
    reader.number();
    reader.number();
  }
  reader.padding(from);
  reader.checked(from);
}

/** The entries in two halves, so that no bigint is allocated per byte. */
interface Crc64Table {
  readonly low: Uint32Array;
  readonly high: Uint32Array;
}

/** Null until a CRC64 is checked, so that no start pays for it. */
let crc64Table: Crc64Table | null = null;

function makeCrc64Table(): Crc64Table {
  const table = { low: new Uint32Array(256), high: new Uint32Array(256) };
  for (let n = 0; n < 256; n++) {
    let low = n;
    let high = 0;
    for (let bit = 0; bit < 8; bit++) {
      const isOdd = (low & 1) === 1;
      low = (low >>> 1 | high << 31) >>> 0;
      high >>>= 1;
      if (isOdd) {
        low = (low ^ 0xd7870f42) >>> 0;
        high = (high ^ 0xc96c5795) >>> 0;
      }
    }
    table.low[n] = low;
    table.high[n] = high;
  }
  return table;
}

/** Computes the reflected CRC of ECMA-182; returns its lower and upper 32 bits. */
function crc64(bytes: Uint8Array): [low: number, high: number] {
  const table = crc64Table ??= makeCrc64Table();
  let low = 0xffffffff;
  let high = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) {
    const entry = (low ^ bytes[at]!) & 0xff;
    low = ((low >>> 8 | high << 24) ^ table.low[entry]!) >>> 0;
    high = (high >>> 8 ^ table.high[entry]!) >>> 0;
  }
  return [~low >>> 0, ~high >>> 0];
}
