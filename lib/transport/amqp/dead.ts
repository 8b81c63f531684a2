/**
 * Dead letters on AMQP: a durable queue of the original messages, with headers that say why they are dead.
 *
 * A queue has no index: to find a letter, the messages are fetched without acknowledgement, read and returned
 * in their order. Meanwhile other connections find none.
 */

import type { AmqpChannel, AmqpConnection, AmqpMessage } from "../../amqp/mod.ts";
import type { World } from "../../base/mod.ts";
import type { EncodedMessage } from "../../wire/mod.ts";
import { AmqpDelivery } from "./message.ts";
import { type Queue, queue as makeQueue } from "../entity.ts";
import { DEAD_LETTERS_MAX, type DeadLetter, letterId, type Note, type OutgoingMessage } from "../message.ts";
import type { DeadLetters } from "../transport.ts";

const REASON = "x-lovage-reason";
const QUEUE = "x-lovage-queue";
const AT = "x-lovage-at";
const ID = "x-lovage-id";
const OURS: ReadonlySet<string> = new Set([REASON, QUEUE, AT, ID]);

/** Options of `AmqpDeadLetters`. */
export interface AmqpDeadOptions {
  /** The queue's name. */
  readonly name: string;
  readonly main: AmqpConnection;
  count(): Promise<number>;
  /** Makes sure that a queue exists. */
  ensure(queueName: string): Promise<void>;
  publish(batch: readonly OutgoingMessage[]): Promise<void>;
}

/** Returns the queue of dead letters. Beyond DEAD_LETTERS_MAX the broker drops the oldest. */
export function deadQueue(name: string): Queue {
  const plain = makeQueue(name);
  return {
    ...plain,
    // The default exchange routes to it by name.
    exchange: { ...plain.exchange, name: "" },
    queueArguments: { "x-max-length": DEAD_LETTERS_MAX },
  };
}

/** Returns a message as a dead letter of this moment. */
export function deadMessage(
  world: World,
  message: EncodedMessage,
  queue: string,
  reason: string,
): EncodedMessage {
  const headers = {
    ...message.headers,
    [REASON]: reason,
    [QUEUE]: queue,
    [AT]: world.clock.wallMs(),
    [ID]: letterId(world),
  };
  // Dead letters wait for a person and do not expire.
  return { ...message, headers, properties: { ...message.properties, expiration: null } };
}

/** The dead letters as a connection sees them. */
export class AmqpDeadLetters implements DeadLetters {
  #options: AmqpDeadOptions;

  constructor(options: AmqpDeadOptions) {
    this.#options = options;
  }

  count(): Promise<number> {
    return this.#options.count();
  }

  async list(limit: number): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = [];
    await this.#scan((found) => {
      letters.push(letterOf(found));
      return false;
    });
    return letters.reverse().slice(0, Math.max(0, limit));
  }

  retry(letter: DeadLetter, queueName: string): Promise<boolean> {
    return this.take(letter, async ({ message }) => {
      await this.#options.ensure(queueName);
      const headers = Object.fromEntries(Object.entries(message.headers).filter(([name]) => !OURS.has(name)));
      await this.#options.publish([{
        exchange: "",
        routingKey: queueName,
        message: { ...message, headers },
        isMandatory: true,
      }]);
    });
  }

  drop(letter: DeadLetter): Promise<boolean> {
    return this.take(letter, () => Promise.resolve());
  }

  /**
   * Passes a letter to `use`, then removes it; resolves with false if it is gone. Rejects as `use` does, and
   * keeps it.
   */
  async take(letter: DeadLetter, use: (note: Note) => Promise<void>): Promise<boolean> {
    return await this.#scan((found) => letterOf(found).id === letter.id, use);
  }

  /**
   * Reads the letters, oldest first, up to the wanted one, which is used and acknowledged; returns the others
   * to the queue.
   */
  async #scan(
    isWanted: (found: AmqpDelivery) => boolean,
    use?: (note: Note) => Promise<void>,
  ): Promise<boolean> {
    const channel = await this.#options.main.openChannel();
    try {
      const count = await this.#options.count();
      for (let n = 0; n < count; n++) {
        const received = await channel.get(this.#options.name, false);
        if (received === null) break;
        if (received.properties === null) continue;
        const found = new AmqpDelivery(tagOf(received), this.#options.name, received);
        if (!isWanted(found)) continue;
        await use?.(found);
        channel.ack(found.tag, false);
        return true;
      }
      return false;
    } finally {
      await returnAll(channel);
    }
  }
}

async function returnAll(channel: AmqpChannel): Promise<void> {
  // Tag 0 with `multiple` means all open deliveries.
  channel.send("basic.nack", { "delivery-tag": 0, multiple: true, requeue: true });
  // Answers come in order: after this one every message is back in its place.
  await channel.call("basic.qos", {}, "give dead letters back").catch(() => {
    // The loss of a channel returns them as well.
  });
  await channel.close();
}

function tagOf(received: AmqpMessage): number {
  return Number(received.call.args["delivery-tag"]);
}

function letterOf(found: AmqpDelivery): DeadLetter {
  const { headers } = found.message;
  const [id, reason, queue, at] = [headers[ID], headers[REASON], headers[QUEUE], headers[AT]];
  return {
    id: typeof id === "string" ? id : `${found.tag}`,
    queue: typeof queue === "string" ? queue : null,
    reason: typeof reason === "string" ? reason : "Not dead-lettered by Lovage",
    atMs: typeof at === "number" ? at : 0,
    envelope: found.envelope,
  };
}
