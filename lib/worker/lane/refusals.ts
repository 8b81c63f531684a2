/**
 * Messages that are not runnable tasks: logs each in one line and settles it.
 *
 * Celery rejects unknown and invalid tasks and acknowledges messages that it cannot decode; in both cases the
 * message is gone. Here each becomes a dead letter with its reason if the transport keeps dead letters
 * (`lovage dead list`), else it is settled as in Celery.
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py on_unknown_message, on_unknown_task, on_invalid_task,
 * on_decode_error; protocol.md 8.1, 8.9.
 */

import { errorText, type Log, logFrom } from "../../base/mod.ts";
import { hostLabel } from "../../metrics/mod.ts";
import type { Delivery, Undecodable } from "../../transport/mod.ts";
import {
  ContentDisallowed,
  DecodeError,
  decodeProtocol1,
  decodeTaskBody,
  type EncodedMessage,
  InvalidTaskError,
  MAIN_UNPACKED_BYTES_MAX,
  NotRegistered,
  shownJson,
  type TaskHeaders,
  WorkerLostError,
} from "../../wire/mod.ts";
import type { LaneParts } from "./parts.ts";
import { decodeError, invalidTask, truncate, unknownMessage, unknownTask } from "../texts.ts";

const BODY_CHARS_MAX = 1024;
const HEADERS_CHARS_MAX = 16 * 1024;

/** How a refused message is settled if the transport keeps no dead letters. */
type Fallback = "ack" | "drop";

/** Logs messages that are not tasks, and settles them. Its methods return null in place of a request. */
export class Refusals {
  #parts: LaneParts;
  #log: Log;

  constructor(parts: LaneParts) {
    this.#parts = parts;
    // The logger that Celery uses for these lines.
    this.#log = logFrom(parts.world.log, { logger: "celery.worker.consumer.consumer" });
  }

