/** Dead letters on Redis: one list of JSON documents, newest first. */

import { assert, type World } from "../../base/mod.ts";
import { callScript, type RedisConnection } from "../../redis/mod.ts";
import { envelopePriority, type Reply, toJson } from "../../wire/mod.ts";
import { withoutAttempts } from "./envelope.ts";
import type { RedisKeys } from "./keys.ts";
import { readLetter } from "./letter.ts";
import { REVIVE } from "./scripts.ts";
import { type DeadLetter, letterId } from "../message.ts";
import type { DeadLetters } from "../transport.ts";

/** Returns the document of a message that becomes a dead letter now. */
export function deadDocument(
  world: World,
  letter: { reason: string; queue: string | null; envelope: string },
): string {
  const { reason, queue, envelope } = letter;
  const at = new Date(world.clock.wallMs()).toISOString();
  return toJson({ id: letterId(world), reason, at, queue, envelope });
}

/** The dead letters as a connection sees them. */
export class RedisDeadLetters implements DeadLetters {
  #connection: RedisConnection;
  #keys: RedisKeys;
  /** The documents as stored: an element of the list is found again only by its exact text. */
  #documents = new WeakMap<DeadLetter, string>();

  constructor(connection: RedisConnection, keys: RedisKeys) {
    this.#connection = connection;
    this.#keys = keys;
  }

  async count(): Promise<number> {
    return await this.#connection.call(["LLEN", this.#keys.dead]) as number;
  }

  async list(limit: number): Promise<DeadLetter[]> {
    if (limit < 1) return [];
    const texts = await this.#connection.call(["LRANGE", this.#keys.dead, 0, limit - 1]) as Reply[];
    return texts.map((text) => {
      const letter = readLetter(String(text), ({ at }) => typeof at === "string" ? Date.parse(at) || 0 : 0);
      this.#documents.set(letter, String(text));
      return letter;
    });
  }

  async retry(letter: DeadLetter, queueName: string): Promise<boolean> {
    const revived = await callScript(this.#connection, REVIVE, {
      keys: [this.#keys.dead, this.#keys.listFor(queueName, envelopePriority(letter.envelope))],
      args: [this.#document(letter), withoutAttempts(letter.envelope)],
      doing: "put a dead letter back into its queue",
    });
    return revived === 1;
  }

  async drop(letter: DeadLetter): Promise<boolean> {
    return await this.#connection.call(["LREM", this.#keys.dead, 1, this.#document(letter)]) === 1;
  }

  #document(letter: DeadLetter): string {
    const document = this.#documents.get(letter);
    assert(document !== undefined, "a dead letter is one of this connection's list");
    return document;
  }
}
