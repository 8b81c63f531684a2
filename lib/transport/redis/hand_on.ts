/**
 * Messages that a worker publishes to itself, instead of pushing them to a list and popping them from it again.
 *
 * A message with late acknowledgement is recorded as unacked, and is delivered once the server has confirmed
 * that: one round trip instead of two. Nobody holds it before the script has run; from then on this
 * consumer's lease does, as if a fetch had popped it.
 *
 * A message with early acknowledgement is delivered at once, and recorded only if no slot has begun it within
 * two milliseconds. Until then this process alone holds it: if the process is killed, the message is lost,
 * like one whose task has begun.
 */

import { toOperatingError } from "../../redis/mod.ts";
import {
  type DeliveryInfo,
  type EncodedMessage,
  envelopeParts,
  RespError,
  revivedIfKnown,
} from "../../wire/mod.ts";
import type { Fetcher } from "./fetch.ts";
import { unackedTail } from "./keys.ts";
import { HAND_ON } from "./scripts.ts";
import type { ConsumerBase, Held, Unacked, Unrecorded } from "./unacked.ts";
import type { Delivery, OutgoingMessage } from "../message.ts";

/** A held delivery that was never fetched. Its envelope is encoded when it is first read. */
class HandedOn implements Delivery, Held {
  readonly tag: number;
  readonly queue: string;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  readonly attempts = 0;
  readonly wasReported = false;
  isDelivered = false;
  #deliveryTag: string;
  #sent: EncodedMessage;
  #envelope: string | null = null;

  constructor(tag: number, { exchange, routingKey, message }: OutgoingMessage, deliveryTag: string) {
    this.tag = tag;
    this.queue = routingKey;
    this.#sent = message;
    const headers = revivedIfKnown(message.headers);
    this.message = headers === message.headers ? message : { ...message, headers };
    this.info = { exchange, routingKey, redelivered: false };
    this.#deliveryTag = deliveryTag;
  }

  get priority(): number {
    return this.message.properties.priority;
  }

  /** Returns the envelope in parts (wire/message/envelope.ts). */
  parts(): [string, string, string] {
    return envelopeParts(this.#sent, { ...this.info, deliveryTag: this.#deliveryTag });
  }

  get envelope(): string {
    return this.#envelope ??= this.parts().join("");
  }
}

/** Reports what happens to messages that are handed on. */
export interface HandOnEvents {
  /** This consumer holds the message. */
  onOurs(handed: HandedOn): void;
  /** The connection was lost before the server confirmed the record of an unsettled message. */
  onStranded(handed: HandedOn): void;
}

/** Hands messages on to one consumer. */
export class HandOn {
  #base: ConsumerBase;
  #fetcher: Fetcher;
  #unacked: Unacked;
  #events: HandOnEvents;
  /** Tag numbers whose reply has not come yet. */
  #open = new Set<number>();

  constructor(base: ConsumerBase, fetcher: Fetcher, unacked: Unacked, events: HandOnEvents) {
    this.#base = base;
    this.#fetcher = fetcher;
    this.#unacked = unacked;
    this.#events = events;
  }

  /** Whether a reply is awaited. */
  get isAwaitingReplies(): boolean {
    return this.#open.size > 0;
  }

  /** Returns the tag numbers that a lost connection may have recorded without its reply arriving. */
  unanswered(): number[] {
    return [...this.#open];
  }

  /**
   * Publishes a message to a queue, and delivers it here if nothing waits there. Resolves when the server has
   * the message. Rejects with ConnectionLost, after which the server may have it, or with the server's
   * refusal.
   */
  send(out: OutgoingMessage, deliveryTag: string): Promise<void> {
    const handed = new HandedOn(this.#fetcher.reserve(1), out, deliveryTag);
    return new Promise((resolve, reject) => {
      this.#record(handed, "", {
        onRecorded: (isOurs) => {
          if (isOurs) {
            this.#unacked.hold(handed.tag, handed);
            this.#events.onOurs(handed);
          } else this.#fetcher.notify(); // Our own push is not announced to us.
          resolve();
        },
        onFailed: reject,
      });
    });
  }

  /** Holds and delivers a message at once. */
  take(out: OutgoingMessage, deliveryTag: string): void {
    const handed = new HandedOn(this.#fetcher.reserve(1), out, deliveryTag);
    const strand = () => this.#events.onStranded(handed);
    const unrecorded: Unrecorded = {
      record: () =>
        this.#record(handed, "1", {
          onRecorded(): void {},
          onFailed: (error) => {
            const { connection, log } = this.#base;
            if (!connection.isLost) log.warning(error.message);
            if (!this.#unacked.has(handed.tag)) return;
            // A server that refuses the record now may accept it later; the message is run in any case.
            if (connection.isLost) strand();
            else this.#unacked.stayUnrecorded(handed.tag, unrecorded);
          },
        }),
      onLost: strand,
    };
    this.#unacked.holdUnrecorded(handed.tag, handed, unrecorded);
    this.#events.onOurs(handed);
  }

  /** `keep`: see HAND_ON. */
  #record(
    handed: HandedOn,
    keep: "1" | "",
    sink: { onRecorded(isOurs: boolean): void; onFailed(error: Error): void },
  ): void {
    const { connection, keys, id } = this.#base;
    const { tag: number, queue, priority } = handed;
    const [before, body, after] = handed.parts();
    const tail = unackedTail(queue);
    const tag = `${id}:${number}`;
    let refusal: RespError | null = null;
    this.#open.add(number);
    connection.send(["MULTI"], null);
    connection.send(["HSET", keys.unacked, tag, [`[${before}`, body, after + tail]], {
      onReply: (reply) => refusal = reply instanceof RespError ? reply : null,
      onLost(): void {},
    });
    // By its text and not by its hash: if the server had lost the script, the transaction would only write
    // the record.
    const where = [keys.unacked, keys.unackedIndex, keys.owner(id), keys.listFor(queue, priority)];
    connection.send(["EVAL", HAND_ON, where.length, ...where, tag, tail, keep], null);
    connection.send(["EXEC"], {
      onReply: (reply) => {
        this.#open.delete(number);
        const kept = Array.isArray(reply) ? reply[1] : reply;
        if (kept instanceof RespError) sink.onFailed(toOperatingError(refusal ?? kept, "publish a message"));
        else sink.onRecorded(kept === 1);
      },
      onLost: (error) => sink.onFailed(error),
    });
    connection.flush();
  }
}
