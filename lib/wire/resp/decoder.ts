/**
 * Decodes Redis replies from bytes: RESP2 and RESP3, fed in chunks of any size.
 *
 * Pure: no socket, no clock, no promise. The part of an incomplete value that has arrived is kept, so that no
 * byte is decoded twice. A declared length allocates nothing until its bytes arrive.
 *
 * Source: Redis serialization protocol specification (RESP2, RESP3).
 */

import { ProtocolError } from "../../base/mod.ts";

/** A decoded value. Sets are arrays, verbatim strings come without their format, doubles are numbers. */
export type Reply =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | RespError
  | Reply[]
  | Map<Reply, Reply>;

/** An error reply of the server, as data. redis/errors.ts turns it into an error to throw. */
export class RespError {
  /** The first word, such as "ERR", "WRONGTYPE" or "NOSCRIPT". */
  readonly code: string;
  /** The whole text, including the code. */
  readonly text: string;
  constructor(text: string) {
    this.text = text;
    const space = text.indexOf(" ");
    this.code = space < 0 ? text : text.slice(0, space);
  }
}

/** Receives decoded values. Called synchronously from `feed`. */
export interface RespSink {
  /** Receives one reply, in the order of the commands. The value belongs to the receiver. */
  onReply(value: Reply): void;
  /** Receives one push message of RESP3; the first element is its kind. */
  onPush(items: Reply[]): void;
}

/** The options of a decoder. */
export interface RespDecoderOptions {
  /**
   * Decodes bulk strings to text (UTF-8, invalid bytes replaced) or to copies of their bytes; default "text".
   */
  readonly bulk?: "text" | "bytes";
  /** The maximum size of a bulk string in bytes; default 512 MiB, which is Redis's own limit. */
  readonly bulkBytesMax?: number;
}

const LINE_BYTES_MAX = 64 * 1024;
const BULK_BYTES_MAX = 512 * 1024 * 1024;
const ITEMS_MAX = 2 ** 31;
const DEPTH_MAX = 32;
/** Texts up to this length are decoded in a loop, which is faster than the runtime's decoder for them. */
const LOOP_BYTES_MAX = 16;

const CR = 13;
const LF = 10;
const MINUS = 45;

type FrameKind = "list" | "map" | "push" | "attribute";

interface Frame {
  readonly kind: FrameKind;
  left: number;
  readonly items: Reply[];
}

/**
 * The decoder of one connection. After a ProtocolError it must not be used any more, and its connection must
 * be closed.
 */
export class RespDecoder {
  #sink: RespSink;
  #isText: boolean;
  #bulkBytesMax: number;
  #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #stack: Frame[] = [];
  /** The size of the bulk string that is being read, without its line end; -1 while a line is read. */
  #bulkBytes = -1;
  #bulkType = 0;
  /** The part of the line or bulk string that has arrived so far. */
  #pending = new Uint8Array(256);
  #pendingLength = 0;

  constructor(sink: RespSink, options: RespDecoderOptions = {}) {
    this.#sink = sink;
    this.#isText = (options.bulk ?? "text") === "text";
    this.#bulkBytesMax = options.bulkBytesMax ?? BULK_BYTES_MAX;
  }

  /**
   * Decodes the values that `chunk` completes and keeps the rest. The chunk may be reused on return. Throws
   * ProtocolError on bytes that are not RESP or exceed a limit.
   */
  feed(chunk: Uint8Array): void {
    const end = chunk.length;
    let at = 0;
    while (at < end) at = this.#bulkBytes >= 0 ? this.#feedBulk(chunk, at) : this.#feedLine(chunk, at);
  }

