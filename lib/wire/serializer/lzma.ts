/**
 * Unpacks LZMA2 data at once and within a limit. The output serves as the dictionary, so the size that a
 * header requests is never allocated.
 *
 * Source: the LZMA specification of the LZMA SDK 9.35; the .xz file format 1.2.1, section 5.3.1.
 */

import { BrokenData, type Unpacked } from "./unpacked.ts";

const STATES = 12;
const POSITION_STATES = 16;
const PROBABILITY_BITS = 11;
const PROBABILITY_INIT = 1 << (PROBABILITY_BITS - 1);
const MOVE_BITS = 5;
const RANGE_MIN = 2 ** 24;
/** The length of the shortest match. */
const MATCH_MIN = 2;
/** The number of probabilities of one literal context. */
const LITERAL_SIZE = 0x300;
const LENGTH_STATES = 4;
const SLOT_BITS = 6;
const ALIGN_BITS = 4;
const FULL_DISTANCE_END = 14;
const FULL_DISTANCES = 128;

/** The range decoder of one chunk. */
class RangeDecoder {
  #bytes: Uint8Array;
  #at: number;
  #range = 0xffffffff;
  #code = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    if (bytes.length < 5 || bytes[0] !== 0) throw new BrokenData("no range coder");
    this.#code = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
    this.#at = 5;
  }

  /** True if everything was read and nothing is left over. */
  get isEnded(): boolean {
    return this.#at === this.#bytes.length && this.#code === 0;
  }

  bit(probabilities: Uint16Array, index: number): number {
    const probability = probabilities[index]!;
    const bound = (this.#range >>> PROBABILITY_BITS) * probability;
    const isOne = this.#code >= bound;
    if (isOne) {
      this.#range -= bound;
      this.#code -= bound;
      probabilities[index] = probability - (probability >> MOVE_BITS);
    } else {
      this.#range = bound;
      probabilities[index] = probability + ((2 * PROBABILITY_INIT - probability) >> MOVE_BITS);
    }
    this.#normalize();
    return isOne ? 1 : 0;
  }

  direct(count: number): number {
    let value = 0;
    for (let n = 0; n < count; n++) {
      this.#range >>>= 1;
      const isOne = this.#code >= this.#range;
      if (isOne) this.#code -= this.#range;
      value = value * 2 + (isOne ? 1 : 0);
      this.#normalize();
    }
    return value;
  }

  tree(probabilities: Uint16Array, base: number, bits: number): number {
    let node = 1;
    for (let n = 0; n < bits; n++) node = node << 1 | this.bit(probabilities, base + node);
    return node - (1 << bits);
  }

  reverseTree(probabilities: Uint16Array, base: number, bits: number): number {
    let node = 1;
    let value = 0;
    for (let n = 0; n < bits; n++) {
      const bit = this.bit(probabilities, base + node);
      node = node << 1 | bit;
      value |= bit << n;
    }
    return value;
  }

  #normalize(): void {
    if (this.#range >= RANGE_MIN) return;
    if (this.#at >= this.#bytes.length) throw new BrokenData("ends early");
    this.#range = (this.#range << 8) >>> 0;
    this.#code = (this.#code << 8 | this.#bytes[this.#at++]!) >>> 0;
  }
}

/** Decodes the lengths of matches, for new ones or for repeated ones. */
class LengthDecoder {
  #choice = probabilities(2);
  #low = probabilities(POSITION_STATES << 3);
  #mid = probabilities(POSITION_STATES << 3);
  #high = probabilities(256);

  read(coder: RangeDecoder, positionState: number): number {
    if (coder.bit(this.#choice, 0) === 0) return coder.tree(this.#low, positionState << 3, 3);
    if (coder.bit(this.#choice, 1) === 0) return 8 + coder.tree(this.#mid, positionState << 3, 3);
    return 16 + coder.tree(this.#high, 0, 8);
  }
}

/** The state and probabilities that are kept from symbol to symbol. A reset creates a new one. */
class LzmaState {
  state = 0;
  distances: [number, number, number, number] = [0, 0, 0, 0];
  readonly isMatch = probabilities(STATES * POSITION_STATES);
  readonly isRepeat = probabilities(STATES);
  readonly isRepeat0 = probabilities(STATES);
  readonly isRepeat0Long = probabilities(STATES * POSITION_STATES);
  readonly isRepeat1 = probabilities(STATES);
  readonly isRepeat2 = probabilities(STATES);
  readonly slots = probabilities(LENGTH_STATES << SLOT_BITS);
  readonly special = probabilities(1 + FULL_DISTANCES - FULL_DISTANCE_END);
  readonly align = probabilities(1 << ALIGN_BITS);
  readonly lengths = new LengthDecoder();
  readonly repeatLengths = new LengthDecoder();
  readonly literals: Uint16Array;
  readonly literalContextBits: number;
  readonly literalPositionMask: number;
  readonly positionMask: number;

  /** `properties` is the byte in a header: (pb * 5 + lp) * 9 + lc. */
  constructor(readonly properties: number) {
    if (properties >= 9 * 5 * 5) throw new BrokenData("no properties");
    const rest = Math.floor(properties / 9);
    this.literalContextBits = properties % 9;
    const positionBits = rest % 5;
    if (this.literalContextBits + positionBits > 4) throw new BrokenData("no properties of LZMA2");
    this.literalPositionMask = (1 << positionBits) - 1;
    this.positionMask = (1 << Math.floor(rest / 5)) - 1;
    this.literals = probabilities(LITERAL_SIZE << (this.literalContextBits + positionBits));
  }
}

/** Unpacks one chunk to `size` bytes in `output`, whose bytes from `start` on are the dictionary. */
function unpackChunk(
  lzma: LzmaState,
  packed: Uint8Array,
  output: Unpacked,
  { start, size }: { start: number; size: number },
): void {
  const coder = new RangeDecoder(packed);
  output.room(size);
  const end = output.length + size;
  while (output.length < end) {
    const position = output.length - start;
    const positionState = position & lzma.positionMask;
    if (coder.bit(lzma.isMatch, lzma.state * POSITION_STATES + positionState) === 0) {
      readLiteral(lzma, coder, output, position);
      continue;
    }
    const length = readMatch(lzma, coder, positionState);
    const distance = lzma.distances[0] + 1;
    if (distance > position || length > end - output.length) throw new BrokenData("a match out of bounds");
    copyMatch(output, distance, length);
  }
  if (!coder.isEnded) throw new BrokenData("more than a chunk");
}

function readLiteral(lzma: LzmaState, coder: RangeDecoder, output: Unpacked, position: number): void {
  const { bytes } = output;
  const previous = position === 0 ? 0 : bytes[output.length - 1]!;
  const context = ((position & lzma.literalPositionMask) << lzma.literalContextBits) +
    (previous >> (8 - lzma.literalContextBits));
  const base = LITERAL_SIZE * context;
  let symbol = 1;
  if (lzma.state >= 7) {
    const distance = lzma.distances[0] + 1;
    if (distance > position) throw new BrokenData("a literal out of bounds");
    let matched = bytes[output.length - distance]!;
    while (symbol < 0x100) {
      const expected = matched >> 7 & 1;
      matched <<= 1;
      const bit = coder.bit(lzma.literals, base + ((1 + expected) << 8) + symbol);
      symbol = symbol << 1 | bit;
      if (expected !== bit) break;
    }
  }
  while (symbol < 0x100) symbol = symbol << 1 | coder.bit(lzma.literals, base + symbol);
  bytes[output.length++] = symbol;
  lzma.state = lzma.state < 4 ? 0 : lzma.state < 10 ? lzma.state - 3 : lzma.state - 6;
}

/** Reads a match, puts its distance first in the state's `distances`, and returns its length. */
function readMatch(lzma: LzmaState, coder: RangeDecoder, positionState: number): number {
  const { state, distances } = lzma;
  if (coder.bit(lzma.isRepeat, state) === 0) {
    const length = lzma.lengths.read(coder, positionState);
    lzma.state = state < 7 ? 7 : 10;
    lzma.distances = [readDistance(lzma, coder, length), distances[0], distances[1], distances[2]];
    return length + MATCH_MIN;
  }
  if (coder.bit(lzma.isRepeat0, state) === 0) {
    if (coder.bit(lzma.isRepeat0Long, state * POSITION_STATES + positionState) === 0) {
      lzma.state = state < 7 ? 9 : 11;
      return 1;
    }
  } else if (coder.bit(lzma.isRepeat1, state) === 0) {
    lzma.distances = [distances[1], distances[0], distances[2], distances[3]];
  } else if (coder.bit(lzma.isRepeat2, state) === 0) {
    lzma.distances = [distances[2], distances[0], distances[1], distances[3]];
  } else lzma.distances = [distances[3], distances[0], distances[1], distances[2]];
  const length = lzma.repeatLengths.read(coder, positionState);
  lzma.state = state < 7 ? 8 : 11;
  return length + MATCH_MIN;
}

function readDistance(lzma: LzmaState, coder: RangeDecoder, length: number): number {
  const slot = coder.tree(lzma.slots, Math.min(length, LENGTH_STATES - 1) << SLOT_BITS, SLOT_BITS);
  if (slot < 4) return slot;
  const bits = (slot >> 1) - 1;
  const base = (2 | slot & 1) * 2 ** bits;
  if (slot < FULL_DISTANCE_END) return base + coder.reverseTree(lzma.special, base - slot, bits);
  return base + coder.direct(bits - ALIGN_BITS) * (1 << ALIGN_BITS) +
    coder.reverseTree(lzma.align, 0, ALIGN_BITS);
}

function copyMatch(output: Unpacked, distance: number, length: number): void {
  const { bytes } = output;
  const to = output.length;
  if (distance >= length) bytes.copyWithin(to, to - distance, to - distance + length);
  else if (distance === 1) bytes.fill(bytes[to - 1]!, to, to + length);
  else for (let n = 0; n < length; n++) bytes[to + n] = bytes[to + n - distance]!;
  output.length = to + length;
}

function probabilities(count: number): Uint16Array {
  return new Uint16Array(count).fill(PROBABILITY_INIT);
}

/**
 * Unpacks LZMA2 chunks from `at` on into `output`. Returns the position after them. Throws BrokenData, or
 * DecodeError beyond the limit of `output`.
 */
export function unpackLzma2(bytes: Uint8Array, at: number, output: Unpacked): number {
  const word = (from: number) => {
    if (from + 1 >= bytes.length) throw new BrokenData("ends early");
    return bytes[from]! << 8 | bytes[from + 1]!;
  };
  let lzma: LzmaState | null = null;
  let start = -1;
  for (;;) {
    const control = bytes[at++];
    if (control === undefined) throw new BrokenData("ends early");
    if (control === 0) return at;
    if (control === 1 || control >= 0xe0) start = output.length;
    if (start < 0 || control > 2 && control < 0x80) throw new BrokenData("no chunk of LZMA2");
    if (control < 0x80) {
      const size = word(at) + 1;
      at += 2;
      if (at + size > bytes.length) throw new BrokenData("ends early");
      output.append(bytes.subarray(at, at + size));
      at += size;
      continue;
    }
    const size = ((control & 0x1f) << 16) + word(at) + 1;
    const packedSize = word(at + 2) + 1;
    at += 4;
    const reset = control >> 5 & 3;
    if (reset >= 2) lzma = new LzmaState(bytes[at++] ?? 255);
    else if (lzma === null) throw new BrokenData("no properties");
    else if (reset === 1) lzma = new LzmaState(lzma.properties);
    if (at + packedSize > bytes.length) throw new BrokenData("ends early");
    unpackChunk(lzma, bytes.subarray(at, at + packedSize), output, { start, size });
    at += packedSize;
  }
}
