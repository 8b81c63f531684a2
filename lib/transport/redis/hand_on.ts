/**
 * Messages that a worker publishes to itself, instead of pushing them to a list and popping them from it again.
 *
 * One that is acknowledged late is recorded as unacked, and is ours when the server says so: one trip, and not two.
 * Nobody holds it before the script has run, and from then on this consumer's lease does, as if a fetch had popped it.
 *
 * One that is acknowledged early is ours at once, and is recorded only where no slot has begun it within two
 * milliseconds. Until then this process holds it: were it killed, the message would be lost as one that has begun is.
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

/** A message that was never fetched, as a delivery in our hands. Its envelope is made for who wants it. */
class HandedOn implements Delivery, Held {
  readonly tag: number;
  readonly queue: string;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  readonly attempts = 0;
  readonly wasTold = false;
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

  /** The envelope in parts (wire/message/envelope.ts). */
  parts(): [string, string, string] {
    return envelopeParts(this.#sent, { ...this.info, deliveryTag: this.#deliveryTag });
  }

  get envelope(): string {
    return this.#envelope ??= this.parts().join("");
  }
}

/** What becomes of messages that are handed on. */
export interface HandOnEvents {
  /** A message is in our hands. */
  onOurs(handed: HandedOn): void;
  /** The connection went before the server told that it had the record of a message that is not settled. */
  onStranded(handed: HandedOn): void;
}

/** Hands messages on to one consumer. */
export class HandOn {
  #base: ConsumerBase;
  #fetcher: Fetcher;
  #unacked: Unacked;
  #events: HandOnEvents;
  /** Numbers of tags whose reply has not come. */
  #open = new Set<number>();

  constructor(base: ConsumerBase, fetcher: Fetcher, unacked: Unacked, events: HandOnEvents) {
    this.#base = base;
    this.#fetcher = fetcher;
    this.#unacked = unacked;
    this.#events = events;
  }

  /** Whether a reply is awaited. */
  get areOpen(): boolean {
    return this.#open.size > 0;
  }

  /** The tag numbers that may be recorded and whose reply was never heard. Of a lost connection. */
  unheard(): number[] {
    return [...this.#open];
  }

  /**
   * Publishes a message to a queue: it is ours where nothing waits there. Resolves when the server has it; rejects
   * where the connection is lost first, and then it may have it.
   */
  send(out: OutgoingMessage, deliveryTag: string): Promise<void> {
    const handed = new HandedOn(this.#fetcher.reserve(1), out, deliveryTag);
    return new Promise((resolve, reject) => {
      this.#record(handed, "", {
        onRecorded: (isOurs) => {
          if (isOurs) {
            this.#unacked.hold(handed.tag, handed);
            this.#events.onOurs(handed);
          } else this.#fetcher.stir(); // Our own push is not announced to us.
          resolve();
        },
        onFailed: reject,
      });
    });
  }

  /** Takes a message in hand at once. */
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
            // A server that refuses it now may take it later; ours it is in any case, and is run.
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
    // By its text: in a transaction a hash that the server has lost would leave the record alone.
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
