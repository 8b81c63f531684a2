/**
 * Unpacks the bzip2 format: consecutive streams, whose blocks have checksums. Apart from the output, one
 * block of at most 900,000 entries is in memory.
 *
 * Source: the format as libbz2 1.0.8 reads it (decompress.c, huffman.c, blocksort.c).
 */

import { BrokenData, Unpacked } from "./unpacked.ts";

const BLOCK_UNIT = 100_000;
const BLOCK_MAGIC = 0x314159265359;
const END_MAGIC = 0x177245385090;
/** The number of symbols that use one table. */
const GROUP_SIZE = 50;
const TABLES_MIN = 2;
const TABLES_MAX = 6;
const CODE_BITS_MAX = 20;
/** The two symbols that encode the length of a run. */
const RUN_A = 0;
const RUN_B = 1;
/** After this many equal bytes, a byte follows with the number of further ones. */
const RUN_MIN = 4;

/** Unpacks at most `bytesMax` bytes. Throws BrokenData, or DecodeError beyond the limit. */
export function unpackBzip2(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const output = new Unpacked(bytesMax);
  const bits = new Bits(bytes);
  do readStream(bits, output); while (!bits.isEnded);
  return output.since(0);
}

/** Reads bits, the highest bit of a byte first. */
class Bits {
  #bytes: Uint8Array;
  #at = 0;
  #held = 0;
  #count = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isEnded(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Reads up to 24 bits. */
  read(count: number): number {
    while (this.#count < count) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new BrokenData("ends early");
      this.#held = (this.#held << 8 | byte) & 0xffffffff;
      this.#count += 8;
    }
    this.#count -= count;
    return this.#held >>> this.#count & (1 << count) - 1;
  }

  /** Reads 24 to 48 bits. */
  readLong(count: number): number {
    const high = this.read(count - 24);
    return high * 2 ** 24 + this.read(24);
  }

  /** Skips to the next byte boundary. */
  skip(): void {
    this.#count -= this.#count % 8;
  }
}

function readStream(bits: Bits, output: Unpacked): void {
  if (bits.read(24) !== 0x425a68) throw new BrokenData("no bzip2");
  const level = bits.read(8) - 0x30;
  if (level < 1 || level > 9) throw new BrokenData("no bzip2");
  const block = new Uint32Array(level * BLOCK_UNIT);
  let combined = 0;
  for (;;) {
    const magic = bits.readLong(48);
    const crc = bits.readLong(32);
    if (magic === END_MAGIC) {
      if (crc !== combined) throw new BrokenData("a checksum");
      return bits.skip();
    }
    if (magic !== BLOCK_MAGIC) throw new BrokenData("no block");
    const start = output.length;
    readBlock(bits, block, output);
    if (crc32(output.since(start)) !== crc) throw new BrokenData("a checksum");
    combined = ((combined << 1 | combined >>> 31) ^ crc) >>> 0;
  }
}

function readBlock(bits: Bits, block: Uint32Array, output: Unpacked): void {
  if (bits.read(1) === 1) throw new BrokenData("a block of bzip2 0.9");
  const origin = bits.read(24);
  const symbols = readSymbols(bits);
  const tableCount = bits.read(3);
  if (tableCount < TABLES_MIN || tableCount > TABLES_MAX) throw new BrokenData("no tables");
  const selectors = readSelectors(bits, tableCount);
  const tables: Table[] = [];
  for (let n = 0; n < tableCount; n++) tables.push(readTable(bits, symbols.length + 2));
  const counts = new Uint32Array(256);
  const length = readRuns(bits, { symbols, selectors, tables }, block, counts);
  if (origin >= length) throw new BrokenData("an origin out of bounds");
  invert(block, length, counts);
  writeRuns(block, length, origin, output);
}

/** Reads the bytes that occur, in ascending order. */
function readSymbols(bits: Bits): number[] {
  const symbols: number[] = [];
  const groups = bits.read(16);
  for (let group = 0; group < 16; group++) {
    if ((groups >> (15 - group) & 1) === 0) continue;
    const used = bits.read(16);
    for (let n = 0; n < 16; n++) if (used >> (15 - n) & 1) symbols.push(group * 16 + n);
  }
  if (symbols.length === 0) throw new BrokenData("no symbols");
  return symbols;
}

/** Reads which table each group of symbols uses. */
function readSelectors(bits: Bits, tableCount: number): Uint8Array {
  const count = bits.read(15);
  if (count === 0) throw new BrokenData("no selectors");
  const selectors = new Uint8Array(count);
  const order = Array.from({ length: tableCount }, (_, n) => n);
  for (let n = 0; n < count; n++) {
    let place = 0;
    while (bits.read(1) === 1) if (++place >= tableCount) throw new BrokenData("no such table");
    const [table] = order.splice(place, 1);
    order.unshift(table!);
    selectors[n] = table!;
  }
  return selectors;
}

/**
 * A canonical code: for each code length, the last code (`limits`) and the difference between a code and its
 * index in `order` (`offsets`).
 */
