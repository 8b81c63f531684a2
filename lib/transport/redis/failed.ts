/** Failed tasks on Redis: a sorted set of JSON documents, by the time of the failure. */

import { assert, type World } from "../../base/mod.ts";
import { callScript, type RedisConnection, Script } from "../../redis/mod.ts";
import { envelopePriority, type Reply, type RespArg, toJson } from "../../wire/mod.ts";
import { type FailedEntry, type FailedLimits, type FailedTasks, withId } from "../failed.ts";
import { withoutAttempts } from "./envelope.ts";
import type { RedisKeys } from "./keys.ts";
import { readLetter } from "./letter.ts";
import type { DeadLetter } from "../message.ts";

/**
 * Publishes a failed task and removes it, if it is still there. KEYS: failed, list. ARGV: document, envelope.
 */
export const RESEND = new Script(`
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1`);

/** The failed tasks as a connection sees them. */
export class RedisFailedTasks implements FailedTasks {
  #world: World;
  #connection: RedisConnection;
  #keys: RedisKeys;
  /** The documents as stored: a member of the set is found again only by its exact text. */
  #documents = new WeakMap<DeadLetter, string>();

  constructor(world: World, connection: RedisConnection, keys: RedisKeys) {
    this.#world = world;
    this.#connection = connection;
    this.#keys = keys;
  }

  async keep(tasks: readonly FailedEntry[], { count, seconds }: FailedLimits): Promise<void> {
    const key = this.#keys.failed;
    const members = tasks.flatMap((task): RespArg[] => [task.atMs / 1000, toJson(withId(this.#world, task))]);
    const oldest = this.#world.clock.wallMs() / 1000 - seconds;
    await this.#connection.callAll([
      ["ZADD", key, ...members],
      ["ZREMRANGEBYSCORE", key, "-inf", `(${oldest}`],
      ["ZREMRANGEBYRANK", key, 0, -(count + 1)],
      ["EXPIRE", key, Math.ceil(seconds)],
    ]);
  }

  async count(): Promise<number> {
    return await this.#connection.call(["ZCARD", this.#keys.failed]) as number;
  }

  async list(limit: number): Promise<DeadLetter[]> {
    if (limit < 1) return [];
    const texts = await this.#connection.call(["ZREVRANGE", this.#keys.failed, 0, limit - 1]) as Reply[];
    return texts.map((text) => {
      const task = readLetter(String(text), ({ atMs }) => typeof atMs === "number" ? atMs : 0);
      this.#documents.set(task, String(text));
      return task;
    });
  }

  async retry(task: DeadLetter, queueName: string, envelope: string): Promise<boolean> {
    const sent = await callScript(this.#connection, RESEND, {
      keys: [this.#keys.failed, this.#keys.listFor(queueName, envelopePriority(envelope))],
      args: [this.#document(task), withoutAttempts(envelope)],
      doing: "send a failed task again",
    });
    return sent === 1;
  }

  async drop(task: DeadLetter): Promise<boolean> {
    return await this.#connection.call(["ZREM", this.#keys.failed, this.#document(task)]) === 1;
  }

  #document(task: DeadLetter): string {
    const document = this.#documents.get(task);
    assert(document !== undefined, "a failed task is one of this connection's list");
    return document;
  }
}
