/**
 * Messages that are not runnable tasks: one clear line each, and their settlement.
 *
 * Celery rejects unknown and invalid tasks and acknowledges what it cannot decode; either way the message is gone.
 * Here each goes to the broker's dead letters with its reason where the transport has some (`lovage dead list`), and
 * is settled as Celery settles it where not.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py on_unknown_message, on_unknown_task, on_invalid_task,
 * on_decode_error; protocol.md 8.1, 8.9.
 */

import { errorText } from "../base/mod.ts";
import type { Delivery, Undecodable } from "../transport/mod.ts";
import {
  ContentDisallowed,
  DecodeError,
  decodeProtocol1,
  decodeTaskBody,
  type EncodedMessage,
  InvalidTaskError,
  NotRegistered,
  type TaskHeaders,
  WorkerLostError,
} from "../wire/mod.ts";
import type { LaneParts } from "./lane_parts.ts";
import type { Request } from "./request.ts";
import { advance, RequestState } from "./request_states.ts";
import { decodeError, invalidTask, truncate, unknownMessage, unknownTask } from "./texts.ts";

const BODY_CHARS_MAX = 1024;

/** How a refused message is settled where there are no dead letters. */
type Fallback = "ack" | "drop";

/** Tells of messages that are no tasks, and settles them. */
export class Refusals {
  #parts: LaneParts;

  constructor(parts: LaneParts) {
    this.#parts = parts;
  }

  /** What arrived is no message: a broken envelope, wrong base64. */
  broken(message: Undecodable): void {
    this.#parts.world.log.critical(decodeError(message.reason, {
      type: "None",
      encoding: "None",
      headers: "None",
      body: `${truncate(message.text, BODY_CHARS_MAX)} (${message.text.length}b)`,
    }));
    this.#settle(message.tag, message.reason, "ack");
  }

  /** A content type outside `accept_content`. */
  disallowed(delivery: Delivery): void {
    const type = delivery.message.contentType;
    this.#undecodable(delivery, `Refusing to deserialize disallowed content of type ${type}`);
  }

  /** A task that nobody has registered here. Its result is FAILURE, as in Celery. */
  unknownTask(delivery: Delivery, name: string): void {
    const { message, info } = delivery;
    this.#parts.world.log.error(
      unknownTask(name, bodyText(message), JSON.stringify(message.headers), JSON.stringify(info)),
    );
    this.#settle(delivery.tag, `Unregistered task of type '${name}'`, "drop");
    const id = message.headers["id"] ?? message.properties.correlationId;
    if (typeof id !== "string" || id === "") return;
    const error = new NotRegistered(name);
    this.#parts.aside.failMessage(message, id, error);
    const events = this.#parts.events;
    if (events !== null && events.isEnabled) {
      events.message("task-failed", { uuid: id, exception: `NotRegistered('${name}')` });
    }
    this.#parts.signals.taskUnknown?.(name, id);
  }

  /** Headers or arguments that cannot be a task's. `error` is what was thrown, or its text. */
  invalidTask(delivery: Delivery, error: unknown): void {
    if (error instanceof DecodeError) return this.#undecodable(delivery, errorText(error));
    const reason = typeof error === "string" ? error : errorText(error);
    this.#parts.world.log.error(invalidTask(reason, bodyText(delivery.message)));
    this.#settle(delivery.tag, `Invalid task message: ${reason}`, "drop");
    this.#parts.signals.taskRejected?.(delivery.message, reason);
  }

  /**
   * Decodes a message that did not look like a task's. Gives its headers where it is one after all (protocol 1, a
   * body with spaces at its ends); settles it, tells of it and gives null where not.
   */
  fullLook(delivery: Delivery, task: TaskHeaders | null): TaskHeaders | null {
    const { message } = delivery;
    const accept = this.#parts.options.accept;
    try {
      const old = task === null || looksLikeObject(message) ? decodeProtocol1(message, accept) : null;
      if (old !== null) return old.headers;
      if (task === null) {
        this.#unknownMessage(delivery);
        return null;
      }
      decodeTaskBody(message, accept);
      return task;
    } catch (error) {
      if (error instanceof ContentDisallowed) this.disallowed(delivery);
      else if (error instanceof DecodeError) this.#undecodable(delivery, errorText(error));
      else if (error instanceof InvalidTaskError) this.invalidTask(delivery, error);
      else throw error;
      return null;
    }
  }

  /** A late-acked message whose workers have died too often. */
  worn(request: Request): void {
    const attempts = request.delivery.attempts;
    const reason = `Worker exited prematurely ${attempts} times with ${request.human}`;
    this.#parts.world.log.error(`${reason}: it is kept in the dead letters`);
    advance(request, RequestState.done);
    this.#parts.state.bury(request, reason);
    this.#parts.aside.failMessage(request.delivery.message, request.id, new WorkerLostError(reason));
  }

  #unknownMessage(delivery: Delivery): void {
    const { message, info } = delivery;
    const report = `body: ${bodyText(message)}\n{content_type:'${message.contentType}' ` +
      `content_encoding:'${message.contentEncoding}'\n  delivery_info:${JSON.stringify(info)} ` +
      `headers=${JSON.stringify(message.headers)}}`;
    this.#parts.world.log.warning(unknownMessage(report));
    this.#settle(delivery.tag, "Unknown message: neither a task header nor a task in its body", "drop");
    this.#parts.signals.taskRejected?.(message, "unknown message");
  }

  #undecodable(delivery: Delivery, reason: string): void {
    const { message } = delivery;
    this.#parts.world.log.critical(decodeError(reason, {
      type: `'${message.contentType}'`,
      encoding: `'${message.contentEncoding}'`,
      headers: truncate(JSON.stringify(message.headers), BODY_CHARS_MAX),
      body: bodyText(message),
    }));
    this.#settle(delivery.tag, reason, "ack");
  }

  #settle(tag: number | string, reason: string, fallback: Fallback): void {
    const { state } = this.#parts;
    state.unsettled--;
    const consumer = state.consumer;
    if (consumer === null || consumer.bury(tag, truncate(reason.replaceAll("\n", " "), 200))) return;
    if (fallback === "ack") consumer.ack(tag);
    else consumer.reject(tag, "drop");
  }
}

/** True where the body, decoded, is likely an object: protocol 1, or the hybrid of both protocols. */
function looksLikeObject(message: EncodedMessage): boolean {
  const body = message.body;
  if (typeof body !== "string") return body[0] === 0x7b;
  // "{" begins base64 with "e" and one of w, x, y, z.
  return message.bodyEncoding === "base64" ? /^e[w-z]/.test(body) : body.startsWith("{");
}

/** At most 1024 characters of a body as Celery's reports show it, and its length in bytes. */
function bodyText(message: EncodedMessage): string {
  const body = message.body;
  let text: string;
  if (typeof body !== "string") text = new TextDecoder().decode(body.subarray(0, BODY_CHARS_MAX));
  else if (message.bodyEncoding === "none") text = body;
  else {
    try {
      text = atob(body.slice(0, BODY_CHARS_MAX * 2));
    } catch {
      // Wrong base64 is shown as it came.
      text = body;
    }
  }
  return `${truncate(text, BODY_CHARS_MAX)} (${body.length}b)`;
}
