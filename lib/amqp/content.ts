/**
 * Messages put together from their frames: the method that carries content, its header, its body.
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

/** A message that was received, by delivery, get or return. */
export interface AmqpMessage {
  /** `basic.deliver`, `basic.get-ok` or `basic.return`, with its arguments. */
  readonly call: AmqpCall;
  /** Null where they could not be read; `error` says why. */
  readonly properties: AmqpProperties | null;
  readonly error: ProtocolError | null;
  /** Its own copy; of short JSON in ASCII, as most calls are, the text: it is read next, and costs less than bytes. */
  readonly body: Uint8Array | string;
}

/** The largest body accepted: RabbitMQ's own greatest `max_message_size`. */
const BODY_BYTES_MAX = 512 * 1024 * 1024;
/** Bodies up to this are allocated at once; larger ones grow with what comes. */
const ALLOCATED_BYTES_MAX = 1024 * 1024;

/** Puts together the messages of one channel, one after the other. */
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

  /** A method with content has come. */
  begin(call: AmqpCall): void {
    this.#call = call;
    this.#hasHead = false;
    this.#properties = null;
    this.#error = null;
  }

  /** A header frame; the message where its body is empty, else null. Throws ProtocolError. */
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
      // The frames after it are in order: one message is unreadable, not the connection.
      if (!(error instanceof ProtocolError)) throw error;
      this.#error = error;
    }
    this.#size = bodySize;
    this.#length = 0;
    this.#body = EMPTY;
    return bodySize === 0 ? this.#end(EMPTY) : null;
  }

  /** A body frame; the message where it was the last one, else null. Throws ProtocolError. */
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
