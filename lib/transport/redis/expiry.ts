/**
 * Queues that expire when nobody uses them (`x-expires`): the time to live of its lists starts again whenever
 * a message is published or the queue declared, and for as long as a consumer has it.
 *
 * Source: kombu main transport/redis.py Channel (queue expiration, #2251).
 */

import type { Clock, Disarm } from "../../base/mod.ts";
import type { RedisConnection } from "../../redis/mod.ts";
import type { Queue } from "../entity.ts";
import type { RedisKeys } from "./keys.ts";

/** How often a consumer renews within the time to live. */
const RENEWALS = 3;
const RENEW_LEAST_MS = 50;

/** The queues of one transport that expire. */
export class QueueExpiry {
  readonly #keys: RedisKeys;
  /** Milliseconds by queue. */
  #byQueue = new Map<string, number>();

  constructor(keys: RedisKeys) {
    this.#keys = keys;
  }

  /** Records a queue that is declared: its time to live, or that it has none. */
  note({ name, queueArguments }: Queue): void {
    const ms = queueArguments["x-expires"];
    if (typeof ms === "number" && ms >= 1) this.#byQueue.set(name, Math.trunc(ms));
    else if (this.#byQueue.size > 0) this.#byQueue.delete(name);
  }

  /** Returns the milliseconds that an unused queue lives; null: for ever. */
  of(queueName: string): number | null {
    return this.#byQueue.size === 0 ? null : this.#byQueue.get(queueName) ?? null;
  }

  /** Appends the renewal of a queue's lists, if it expires. An empty queue has no list that could expire. */
  renew(connection: RedisConnection, queueName: string): void {
    const ms = this.of(queueName);
    if (ms === null) return;
    for (const list of this.#keys.lists(queueName)) connection.send(["PEXPIRE", list, ms], null);
  }

  /** Whether any queue expires. */
  get isUsed(): boolean {
    return this.#byQueue.size > 0;
  }
}

/** Renews the queues of one consumer for as long as it consumes them. */
export class ExpiryKeeper {
  readonly #expiry: QueueExpiry;
  readonly #clock: Clock;
  readonly #connection: RedisConnection;
  #disarm: Disarm | null = null;

  constructor(expiry: QueueExpiry, clock: Clock, connection: RedisConnection) {
    this.#expiry = expiry;
    this.#clock = clock;
    this.#connection = connection;
  }

  /** Renews these queues from now on, instead of those of the last call. */
  keep(queueNames: readonly string[]): void {
    this.stop();
    let least = Infinity;
    for (const name of queueNames) {
      const ms = this.#expiry.of(name);
      if (ms === null) continue;
      least = Math.min(least, ms);
      this.#expiry.renew(this.#connection, name);
    }
    if (least === Infinity || this.#connection.isLost) return;
    const atMs = this.#clock.monoMs() + Math.max(RENEW_LEAST_MS, least / RENEWALS);
    this.#disarm = this.#clock.arm(atMs, () => this.keep(queueNames));
  }

  /** Stops renewing. */
  stop(): void {
    this.#disarm?.();
    this.#disarm = null;
  }
}
