/**
 * Messages that a worker publishes to itself: recorded as unacked at once, instead of being pushed to a list and
 * popped from it again. A step of a chain takes one trip to the server then, and not two.
 *
 * Who holds such a message: nobody before the script has run, and from then on this consumer's lease, as if a fetch had
 * popped it.
 */

import { sendScript, toOperatingError } from "../redis/mod.ts";
import {
  type DeliveryInfo,
  type EncodedMessage,
  envelopeParts,
  type RespArg,
  RespError,
} from "../wire/mod.ts";
import type { Fetcher } from "./redis_fetch.ts";
import { unackedTail } from "./redis_keys.ts";
import { CLAIM } from "./redis_scripts.ts";
import type { ConsumerBase, Held } from "./redis_unacked.ts";
import type { Delivery, OutgoingMessage } from "./transport.ts";

/** A message that was never fetched, as a delivery in our hands. Its envelope is made for who wants it whole. */
class Claimed implements Delivery, Held {
  readonly tag: number;
  readonly queue: string;
  readonly message: EncodedMessage;
  readonly info: DeliveryInfo;
  readonly attempts = 0;
  isDelivered = false;
  readonly parts: readonly [string, string, string];
  #envelope: string | null = null;

  constructor(tag: number, { exchange, routingKey, message }: OutgoingMessage, deliveryTag: string) {
    this.tag = tag;
    this.queue = routingKey;
    this.message = message;
    this.info = { exchange, routingKey, redelivered: false };
    this.parts = envelopeParts(message, { exchange, routingKey, deliveryTag });
  }

  get priority(): number {
    return this.message.properties.priority;
  }

  get envelope(): string {
    return this.#envelope ??= this.parts.join("");
  }
}

/** The claims of one consumer. */
export class Claims {
  #base: ConsumerBase;
  #fetcher: Fetcher;
  /** Numbers of tags whose reply has not come. */
  #open = new Set<number>();

  constructor(base: ConsumerBase, fetcher: Fetcher) {
    this.#base = base;
    this.#fetcher = fetcher;
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
   * Publishes a message to a queue; `onOurs` is called with its delivery where it is recorded as ours now. Resolves
   * when the server has it; rejects where the connection is lost first, and then it may have it.
   */
  send(out: OutgoingMessage, deliveryTag: string, onOurs: (claimed: Claimed) => void): Promise<void> {
    const { connection, keys, id } = this.#base;
    const number = this.#fetcher.reserve(1);
    const claimed = new Claimed(number, out, deliveryTag);
    const { queue, priority, parts: [before, body, after] } = claimed;
    const tail = unackedTail(queue);
    const list = keys.listFor(queue, priority);
    const args: RespArg[] = [keys.unacked, keys.unackedIndex, keys.owner(id), list, `${id}:${number}`];
    args.push([`[${before}`, body, after + tail], tail);
    this.#open.add(number);
    return new Promise((resolve, reject) => {
      sendScript(connection, CLAIM, 4, args, {
        onReply: (reply) => {
          this.#open.delete(number);
          if (reply instanceof RespError) return reject(toOperatingError(reply, "publish a message"));
          if (reply === 1) onOurs(claimed);
          else this.#fetcher.stir(); // Our own push is not announced to us.
          resolve();
        },
        onLost: reject,
      });
      connection.flush();
    });
  }
}