interface Table {
  readonly min: number;
  readonly max: number;
  readonly limits: Int32Array;
  readonly offsets: Int32Array;
  readonly order: Uint16Array;
}

function readTable(bits: Bits, size: number): Table {
  const lengths = new Uint8Array(size);
  let length = bits.read(5);
  for (let n = 0; n < size; n++) {
    for (;;) {
      if (length < 1 || length > CODE_BITS_MAX) throw new BrokenData("no code");
      if (bits.read(1) === 0) break;
      length += bits.read(1) === 0 ? 1 : -1;
    }
    lengths[n] = length;
  }
  const counts = new Uint16Array(CODE_BITS_MAX + 2);
  for (const one of lengths) counts[one]!++;
  const order = new Uint16Array(size);
  const limits = new Int32Array(CODE_BITS_MAX + 1).fill(-1);
  const offsets = new Int32Array(CODE_BITS_MAX + 1);
  let place = 0;
  let code = 0;
  for (let bitCount = 1; bitCount <= CODE_BITS_MAX; bitCount++) {
    offsets[bitCount] = code - place;
    for (let n = 0; n < size; n++) if (lengths[n] === bitCount) order[place++] = n;
    code += counts[bitCount]!;
    if (counts[bitCount]! > 0) limits[bitCount] = code - 1;
    code <<= 1;
  }
  return { min: Math.min(...lengths), max: Math.max(...lengths), limits, offsets, order };
}

function readSymbol(bits: Bits, { min, max, limits, offsets, order }: Table): number {
  let code = bits.read(min);
  for (let count = min; count <= max; count++) {
    if (limits[count]! >= 0 && code <= limits[count]!) {
      const symbol = order[code - offsets[count]!];
      if (symbol !== undefined) return symbol;
      break;
    }
    code = code << 1 | bits.read(1);
  }
  throw new BrokenData("no such code");
}

/**
 * Reads runs and move-to-front symbols into the lowest byte of each entry of `block`. Returns the number of
 * entries and counts them by byte.
 */
function readRuns(
  bits: Bits,
  { symbols, selectors, tables }: { symbols: number[]; selectors: Uint8Array; tables: Table[] },
  block: Uint32Array,
  counts: Uint32Array,
): number {
  const order = Uint8Array.from(symbols);
  const end = symbols.length + 1;
  let length = 0;
  let run = 0;
  let weight = 1;
  for (let group = 0;; group++) {
    const table = tables[selectors[group] ?? -1];
    if (table === undefined) throw new BrokenData("too few selectors");
    for (let n = 0; n < GROUP_SIZE; n++) {
      const symbol = readSymbol(bits, table);
      if (symbol === RUN_A || symbol === RUN_B) {
        run += symbol === RUN_A ? weight : 2 * weight;
        weight *= 2;
        if (run > block.length) throw new BrokenData("too long a run");
        continue;
      }
      if (run > 0) {
        if (length + run > block.length) throw new BrokenData("too long a block");
        block.fill(order[0]!, length, length + run);
        counts[order[0]!]! += run;
        length += run;
        run = 0;
        weight = 1;
      }
      if (symbol === end) return length;
      const byte = order[symbol - 1]!;
      order.copyWithin(1, 0, symbol - 1);
      order[0] = byte;
      if (length >= block.length) throw new BrokenData("too long a block");
      block[length++] = byte;
      counts[byte]!++;
    }
  }
}

/**
 * Inverts the Burrows-Wheeler transform: stores the index of each byte's successor in the upper bits of its
 * entry.
 */
function invert(block: Uint32Array, length: number, counts: Uint32Array): void {
  const places = new Uint32Array(256);
  for (let byte = 1; byte < 256; byte++) places[byte] = places[byte - 1]! + counts[byte - 1]!;
  for (let n = 0; n < length; n++) block[places[block[n]! & 0xff]!++]! |= n << 8;
}

/** Follows the block from `origin` and writes its bytes with runs expanded. */
function writeRuns(block: Uint32Array, length: number, origin: number, output: Unpacked): void {
  let next = block[origin]! >>> 8;
  let previous = -1;
  let equal = 0;
  for (let n = 0; n < length; n++) {
    const entry = block[next]!;
    const byte = entry & 0xff;
    next = entry >>> 8;
    if (equal === RUN_MIN) {
      output.room(byte);
      output.bytes.fill(previous, output.length, output.length + byte);
      output.length += byte;
      equal = 0;
      continue;
    }
    equal = byte === previous ? equal + 1 : 1;
    previous = byte;
    output.room(1);
    output.bytes[output.length++] = byte;
  }
}

/** Null until a block is read, so that no start pays for it. */
let crcTable: Uint32Array | null = null;

function makeCrcTable(): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, n) => {
    let crc = n << 24;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? crc << 1 ^ 0x04c11db7 : crc << 1;
    return crc >>> 0;
  });
}

/** Computes CRC-32, highest bit first. */
function crc32(bytes: Uint8Array): number {
  const table = crcTable ??= makeCrcTable();
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) {
    crc = (crc << 8 ^ table[crc >>> 24 ^ bytes[at]!]!) >>> 0;
  }
  return ~crc >>> 0;
}
