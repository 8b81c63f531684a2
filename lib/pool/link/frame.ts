/**
 * Frames between the worker and its slots: one codec for sockets and for postMessage.
 *
 * A frame is `u32 length | u8 type | u32 headBytes | u32 textBytes | head | text | tail`, little endian;
 * `length` counts the bytes after it. `head` is JSON, except for the commonest outcome (slot_message.ts).
 * `text` carries envelopes and documents unescaped, since escaping them again would cost more than the rest
 * of the frame. `tail` carries bytes. The format is private to one program: both ends are the same build.
 */

import { ProtocolError } from "../../base/mod.ts";

/** Frame types: below 16 to the slot, from 16 on from the slot. */
export const FRAME = {
  init: 1,
  jobs: 2,
  interrupt: 3,
  recall: 4,
  published: 5,
  stop: 6,
  journal: 7,
  hostOpen: 8,
  hostRelay: 9,
  hostKill: 10,
  hello: 16,
  ready: 17,
  failed: 18,
  outcome: 19,
  state: 20,
  event: 21,
  log: 22,
  publish: 23,
  memory: 24,
  journalled: 26,
  draining: 27,
  hostRelayed: 28,
  hostEnded: 29,
  group: 30,
  listens: 31,
} as const;

/** Maximum frame length, in bytes. A greater length means a broken stream. */
const FRAME_MAX = 1 << 30;
const HEADER = 13;
const FIRST_BYTES = 16 * 1024;
const GIVEN_AWAY_BYTES = 64 * 1024;
/**
 * A reader allocates at most this many bytes on the strength of a frame's length field alone, since anyone
 * may connect and announce a gigabyte.
 */
const PREALLOCATED_BYTES_MAX = 1024 * 1024;

/** One decoded frame. `tail` is a copy, or null if empty. */
export interface Frame {
  readonly type: number;
  /** JSON text, the head of a plain success, or "". */
  readonly head: string;
  readonly text: string;
  readonly tail: Uint8Array | null;
}

