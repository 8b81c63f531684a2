/**
 * AMQP frames from bytes, fed in chunks of any size, and to bytes.
 *
 * Pure: no socket, no clock, no promise. A frame that lies whole in a chunk is handed on where it lies; only one that
 * is split is copied, into a buffer that is never larger than `frameMax`.
 *
 * Source: AMQP 0-9-1 specification 4.2.3 General Frame Format, 4.2.2 Protocol Header.
 */

import { type Outbox, ProtocolError } from "../../base/mod.ts";
import { AMQP_FRAME_END, AMQP_FRAME_OVERHEAD, AMQP_FRAMES } from "./spec.ts";
import { writeLong, writeShort } from "./table.ts";

/** Who hears of frames. Called synchronously from `feed`. */
export interface AmqpFrameSink {
  /** One frame. `payload` lies in the buffer that was fed: it is free again when this returns. */
  onFrame(type: number, channel: number, payload: Uint8Array): void;
}

/** Until a connection is tuned, frames are at most this: what a server greets with is far smaller. */
const FIRST_FRAME_MAX = 131_072;
/** The largest frame accepted from a server that knows no limit. */
export const AMQP_FRAME_MAX = 16 * 1024 * 1024;
const HEAD_BYTES = 7;
const LETTER_A = 65;
/** How a TLS port answers what is not TLS. */
const [TLS_ALERT, TLS_HANDSHAKE] = [21, 22];

/**
 * The decoder of one connection. After a ProtocolError it is of no use any more and its connection is to be closed.
 */
export class AmqpFrameDecoder {
  /** Whole frames, head and end included, are at most this many bytes. */
  #frameMax = FIRST_FRAME_MAX;
  #sink: AmqpFrameSink;
  /** The beginning of a frame that is not complete. */
  #kept = new Uint8Array(4096);
  #keptLength = 0;
  #isFirst = true;

  constructor(sink: AmqpFrameSink) {
    this.#sink = sink;
  }

  /** Sets what was agreed on; 0: the server knows no limit. */
  setFrameMax(bytes: number): void {
    this.#frameMax = bytes === 0 ? AMQP_FRAME_MAX : Math.min(bytes, AMQP_FRAME_MAX);
  }

  /**
   * Takes a chunk. Throws ProtocolError on a frame of an unknown type, a size beyond `frameMax`, a wrong end, or a
   * server that greets with another protocol. Data lane: per chunk.
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
      this.#hand(chunk, at, size);
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at);
  }

  /** Completes the kept frame; the position after it in the chunk, or -1 where it is not complete yet. */
  #complete(chunk: Uint8Array): number {
    let at = 0;
    if (this.#keptLength < HEAD_BYTES) {
      at = Math.min(HEAD_BYTES - this.#keptLength, chunk.length);
      this.#append(chunk, 0, at);
      if (this.#keptLength < HEAD_BYTES) {
        this.#looksRight(this.#kept, 0);
        return -1;
      }
    }
    const size = this.#sizeAt(this.#kept, 0);
    const missing = size + AMQP_FRAME_OVERHEAD - this.#keptLength;
    const count = Math.min(missing, chunk.length - at);
    this.#append(chunk, at, count);
    if (count < missing) return -1;
    this.#keptLength = 0;
    this.#hand(this.#kept, 0, size);
    return at + count;
  }

  #keep(chunk: Uint8Array, at: number): void {
    this.#looksRight(chunk, at);
    this.#append(chunk, at, chunk.length - at);
  }

  #append(chunk: Uint8Array, at: number, count: number): void {
    const needed = this.#keptLength + count;
    if (needed > this.#kept.length) {
      // Grows with what has come, not with what a frame claims.
      const grown = new Uint8Array(Math.max(needed, this.#kept.length * 2));
      grown.set(this.#kept.subarray(0, this.#keptLength));
      this.#kept = grown;
    }
    this.#kept.set(chunk.subarray(at, at + count), this.#keptLength);
    this.#keptLength = needed;
  }

  /** A wrong first octet is told at once, not only when seven have come. */
  #looksRight(bytes: Uint8Array, at: number): void {
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
    this.#looksRight(bytes, at);
    const size = (bytes[at + 3]! * 0x100_0000) +
      ((bytes[at + 4]! << 16) | (bytes[at + 5]! << 8) | bytes[at + 6]!);
    if (size + AMQP_FRAME_OVERHEAD > this.#frameMax) {
      throw new ProtocolError(
        `Cannot read an AMQP frame: it claims ${size} bytes, and at most ${this.#frameMax} were agreed on`,
      );
    }
    return size;
  }

  #hand(bytes: Uint8Array, at: number, size: number): void {
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

/** Begins a frame; the position for `endFrame`. */
export function beginFrame(outbox: Outbox, type: number, channel: number): number {
  outbox.byte(type);
  writeShort(outbox, channel);
  return outbox.skip(4);
}

/** Ends a frame begun at `at`: its size is known now. */
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

/** A server that does not speak 0-9-1 answers with the header of what it speaks, and hangs up. */
function foreignProtocol(head: Uint8Array): ProtocolError {
  if (head[1] !== 77 || head[2] !== 81 || head[3] !== 80) {
    return new ProtocolError("Cannot speak AMQP 0-9-1: the server speaks another protocol");
  }
  const version = head[4] === 0 ? `${head[5]}-${head[6]}` : `${head[5]}.${head[6]} (protocol id ${head[4]})`;
  return new ProtocolError(`Cannot speak AMQP 0-9-1: the server asks for version ${version}`);
}
