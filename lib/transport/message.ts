/** Messages as every transport sees them: outgoing, held by a consumer, parked, and dead. */

import { OperatingError, type World } from "../base/mod.ts";
import type { DeliveryInfo, EncodedMessage } from "../wire/mod.ts";
import type { Queue } from "./entity.ts";

/** A message to publish. */
export interface OutgoingMessage {
  /** "" publishes to the queue named by `routingKey`. */
  readonly exchange: string;
  readonly routingKey: string;
  readonly message: EncodedMessage;
  /** The queue that the message is meant for; its publisher declares it first. Absent or null: unknown. */
  readonly queue?: Queue | null;
  /**
   * True: reaching no queue is an error (a task). Absent: the message may reach nobody (an event, a reply).
   */
  readonly isMandatory?: boolean;
}

/** Part of a batch was not published, because the broker refused it or could not route it. The rest was. */
export class PublishError extends OperatingError {
  override name = "PublishError";
  /** The messages not published: objects of the batch, in its order. */
  readonly unpublished: readonly OutgoingMessage[];
  constructor(
    message: string,
    options: { unpublished: readonly OutgoingMessage[]; isRetryable?: boolean },
  ) {
    super(message, options);
    this.unpublished = options.unpublished;
  }
}

/** A message received and not yet settled. */
export interface Delivery {
  /** The consumer's own handle; opaque. */
  readonly tag: number | string;
  /** The queue it came from. */
  readonly queue: string;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  /**
   * The message as kombu's JSON envelope, the text that a pool slot gets. Virtual transports pass on the text
   * that they received; amqp encodes it when it is first read.
   */
  readonly envelope: string;
  /**
   * How often a process died while it held this message; 0 if the transport cannot tell. The first death always
   * counts, later ones only if the task had begun (`Consumer.begun`), so that a message is not blamed for another one
   * that kills its worker.
   */
  readonly attempts: number;
  /**
   * True if the message was parked: the worker that parked it has already logged and reported that it was
   * received.
   */
  readonly wasReported: boolean;
}

/** A message that cannot be decoded: a broken envelope, wrong base64. The receiver settles it. */
export interface Undecodable {
  readonly tag: number | string;
  readonly queue: string;
  /** The message as text for the log, cut at 64 KiB. */
  readonly text: string;
  /** The reason, one line. */
  readonly reason: string;
}

/** A message received without acknowledgement: remote control, replies, events. */
export interface Note {
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
}

/** A message that nobody could handle, or whose workers died too often, as the broker keeps it. */
export interface DeadLetter {
  /** Its id among the broker's dead letters; one word. */
  readonly id: string;
  /** The queue it was fetched from; null if that is no longer known. */
  readonly queue: string | null;
  /** The reason why it was kept, one line. */
  readonly reason: string;
  /** When it was kept, wall clock. */
  readonly atMs: number;
  /** The message as text: kombu's JSON envelope, unless it could not be decoded as such. */
  readonly envelope: string;
}

/** How many dead letters a broker keeps; beyond that the oldest are deleted. */
export const DEAD_LETTERS_MAX = 10_000;

/** A new id of a dead letter or a kept failed task: short enough to be typed. */
export function letterId({ random }: World): string {
  return random.id().slice(0, 8);
}

/** A message that is not due yet and is held by the broker, not by a worker. */
export interface ParkedMessage {
  /** Its id among the broker's parked messages. */
  readonly id: string;
  readonly queue: string;
  /** When it is due, wall clock. */
  readonly dueMs: number;
  /** Kombu's JSON envelope. */
  readonly envelope: string;
}
