/**
 * Messages of fanouts in the embedded database: each is written once, and read by every subscriber by its
 * number.
 */

import type { Database } from "../../../sqlite/mod.ts";
import { FANOUT_TTL_SECONDS, type FanoutRow, type FanoutStore } from "../store.ts";
import type { Counter } from "./counter.ts";

/**
 * How often a publisher deletes old messages of fanouts, milliseconds; and how many messages are kept at
 * most.
 */
const CLEAN_MS = 5000;
const ROWS_MAX = 200_000;

/** The table broker_fanout. */
export class SqliteFanouts implements FanoutStore {
  readonly #database: Database;
  readonly #counter: Counter;
  #cleanAtMs = 0;

  constructor(database: Database, counter: Counter) {
    this.#database = database;
    this.#counter = counter;
  }

  insert(exchange: string, routingKey: string, envelope: string, nowMs: number): void {
    const subscriber = "SELECT 1 FROM broker_listener WHERE exchange = ? AND is_subscriber = 1 LIMIT 1";
    if (!this.#database.get(subscriber, exchange)) return;
    const seq = this.#counter.next();
    this.#database.run(
      "INSERT INTO broker_fanout VALUES (?, ?, ?, ?, ?)",
      exchange,
      seq,
      routingKey,
      nowMs,
      envelope,
    );
    if (nowMs < this.#cleanAtMs) return;
    this.#cleanAtMs = nowMs + CLEAN_MS;
    this.#database.run(
      "DELETE FROM broker_fanout WHERE at < ? OR seq <= ?",
      nowMs - FANOUT_TTL_SECONDS * 1000,
      seq + 1 - ROWS_MAX,
    );
  }

  lastSeq(): number {
    return this.#counter.last();
  }

  after(exchange: string, seq: number, limit: number): FanoutRow[] {
    return this.#database.all(
      "SELECT seq, routing_key, envelope FROM broker_fanout WHERE exchange = ? AND seq > ? ORDER BY seq LIMIT ?",
      exchange,
      seq,
      limit,
    ).map((row) => ({
      seq: row["seq"] as number,
      routingKey: row["routing_key"] as string,
      envelope: row["envelope"] as string,
    }));
  }
}
