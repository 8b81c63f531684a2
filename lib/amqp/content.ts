/**
 * Assembles messages from their frames: a method with content, its header and its body.
 *
 * Source: AMQP 0-9-1 specification 4.2.6.
 */

import { ProtocolError } from "../base/mod.ts";
import {
  type AmqpCall,
  type AmqpProperties,
  asciiText,
  JSON_TYPE,
  readContentHead,
  readProperties,
} from "../wire/mod.ts";

/** A received message, by deliver, get or return. */
export interface AmqpMessage {
  /** `basic.deliver`, `basic.get-ok` or `basic.return`, with its arguments. */
  readonly call: AmqpCall;
  /** Null if they could not be read; `error` is the reason. */
  readonly properties: AmqpProperties | null;
  readonly error: ProtocolError | null;
  /**
   * A copy of the body. JSON in ASCII that arrived in one frame, as most calls do, is a string, which is read
   * next anyway and costs less than bytes.
   */
  readonly body: Uint8Array | string;
}

/** The largest accepted body, which is the largest value of RabbitMQ's `max_message_size`. */
const BODY_BYTES_MAX = 512 * 1024 * 1024;
/** The buffer of a body up to this size is allocated at once; for a larger one it grows as bytes arrive. */
const ALLOCATED_BYTES_MAX = 1024 * 1024;

/** Assembles the messages of one channel, one after the other. */
export class ContentAssembler {
  #call: AmqpCall | null = null;
  #properties: AmqpProperties | null = null;
  #error: ProtocolError | null = null;
  #hasHead = false;
  #size = 0;
  #body: Uint8Array = EMPTY;
  #length = 0;

  /** True between a method with content and its last body frame. */
  get isOpen(): boolean {
    return this.#call !== null;
  }

  /** Starts a message with a method that has content. */
  begin(call: AmqpCall): void {
    this.#call = call;
    this.#hasHead = false;
    this.#properties = null;
    this.#error = null;
  }

  /** Adds the header frame. Returns the message if its body is empty, else null. Throws ProtocolError. */
  head(payload: Uint8Array): AmqpMessage | null {
    if (this.#call === null || this.#hasHead) {
      throw new ProtocolError("Cannot read a content header out of turn");
    }
    this.#hasHead = true;
    const { bodySize, reader } = readContentHead(payload);
    if (bodySize > BODY_BYTES_MAX) {
      throw new ProtocolError(
        `Cannot read a message of ${bodySize} bytes: at most ${BODY_BYTES_MAX} are accepted`,
      );
    }
    try {
      this.#properties = readProperties(reader);
    } catch (error) {
      // The frames that follow are intact: only this message is unreadable, not the connection.
      if (!(error instanceof ProtocolError)) throw error;
      this.#error = error;
    }
    this.#size = bodySize;
    this.#length = 0;
    this.#body = EMPTY;
    return bodySize === 0 ? this.#end(EMPTY) : null;
  }

  /**
   * Adds a body frame. Returns the message if the frame was the last one, else null. Throws ProtocolError.
   */
  part(payload: Uint8Array): AmqpMessage | null {
    if (this.#call === null || !this.#hasHead) {
      throw new ProtocolError("Cannot read a message body out of turn");
    }
    const length = this.#length + payload.length;
    if (length > this.#size) {
      throw new ProtocolError(
        `Cannot read a message: its body is longer than the ${this.#size} bytes it claims`,
      );
    }
    if (payload.length === this.#size) {
      const isJson = this.#properties?.contentType === JSON_TYPE &&
        this.#properties.contentEncoding === "utf-8";
      return this.#end((isJson ? asciiText(payload, 0, payload.length) : null) ?? payload.slice());
    }
    this.#reserve(length);
    this.#body.set(payload, this.#length);
    this.#length = length;
    return length === this.#size ? this.#end(this.#body) : null;
  }

  #reserve(length: number): void {
    if (length <= this.#body.length) return;
    const wanted = this.#size <= ALLOCATED_BYTES_MAX
      ? this.#size
      : Math.min(this.#size, Math.max(length, this.#body.length * 2));
    const grown = new Uint8Array(wanted);
    grown.set(this.#body.subarray(0, this.#length));
    this.#body = grown;
  }

  #end(body: Uint8Array | string): AmqpMessage {
    const message = { call: this.#call!, properties: this.#properties, error: this.#error, body };
    this.#call = null;
    this.#properties = null;
    this.#body = EMPTY;
    return message;
  }
}

const EMPTY = new Uint8Array(0);