  #feedLine(chunk: Uint8Array, start: number): number {
    const end = chunk.length;
    let lf = start;
    while (lf < end && chunk[lf] !== LF) lf++;
    if (lf === end) {
      this.#keep(chunk, start, end);
      if (this.#pendingLength > LINE_BYTES_MAX) this.#fail(`a line exceeds ${LINE_BYTES_MAX} bytes`);
      return end;
    }
    if (this.#pendingLength === 0) {
      this.#line(chunk, start, lf);
    } else {
      this.#keep(chunk, start, lf);
      const length = this.#pendingLength;
      this.#pendingLength = 0;
      this.#line(this.#pending, 0, length);
    }
    return lf + 1;
  }

  #feedBulk(chunk: Uint8Array, start: number): number {
    const whole = this.#bulkBytes + 2;
    const end = start + whole - this.#pendingLength;
    if (end > chunk.length) {
      this.#keep(chunk, start, chunk.length);
      return chunk.length;
    }
    let bytes = chunk;
    let from = start;
    if (this.#pendingLength > 0) {
      this.#keep(chunk, start, end);
      bytes = this.#pending;
      from = 0;
      this.#pendingLength = 0;
    }
    const to = from + this.#bulkBytes;
    if (bytes[to] !== CR || bytes[to + 1] !== LF) this.#fail("a bulk string does not end where it should");
    this.#bulkBytes = -1;
    const value = this.#bulkValue(bytes, from, to);
    // Drop a large buffer, which is rarely needed again.
    if (this.#pending.length > 1024 * 1024) this.#pending = new Uint8Array(256);
    this.#value(value);
    return end;
  }

  #bulkValue(bytes: Uint8Array, from: number, to: number): Reply {
    if (this.#bulkType === 0x21 /* ! */) return new RespError(this.#text(bytes, from, to));
    if (this.#bulkType === 0x3d /* = */) return this.#text(bytes, Math.min(from + 4, to), to);
    return this.#isText ? this.#text(bytes, from, to) : bytes.slice(from, to);
  }

  /**
   * Decodes one line without its line feed: `bytes[start]` is the type, and the last byte must be the
   * carriage return.
   */
  #line(bytes: Uint8Array, start: number, lf: number): void {
    const end = lf - 1;
    if (end <= start - 1 || bytes[end] !== CR) this.#fail("a line does not end in CR LF");
    const type = bytes[start]!;
    const from = start + 1;
    switch (type) {
      case 0x24: // $
      case 0x21: // !
      case 0x3d: // =
        return this.#openBulk(type, this.#length(bytes, from, end));
      case 0x2a: // *
        return this.#openFrame("list", this.#length(bytes, from, end));
      case 0x3a: // :
        return this.#value(this.#integer(bytes, from, end));
      case 0x2b: // +
        return this.#value(this.#text(bytes, from, end));
      case 0x2d: // -
        return this.#value(new RespError(this.#text(bytes, from, end)));
      case 0x7e: // ~
        return this.#openFrame("list", this.#length(bytes, from, end));
      case 0x25: // %
        return this.#openFrame("map", this.#length(bytes, from, end) * 2);
      case 0x3e: // >
        if (this.#stack.length > 0) this.#fail("a push message inside a value");
        return this.#openFrame("push", this.#length(bytes, from, end));
      case 0x7c: // |
        return this.#openFrame("attribute", this.#length(bytes, from, end) * 2);
      case 0x5f: // _
        return this.#value(null);
      case 0x23: // #
        return this.#value(bytes[from] === 0x74);
      case 0x2c: // ,
        return this.#value(this.#double(this.#text(bytes, from, end)));
      case 0x28: // (
        return this.#value(this.#bigNumber(this.#text(bytes, from, end)));
      default:
        this.#fail(`no value begins with byte ${type}`);
    }
  }

  #openBulk(type: number, length: number): void {
    if (length < 0) return this.#value(null);
    if (length > this.#bulkBytesMax) {
      this.#fail(`a bulk string of ${length} bytes exceeds ${this.#bulkBytesMax} bytes`);
    }
    this.#bulkType = type;
    this.#bulkBytes = length;
  }

