/**
 * Failed tasks on AMQP: a queue like that of the dead letters. A message's expiration limits how long it is
 * kept. The queue's length limits how many, and every client must declare the same: beyond it the broker
 * drops the oldest, and beyond a smaller `failed_keep.count` the worker that stores another one does.
 */

import type { World } from "../../base/mod.ts";
import {
  bodyBytes,
  decodeEnvelope,
  encodeBody,
  type EncodedMessage,
  fromCarriedJson,
} from "../../wire/mod.ts";
import { AmqpDeadLetters, type AmqpDeadOptions, deadMessage } from "./dead.ts";
import type { FailedEntry, FailedLimits, FailedTasks } from "../failed.ts";
import { DEAD_LETTERS_MAX, type DeadLetter } from "../message.ts";

/** The queue of failed tasks. */
export const FAILED_QUEUE = "lovage.failed";

/** The failed tasks as a connection sees them. `declare` declares the queue. */
export class AmqpFailedTasks implements FailedTasks {
  #world: World;
  #options: AmqpDeadOptions;
  #declare: () => Promise<void>;
  #letters: AmqpDeadLetters;
  #isDeclared = false;

  constructor(world: World, options: AmqpDeadOptions, declare: () => Promise<void>) {
    this.#world = world;
    this.#options = options;
    this.#declare = declare;
    this.#letters = new AmqpDeadLetters(options);
  }

  async keep(tasks: readonly FailedEntry[], { seconds, count }: FailedLimits): Promise<void> {
    if (!this.#isDeclared) await this.#declare();
    this.#isDeclared = true;
    const expiration = String(Math.trunc(seconds * 1000));
    await this.#options.publish(tasks.map(({ envelope, queue, reason }) => {
      const message = deadMessage(this.#world, plain(envelope), queue ?? "", reason);
      return {
        exchange: "",
        routingKey: this.#options.name,
        message: { ...message, properties: { ...message.properties, expiration } },
      };
    }));
    if (count < DEAD_LETTERS_MAX) await this.#dropOldest(count);
  }

  /** Drops the oldest tasks beyond `most`. */
  async #dropOldest(most: number): Promise<void> {
    let surplus = await this.count() - most;
    if (surplus <= 0) return;
    const { main, name } = this.#options;
    const channel = await main.openChannel();
    try {
      while (surplus-- > 0 && await channel.get(name, true) !== null);
    } finally {
      await channel.close();
    }
  }

  count(): Promise<number> {
    return this.#letters.count();
  }

  list(limit: number): Promise<DeadLetter[]> {
    return this.#letters.list(limit);
  }

  retry(task: DeadLetter, queueName: string, envelope: string): Promise<boolean> {
    return this.#letters.take(task, async () => {
      await this.#options.ensure(queueName);
      await this.#options.publish([{ exchange: "", routingKey: queueName, message: plain(envelope) }]);
    });
  }

  drop(task: DeadLetter): Promise<boolean> {
    return this.#letters.drop(task);
  }
}

/** Returns an envelope's message as AMQP carries it, with its body as bytes. */
function plain(envelope: string): EncodedMessage {
  const { message } = decodeEnvelope(envelope, fromCarriedJson);
  if (message.bodyEncoding === "none") return message;
  return { ...message, body: encodeBody(bodyBytes(message), "none"), bodyEncoding: "none" };
}
