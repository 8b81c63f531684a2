/**
 * Decodes AMQP frames from bytes, fed in chunks of any size, and encodes them.
 *
 * Pure: no socket, no clock, no promise. A frame that is complete in one chunk is handed on without a copy.
 * Only a split frame is copied, into a buffer that grows with the bytes that arrive.
 *
 * Source: AMQP 0-9-1 specification 4.2.3 General Frame Format, 4.2.2 Protocol Header.
 */

import { type Outbox, ProtocolError } from "../../base/mod.ts";
import { AMQP_FRAME_END, AMQP_FRAME_OVERHEAD, AMQP_FRAMES } from "./spec.ts";
import { writeLong, writeShort } from "./table.ts";

/** Receives frames. Called synchronously from `feed`. */
export interface AmqpFrameSink {
  /** Receives one frame. `payload` is a view of the decoder's input and is valid until this returns. */
  onFrame(type: number, channel: number, payload: Uint8Array): void;
}

/** The maximum size of a frame before the connection is tuned; a server's greeting is far smaller. */
const FIRST_FRAME_MAX = 131_072;
/** The largest frame accepted from any server. */
export const AMQP_FRAME_MAX = 16 * 1024 * 1024;
const HEAD_BYTES = 7;
const LETTER_A = 65;
/** The first byte with which a TLS port answers a client without TLS. */
const [TLS_ALERT, TLS_HANDSHAKE] = [21, 22];

/**
 * The decoder of one connection. After a ProtocolError it must not be used any more, and its connection must
 * be closed.
 */
export class AmqpFrameDecoder {
  /** The maximum size of a frame in bytes, including its head and end. */
  #frameMax = FIRST_FRAME_MAX;
  #sink: AmqpFrameSink;
  /** The start of an incomplete frame. */
  #kept = new Uint8Array(4096);
  #keptLength = 0;
  #isFirst = true;

  constructor(sink: AmqpFrameSink) {
    this.#sink = sink;
  }

  /** Sets the agreed maximum; 0: the server sets no limit. */
  setFrameMax(bytes: number): void {
    this.#frameMax = bytes === 0 ? AMQP_FRAME_MAX : Math.min(bytes, AMQP_FRAME_MAX);
  }

  /**
   * Decodes a chunk. Throws ProtocolError on an unknown frame type, a size beyond the maximum, a wrong end
   * octet, or a server that greets with another protocol. Data lane: once per chunk.
   */
  feed(chunk: Uint8Array): void {
    let at = 0;
    if (this.#keptLength > 0) {
      at = this.#complete(chunk);
      if (at < 0) return;
    }
    while (chunk.length - at >= HEAD_BYTES) {
      const size = this.#sizeAt(chunk, at);
      const end = at + size + AMQP_FRAME_OVERHEAD;
      if (end > chunk.length) break;
      this.#deliver(chunk, at, size);
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at);
  }

  /**
   * Completes the kept frame. Returns the position after it in the chunk, or -1 if it is still incomplete.
   */
  #complete(chunk: Uint8Array): number {
    let at = 0;
    if (this.#keptLength < HEAD_BYTES) {
      at = Math.min(HEAD_BYTES - this.#keptLength, chunk.length);
      this.#append(chunk, 0, at);
      if (this.#keptLength < HEAD_BYTES) {
        this.#checkType(this.#kept, 0);
        return -1;
      }
    }
    const size = this.#sizeAt(this.#kept, 0);
    const missing = size + AMQP_FRAME_OVERHEAD - this.#keptLength;
    const count = Math.min(missing, chunk.length - at);
    this.#append(chunk, at, count);
    if (count < missing) return -1;
    this.#keptLength = 0;
    this.#deliver(this.#kept, 0, size);
    return at + count;
  }

