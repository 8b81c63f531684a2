/** Pattern subscriptions on a connection of their own, shared by everybody who listens. */

import type { World } from "../base/mod.ts";
import { type Reply, RespError } from "../wire/mod.ts";
import { RedisConnection, type RedisConnectionOptions, type RedisTarget } from "./connection.ts";
import { toOperatingError } from "./errors.ts";

/** Hears what was published: the payload and the channel it came through. */
export type PatternListener = (payload: string, channel: string) => void;

/** One subscriber connection. Patterns are Redis's globs. */
export class PubSub {
  #connection: RedisConnection;
  #listeners: Map<string, Set<PatternListener>>;

  private constructor(connection: RedisConnection, listeners: Map<string, Set<PatternListener>>) {
    this.#connection = connection;
    this.#listeners = listeners;
  }

  /** Connects; rejects as RedisConnection.open does. */
  static async open(world: World, target: RedisTarget, options: RedisConnectionOptions): Promise<PubSub> {
    const listeners = new Map<string, Set<PatternListener>>();
    const connection = await RedisConnection.open(world, target, {
      ...options,
      onPush: (items) => deliver(listeners, items),
    });
    return new PubSub(connection, listeners);
  }

  /** Resolves when the connection is gone: with the cause, or with null after `close`. */
  get lost(): Promise<Error | null> {
    return this.#connection.lost;
  }

  /**
   * Subscribes; resolves when the server has it, so that nothing published later is missed. Rejects with the
   * server's error; the connection is given up then, since the replies no longer match the commands.
   */
  async subscribe(pattern: string, listener: PatternListener): Promise<void> {
    const listeners = this.#listeners.get(pattern);
    if (listeners !== undefined) {
      listeners.add(listener);
      return await this.#settled();
    }
    this.#listeners.set(pattern, new Set([listener]));
    this.#connection.sendUnanswered(["PSUBSCRIBE", pattern]);
    await this.#settled();
  }

  /** Ends one listener; the last one of a pattern ends the subscription. */
  async unsubscribe(pattern: string, listener: PatternListener): Promise<void> {
    const listeners = this.#listeners.get(pattern);
    if (listeners === undefined || !listeners.delete(listener)) return;
    if (listeners.size > 0 || this.#connection.isLost) return;
    this.#listeners.delete(pattern);
    this.#connection.sendUnanswered(["PUNSUBSCRIBE", pattern]);
    await this.#settled();
  }

  /** Closes the connection. Twice is once. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  /** Resolves when the server has done everything sent before: it answers PING after that. */
  #settled(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#connection.send(["PING"], {
        onReply: (reply) => {
          if (!(reply instanceof RespError)) return resolve();
          const error = toOperatingError(reply, "subscribe");
          this.#connection.fail(error);
          reject(error);
        },
        onLost: reject,
      });
    });
  }
}

/** RESP3 and RESP2 carry the same items: kind, pattern, channel, payload. */
function deliver(listeners: Map<string, Set<PatternListener>>, items: Reply[]): void {
  if (items[0] !== "pmessage") return;
  const [, pattern, channel, payload] = items;
  if (typeof pattern !== "string" || typeof channel !== "string" || typeof payload !== "string") return;
  const found = listeners.get(pattern);
  if (found === undefined) return;
  for (const listener of [...found]) listener(payload, channel);
}
