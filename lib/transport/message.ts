/**
 * Messages as every transport sees them: outgoing, held by a consumer, and kept by the broker for later or for
 * people.
 */

import { OperatingError } from "../base/mod.ts";
import type { DeliveryInfo, EncodedMessage } from "../wire/mod.ts";
import type { Queue } from "./entity.ts";

/** One message on its way out. */
export interface OutgoingMessage {
  /** "" publishes to the queue named by `routingKey`. */
  readonly exchange: string;
  readonly routingKey: string;
  readonly message: EncodedMessage;
  /** The queue it is meant for, which its publisher declares first. Absent or null: not known by name. */
  readonly queue?: Queue | null;
  /** True: to reach no queue at all is an error (a task). Absent: it may reach nobody (an event, a reply). */
  readonly isMandatory?: boolean;
}

/** Part of a batch was not published, because the broker refused it or could not route it. The rest was. */
export class PublishError extends OperatingError {
  override name = "PublishError";
  /** Objects of the batch, in its order. */
  readonly unpublished: readonly OutgoingMessage[];
  constructor(
    message: string,
    options: { unpublished: readonly OutgoingMessage[]; isRetryable?: boolean },
  ) {
    super(message, options);
    this.unpublished = options.unpublished;
  }
}

/** One message received and not yet settled. */
export interface Delivery {
  /** The consumer's own handle; opaque. */
  readonly tag: number | string;
  /** The queue it came from. */
  readonly queue: string;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  /**
   * The message as one text in kombu's JSON envelope: what a pool slot is given. Virtual transports hand on what they
   * received; amqp makes it when first read.
   */
  readonly envelope: string;
  /**
   * How often a process died while it held this message; 0 if the transport cannot tell. The first death always
   * counts, later ones only if the task had begun (`Consumer.begun`), so that a message is not blamed for another one
   * that kills its worker.
   */
  readonly attempts: number;
  /** It was parked until it was due, and the worker that parked it has logged and reported that it was received. */
  readonly wasTold: boolean;
}

/** A message that cannot be decoded: a broken envelope, wrong base64. The receiver settles it. */
export interface Undecodable {
  readonly tag: number | string;
  readonly queue: string;
  /** What arrived, at most 64 KiB of it as text for the log. */
  readonly text: string;
  /** One line: why. */
  readonly reason: string;
}

/** A message received without acknowledgement: remote control, replies, events. */
export interface Note {
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
}

/** A message that nobody could handle, or whose workers died too often, as the broker keeps it. */
export interface DeadLetter {
  /** Its name among the broker's dead letters; one word. */
  readonly id: string;
  /** The queue it was taken from; null if that is not known any more. */
  readonly queue: string | null;
  /** One line: why it is here. */
  readonly reason: string;
  /** When it came here, wall clock. */
  readonly atMs: number;
  /** What arrived, as text; kombu's JSON envelope unless that is what was wrong with it. */
  readonly envelope: string;
}

/** How many dead letters a broker keeps; beyond that the oldest are deleted. */
export const DEAD_LETTERS_MAX = 10_000;

/** A message that is not due yet and is held by the broker, not by a worker. */
export interface ParkedMessage {
  /** Its name among the broker's parked messages. */
  readonly id: string;
  readonly queue: string;
  /** When it is due, wall clock. */
  readonly dueMs: number;
  /** Kombu's JSON envelope. */
  readonly envelope: string;
}