  #keep(chunk: Uint8Array, at: number): void {
    this.#checkType(chunk, at);
    this.#append(chunk, at, chunk.length - at);
  }

  #append(chunk: Uint8Array, at: number, count: number): void {
    const needed = this.#keptLength + count;
    if (needed > this.#kept.length) {
      // Grows with the bytes that have arrived, not with the size that a frame claims.
      const grown = new Uint8Array(Math.max(needed, this.#kept.length * 2));
      grown.set(this.#kept.subarray(0, this.#keptLength));
      this.#kept = grown;
    }
    this.#kept.set(chunk.subarray(at, at + count), this.#keptLength);
    this.#keptLength = needed;
  }

  /**
   * Throws if the first octet is wrong. Checked at once, before all seven octets of the head have arrived.
   */
  #checkType(bytes: Uint8Array, at: number): void {
    const type = bytes[at]!;
    if (type === LETTER_A && this.#isFirst) return;
    if (
      type !== AMQP_FRAMES.method && type !== AMQP_FRAMES.header && type !== AMQP_FRAMES.body &&
      type !== AMQP_FRAMES.heartbeat
    ) {
      if (this.#isFirst && (type === TLS_ALERT || type === TLS_HANDSHAKE)) {
        throw new ProtocolError(
          "Cannot speak AMQP 0-9-1: the server speaks TLS; its URL begins with amqps://",
        );
      }
      throw new ProtocolError(`Cannot read an AMQP frame: unknown type ${type}`);
    }
  }

  #sizeAt(bytes: Uint8Array, at: number): number {
    if (bytes[at] === LETTER_A && this.#isFirst) throw foreignProtocol(bytes.subarray(at, at + HEAD_BYTES));
    this.#checkType(bytes, at);
    const size = (bytes[at + 3]! * 0x100_0000) +
      ((bytes[at + 4]! << 16) | (bytes[at + 5]! << 8) | bytes[at + 6]!);
    if (size + AMQP_FRAME_OVERHEAD > this.#frameMax) {
      throw new ProtocolError(
        `Cannot read an AMQP frame: it claims ${size} bytes, and at most ${this.#frameMax} were agreed on`,
      );
    }
    return size;
  }

  #deliver(bytes: Uint8Array, at: number, size: number): void {
    const start = at + HEAD_BYTES;
    if (bytes[start + size] !== AMQP_FRAME_END) {
      throw new ProtocolError("Cannot read an AMQP frame: it does not end where it says");
    }
    this.#isFirst = false;
    this.#sink.onFrame(
      bytes[at]!,
      (bytes[at + 1]! << 8) | bytes[at + 2]!,
      bytes.subarray(start, start + size),
    );
  }
}

/** Begins a frame. Returns the position for `endFrame`. */
export function beginFrame(outbox: Outbox, type: number, channel: number): number {
  outbox.byte(type);
  writeShort(outbox, channel);
  return outbox.skip(4);
}

/** Ends the frame that began at `at`, and writes its size. */
export function endFrame(outbox: Outbox, at: number): void {
  const size = outbox.length - at - 4;
  outbox.writeByte(at, size >>> 24);
  outbox.writeByte(at + 1, (size >>> 16) & 255);
  outbox.writeByte(at + 2, (size >>> 8) & 255);
  outbox.writeByte(at + 3, size & 255);
  outbox.byte(AMQP_FRAME_END);
}

/** Appends a heartbeat. */
export function encodeHeartbeat(outbox: Outbox): void {
  outbox.byte(AMQP_FRAMES.heartbeat);
  writeShort(outbox, 0);
  writeLong(outbox, 0);
  outbox.byte(AMQP_FRAME_END);
}

/**
 * Returns the error for a server that does not speak 0-9-1: it replies with the header of its own protocol
 * and closes.
 */
function foreignProtocol(head: Uint8Array): ProtocolError {
  if (head[1] !== 77 || head[2] !== 81 || head[3] !== 80) {
    return new ProtocolError("Cannot speak AMQP 0-9-1: the server speaks another protocol");
  }
  const version = head[4] === 0 ? `${head[5]}-${head[6]}` : `${head[5]}.${head[6]} (protocol id ${head[4]})`;
  return new ProtocolError(`Cannot speak AMQP 0-9-1: the server asks for version ${version}`);
}
