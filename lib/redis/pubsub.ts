/** Pattern subscriptions on a connection of their own, shared by all listeners. */

import type { World } from "../base/mod.ts";
import { type Reply, RespError } from "../wire/mod.ts";
import { RedisConnection, type RedisConnectionOptions, type RedisTarget } from "./connection.ts";
import { toOperatingError } from "./errors.ts";

/** Receives a published message: its payload and its channel. */
export type PatternListener = (payload: string, channel: string) => void;

/** One subscriber connection. Patterns are Redis's globs. */
export class PubSub {
  #connection: RedisConnection;
  #listeners: Map<string, Set<PatternListener>>;

  private constructor(connection: RedisConnection, listeners: Map<string, Set<PatternListener>>) {
    this.#connection = connection;
    this.#listeners = listeners;
  }

  /** Connects. Rejects as RedisConnection.open does. */
  static async open(world: World, target: RedisTarget, options: RedisConnectionOptions): Promise<PubSub> {
    const listeners = new Map<string, Set<PatternListener>>();
    const connection = await RedisConnection.open(world, target, {
      ...options,
      onPush: (items) => deliver(listeners, items),
    });
    return new PubSub(connection, listeners);
  }

  /** Resolves when the connection has ended: with the cause, or with null after `close`. Never rejects. */
  get lost(): Promise<Error | null> {
    return this.#connection.lost;
  }

  /**
   * Subscribes a listener to a pattern. Resolves when the subscription is in effect, so that nothing
   * published later is missed. Rejects with the server's error and then ends the connection, since replies no
   * longer match commands; or rejects with the connection's error if it is lost.
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

  /**
   * Removes a listener; the last listener of a pattern ends the subscription. Rejects as `subscribe` does.
   */
  async unsubscribe(pattern: string, listener: PatternListener): Promise<void> {
    const listeners = this.#listeners.get(pattern);
    if (listeners === undefined || !listeners.delete(listener)) return;
    if (listeners.size > 0 || this.#connection.isLost) return;
    this.#listeners.delete(pattern);
    this.#connection.sendUnanswered(["PUNSUBSCRIBE", pattern]);
    await this.#settled();
  }

  /** Closes the connection. Idempotent; never rejects. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  /** Resolves when the server has executed everything sent before, by a PING sent after it. */
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

/**
 * Calls the listeners of one message. RESP3 and RESP2 have the same items: kind, pattern, channel, payload.
 */
function deliver(listeners: Map<string, Set<PatternListener>>, items: Reply[]): void {
  if (items[0] !== "pmessage") return;
  const [, pattern, channel, payload] = items;
  if (typeof pattern !== "string" || typeof channel !== "string" || typeof payload !== "string") return;
  const found = listeners.get(pattern);
  if (found === undefined) return;
  for (const listener of [...found]) listener(payload, channel);
}