  #openFrame(kind: FrameKind, length: number): void {
    if (length < 0) return this.#value(null);
    if (length > ITEMS_MAX) this.#fail(`${length} elements exceed ${ITEMS_MAX}`);
    if (this.#stack.length >= DEPTH_MAX) this.#fail(`values nest deeper than ${DEPTH_MAX}`);
    if (length === 0) return this.#finish(kind, []);
    this.#stack.push({ kind, left: length, items: [] });
  }

  #value(value: Reply): void {
    const frame = this.#stack[this.#stack.length - 1];
    if (frame === undefined) return this.#sink.onReply(value);
    frame.items.push(value);
    if (--frame.left > 0) return;
    this.#stack.pop();
    this.#finish(frame.kind, frame.items);
  }

  #finish(kind: FrameKind, items: Reply[]): void {
    switch (kind) {
      case "list":
        return this.#value(items);
      case "map": {
        const map = new Map<Reply, Reply>();
        for (let i = 0; i + 1 < items.length; i += 2) map.set(items[i]!, items[i + 1]!);
        return this.#value(map);
      }
      case "push":
        return this.#sink.onPush(items);
      case "attribute":
        // Attributes annotate the next value; they are ignored.
        return;
    }
  }

  #keep(chunk: Uint8Array, from: number, to: number): void {
    const needed = this.#pendingLength + (to - from);
    if (needed > this.#pending.length) {
      const grown = new Uint8Array(Math.max(needed, this.#pending.length * 2));
      grown.set(this.#pending.subarray(0, this.#pendingLength));
      this.#pending = grown;
    }
    this.#pending.set(chunk.subarray(from, to), this.#pendingLength);
    this.#pendingLength = needed;
  }

  #text(bytes: Uint8Array, from: number, to: number): string {
    if (to - from <= LOOP_BYTES_MAX) {
      let text = "";
      let i = from;
      for (; i < to; i++) {
        const byte = bytes[i]!;
        if (byte > 127) break;
        text += String.fromCharCode(byte);
      }
      if (i === to) return text;
    }
    return this.#utf8.decode(bytes.subarray(from, to));
  }

  /** Reads a declared length: -1 or a whole number. */
  #length(bytes: Uint8Array, from: number, to: number): number {
    if (bytes[from] === MINUS && bytes[from + 1] === 49 && to === from + 2) return -1;
    if (from === to || to - from > 15) this.#fail("a length is not a number");
    let value = 0;
    for (let i = from; i < to; i++) {
      const digit = bytes[i]! - 48;
      if (digit < 0 || digit > 9) this.#fail("a length is not a number");
      value = value * 10 + digit;
    }
    return value;
  }

  #integer(bytes: Uint8Array, from: number, to: number): number | bigint {
    const isNegative = bytes[from] === MINUS;
    const first = isNegative || bytes[from] === 43 ? from + 1 : from;
    if (first === to || to - first > 20) this.#fail("an integer is not a number");
    let value = 0;
    for (let i = first; i < to; i++) {
      const digit = bytes[i]! - 48;
      if (digit < 0 || digit > 9) this.#fail("an integer is not a number");
      value = value * 10 + digit;
    }
    if (value > Number.MAX_SAFE_INTEGER) {
      const exact = BigInt(this.#text(bytes, first, to));
      return isNegative ? -exact : exact;
    }
    return isNegative ? -value : value;
  }

  #double(text: string): number {
    if (text === "inf" || text === "+inf") return Infinity;
    if (text === "-inf") return -Infinity;
    if (text === "nan" || text === "-nan") return NaN;
    const value = Number(text);
    if (text === "" || Number.isNaN(value)) this.#fail("a double is not a number");
    return value;
  }

  #bigNumber(text: string): bigint {
    if (!/^[+-]?\d{1,4096}$/.test(text)) this.#fail("a big number is not a number");
    return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text.replace("+", ""));
  }

  #fail(why: string): never {
    throw new ProtocolError(`Cannot read the server's reply: ${why}`);
  }
}