const encoder = new TextEncoder();
// Keep a byte order mark as an ordinary character: texts are cut by their lengths.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Encodes frames into one growing buffer. Per frame: two encodings, no promise. */
export class FrameWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Bytes appended since the last `take`. */
  get length(): number {
    return this.#length;
  }

  /**
   * Appends one frame and returns its bytes, valid until the next call. Throws ProtocolError if the frame
   * would be too large.
   */
  append(type: number, head: string, text = "", tail: Uint8Array | null = null): Uint8Array {
    const tailBytes = tail === null ? 0 : tail.length;
    const start = this.#length;
    try {
      return this.#append(type, head, text, tail, tailBytes);
    } catch (error) {
      // Drop the incomplete frame.
      this.#length = start;
      throw error;
    }
  }

  #append(type: number, head: string, text: string, tail: Uint8Array | null, tailBytes: number): Uint8Array {
    this.#reserve(HEADER + head.length + text.length + tailBytes);
    const start = this.#length;
    this.#length += HEADER;
    const headBytes = head === "" ? 0 : this.#text(head, text.length + tailBytes);
    const textBytes = text === "" ? 0 : this.#text(text, tailBytes);
    let at = this.#length;
    if (tail !== null) this.#bytes.set(tail, at);
    at += tailBytes;
    if (at - start - 4 > FRAME_MAX) throw new ProtocolError("Cannot write a frame of more than 1 GiB");
    this.#view.setUint32(start, at - start - 4, true);
    this.#bytes[start + 4] = type;
    this.#view.setUint32(start + 5, headBytes, true);
    this.#view.setUint32(start + 9, textBytes, true);
    this.#length = at;
    return this.#bytes.subarray(start, at);
  }

  /** Returns the appended bytes; the caller owns them. */
  take(): Uint8Array<ArrayBuffer> {
    const length = this.#length;
    this.#length = 0;
    if (length < GIVEN_AWAY_BYTES) return this.#bytes.slice(0, length);
    // Give a large buffer away: copying it would cost more than a new one, and a huge document would stay
    // allocated.
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = new Uint8Array(FIRST_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
    return taken;
  }

  /** Appends a text, makes sure that `more` bytes fit after it, and returns the text's length in bytes. */
  #text(text: string, more: number): number {
    // Most text is ASCII. Only for other text is the maximum that UTF-8 can take reserved.
    let { read, written } = encoder.encodeInto(text, this.#bytes.subarray(this.#length));
    if (read < text.length || this.#bytes.length - this.#length - written < more) {
      this.#reserve(text.length * 3 + more);
      ({ read, written } = encoder.encodeInto(text, this.#bytes.subarray(this.#length)));
    }
    this.#length += written;
    return written;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    let size = this.#bytes.length * 2;
    while (size < needed) size *= 2;
    const grown = new Uint8Array(size);
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Encodes a single frame; the caller owns the bytes. For rare frames. */
export function encodeFrame(
  type: number,
  head: string,
  text = "",
  tail: Uint8Array | null = null,
): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter();
  writer.append(type, head, text, tail);
  return writer.take();
}

/** Decodes frames from a stream that arrives in pieces of any length. */
export class FrameReader {
  #kept: Uint8Array | null = null;
  #keptLength = 0;
  #bytesMax: number;

  /** `bytesMax`: maximum frame length. */
  constructor(bytesMax: number = FRAME_MAX) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Takes a piece and calls `onFrame` for each complete frame. The caller may reuse the piece afterwards.
   * Throws ProtocolError if a length is out of range; the stream is unusable then.
   */
  feed(piece: Uint8Array, onFrame: (frame: Frame) => void): void {
    let bytes = piece;
    let length = piece.length;
    if (this.#kept !== null) {
      this.#keep(piece, 0);
      bytes = this.#kept;
      length = this.#keptLength;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    let at = 0;
    while (length - at >= 4) {
      const size = view.getUint32(at, true);
      if (size < HEADER - 4 || size > this.#bytesMax) {
        throw new ProtocolError(`Cannot read a frame of ${size} bytes`);
      }
      if (length - at - 4 < size) break;
      const headBytes = view.getUint32(at + 5, true);
      const textBytes = view.getUint32(at + 9, true);
      const headAt = at + HEADER, textAt = headAt + headBytes, tailAt = textAt + textBytes;
      const end = at + 4 + size;
      if (tailAt > end) throw new ProtocolError("Cannot read a frame: its parts are longer than it is");
      let head = "", text = "";
      if (tailAt > headAt) {
        // Most text is ASCII: then head and text are slices of one string, decoded in one call.
        const both = decoder.decode(bytes.subarray(headAt, tailAt));
        if (both.length === tailAt - headAt) {
          head = both.slice(0, headBytes);
          text = both.slice(headBytes);
        } else {
          head = decoder.decode(bytes.subarray(headAt, textAt));
          text = decoder.decode(bytes.subarray(textAt, tailAt));
        }
      }
      const frame: Frame = {
        type: bytes[at + 4]!,
        head,
        text,
        // A buffer that holds only this frame need not be copied.
        tail: tailAt === end
          ? null
          : bytes === this.#kept && at === 0 && end === length
          ? bytes.subarray(tailAt, end)
          : bytes.slice(tailAt, end),
      };
      at = end;
      onFrame(frame);
    }
    if (bytes === piece) {
      if (at < length) this.#keep(piece, at);
    } else if (at === length) {
      this.#kept = null;
      this.#keptLength = 0;
    } else if (at > 0) {
      bytes.copyWithin(0, at, length);
      this.#keptLength = length - at;
    }
  }

  #keep(piece: Uint8Array, from: number): void {
    const more = piece.length - from;
    const needed = this.#keptLength + more;
    if (this.#kept === null || this.#kept.length < needed) {
      // A large frame arrives in many pieces, and a piece must not cause a copy of all pieces before it. So
      // make room for the whole frame as soon as its length is known, else double the buffer.
      const whole = this.#kept === null && more >= 4 ? wholeBytes(piece, from) : 0;
      const grown = new Uint8Array(Math.max(needed, whole, (this.#kept?.length ?? 2048) * 2));
      if (this.#kept !== null) grown.set(this.#kept.subarray(0, this.#keptLength));
      this.#kept = grown;
    }
    this.#kept.set(piece.subarray(from), this.#keptLength);
    this.#keptLength = needed;
  }
}

/** Returns the total length of the frame that begins at `at`, at most PREALLOCATED_BYTES_MAX. */
function wholeBytes(piece: Uint8Array, at: number): number {
  const size = new DataView(piece.buffer, piece.byteOffset + at, 4).getUint32(0, true);
  return Math.min(size + 4, PREALLOCATED_BYTES_MAX);
}