  /** Refuses what is not a message: a broken envelope, wrong base64. */
  broken(message: Undecodable): void {
    this.#log.critical(decodeError(message.reason, {
      type: "None",
      encoding: "None",
      headers: "None",
      body: `${truncate(message.text, BODY_CHARS_MAX)} (${message.text.length}b)`,
    }));
    this.#settle(message.tag, message.reason, "ack");
  }

  /** Refuses a content type outside `accept_content`. */
  disallowed(delivery: Delivery): null {
    const type = delivery.message.contentType;
    return this.#undecodable(delivery, `Refusing to deserialize disallowed content of type ${type}`);
  }

  /**
   * Refuses a task that is not registered here. Its result is FAILURE, as in Celery. `decodedId` is the id if
   * the message has been decoded: with protocol 1 only the body has it.
   */
  unknownTask(delivery: Delivery, name: string, decodedId: string | null): null {
    const { message, info } = delivery;
    this.#log.error(
      unknownTask(name, bodyText(message), shownHeaders(message), shownJson(info)),
    );
    this.#settle(delivery.tag, `Unregistered task of type '${name}'`, "drop");
    this.#count(delivery, name);
    const id = decodedId ?? message.headers["id"] ?? message.properties.correlationId;
    if (typeof id !== "string" || id === "") return null;
    const error = new NotRegistered(name);
    this.#parts.finalizer.failMessage(message, id, error);
    const { events } = this.#parts;
    if (events.isEnabled) {
      events.message("task-failed", { uuid: id, exception: `NotRegistered('${name}')` });
    }
    this.#parts.signals.taskUnknown?.(name, id);
    return null;
  }

  /**
   * Refuses headers or arguments that cannot be a task's. `error` is the error thrown, or its text. Celery
   * stores no result; here it is FAILURE, so that a caller waiting for it learns of it.
   */
  invalidTask(delivery: Delivery, error: unknown): null {
    if (error instanceof DecodeError) return this.#undecodable(delivery, errorText(error));
    const { message } = delivery;
    const reason = typeof error === "string" ? error : errorText(error);
    this.#log.error(invalidTask(reason, bodyText(message)));
    this.#settle(delivery.tag, `Invalid task message: ${reason}`, "drop");
    const id = message.headers["id"];
    if (typeof id === "string" && id !== "") {
      this.#parts.finalizer.failMessage(message, id, new InvalidTaskError(reason));
    }
    this.#parts.signals.taskRejected?.(message, reason);
    return null;
  }

  /**
   * Refuses a message that made this code throw an unexpected error, so that the worker goes on. `isSettled`:
   * it was already settled when the error was thrown.
   */
  unreadable(delivery: Delivery, error: unknown, isSettled: boolean): void {
    const reason = `Cannot read message: ${errorText(error)}`;
    if (isSettled) this.#log.error(reason);
    else this.#undecodable(delivery, reason);
  }

  /**
   * Decodes a message that did not look like a task. Returns its headers if it is a task after all (protocol
   * 1, a body with spaces at its ends); otherwise settles it, logs it and returns null.
   */
  decodeFully(delivery: Delivery, task: TaskHeaders | null): TaskHeaders | null {
    const { message } = delivery;
    const accept = this.#parts.options.accept;
    try {
      const old = task === null || looksLikeObject(message)
        ? decodeProtocol1(message, accept, MAIN_UNPACKED_BYTES_MAX)
        : null;
      if (old !== null) return old.headers;
      if (task === null) {
        this.#unknownMessage(delivery);
        return null;
      }
      decodeTaskBody(message, accept, { unpackedMax: MAIN_UNPACKED_BYTES_MAX });
      return task;
    } catch (error) {
      if (error instanceof ContentDisallowed) this.disallowed(delivery);
      else if (error instanceof DecodeError) this.#undecodable(delivery, errorText(error));
      else if (error instanceof InvalidTaskError) this.invalidTask(delivery, error);
      else throw error;
      return null;
    }
  }

  /**
   * Whether a message's workers have died too often: while its late-acknowledged task ran, or while they read
   * the message. The latter needs at least two deaths, since one death counts against every message that the
   * worker held.
   */
  isExhausted({ attempts, message }: Delivery): boolean {
    const { strategies, options } = this.#parts;
    const name = message.headers["task"];
    const isLate = typeof name === "string" && strategies.get(name)?.acksLate === true;
    return attempts >= (isLate ? options.attemptsMax : Math.max(2, options.attemptsMax));
  }

  /** Makes a message whose workers have died too often a dead letter, before anything more of it is read. */
  exhausted(delivery: Delivery): null {
    const { message, attempts } = delivery;
    const { task, id, shadow } = message.headers;
    const reason = `Worker exited prematurely ${attempts} times with ${shadow || task}[${id}]`;
    this.#log.error(`${reason}: it is kept in the dead letters`);
    this.#settle(delivery.tag, reason, "drop");
    if (typeof id === "string" && id !== "") {
      this.#parts.finalizer.failDeadLetter(message, id, new WorkerLostError(reason));
    }
    return null;
  }

  #unknownMessage(delivery: Delivery): void {
    const { message, info } = delivery;
    const report = `body: ${bodyText(message)}\n{content_type:'${message.contentType}' ` +
      `content_encoding:'${message.contentEncoding}'\n  delivery_info:${shownJson(info)} ` +
      `headers=${shownHeaders(message)}}`;
    this.#log.warning(unknownMessage(report));
    this.#settle(delivery.tag, "Unknown message: neither a task header nor a task in its body", "drop");
    this.#parts.signals.taskRejected?.(message, "unknown message");
  }

  /** Counts a task that is not registered as failed, as monitors that count by events do. */
  #count({ queue }: Delivery, name: string): void {
    const { metrics, options } = this.#parts;
    const series = metrics?.of(name, hostLabel(options.hostname), queue);
    if (series === undefined) return;
    series.isKnown = true;
    series.fail("NotRegistered()");
  }

  #undecodable(delivery: Delivery, reason: string): null {
    const { message } = delivery;
    this.#log.critical(decodeError(reason, {
      type: `'${message.contentType}'`,
      encoding: `'${message.contentEncoding}'`,
      headers: truncate(shownHeaders(message), BODY_CHARS_MAX),
      body: bodyText(message),
    }));
    this.#settle(delivery.tag, reason, "ack");
    return null;
  }

  #settle(tag: number | string, reason: string, fallback: Fallback): void {
    const { state } = this.#parts;
    // `--burst` counts a refused message as a failed task.
    state.failed++;
    state.unsettled--;
    const consumer = state.consumer;
    if (consumer === null) return;
    if (consumer.deadLetter(tag, truncate(reason.replaceAll("\n", " "), 200))) {
      state.deadLettered++;
      return;
    }
    if (fallback === "ack") consumer.ack(tag);
    else consumer.reject(tag, "drop");
  }
}

/** True if the decoded body is likely to be an object: protocol 1, or the hybrid of both protocols. */
function looksLikeObject(message: EncodedMessage): boolean {
  const body = message.body;
  if (typeof body !== "string") return body[0] === 0x7b;
  // "{" begins base64 with "e" and one of w, x, y, z.
  return message.bodyEncoding === "base64" ? /^e[w-z]/.test(body) : body.startsWith("{");
}

function shownHeaders(message: EncodedMessage): string {
  return shownJson(message.headers, { charsMax: HEADERS_CHARS_MAX });
}

/** Returns at most 1024 characters of a body, as Celery's reports show it, and its length in bytes. */
function bodyText(message: EncodedMessage): string {
  const body = message.body;
  let text: string;
  if (typeof body !== "string") text = new TextDecoder().decode(body.subarray(0, BODY_CHARS_MAX));
  else if (message.bodyEncoding === "none") text = body;
  else {
    try {
      text = atob(body.slice(0, BODY_CHARS_MAX * 2));
    } catch {
      // Wrong base64 is shown unchanged.
      text = body;
    }
  }
  return `${truncate(text, BODY_CHARS_MAX)} (${body.length}b)`;
}
