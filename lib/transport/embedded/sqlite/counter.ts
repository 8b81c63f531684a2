/**
 * The counter of an embedded database: ids, and positions at the heads of queues. A transaction that uses it
 * reads it once, and writes it once at its end.
 */

import type { Database } from "../../../sqlite/mod.ts";

/** The row of broker_counter. Ids are never used twice, so that a late ack cannot hit another message. */
export class Counter {
  readonly #database: Database;
  #isRead = false;
  #nextId = 0;
  #head = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Called when a transaction begins or has ended. */
  reset(): void {
    this.#isRead = false;
  }

  /** Returns the next id; also a position at the tail of any queue. */
  next(): number {
    this.#read();
    return this.#nextId++;
  }

  /** Returns the last id in use. */
  last(): number {
    this.#read();
    return this.#nextId - 1;
  }

  /** Returns the first of `count` consecutive positions ahead of all others. */
  ahead(count: number): number {
    this.#read();
    return this.#head -= count;
  }

  /** Writes the counter, if it was used, before a transaction is committed. */
  save(): void {
    if (!this.#isRead) return;
    this.#database.run("UPDATE broker_counter SET next_id = ?, head = ?", this.#nextId, this.#head);
  }

  #read(): void {
    if (this.#isRead) return;
    const row = this.#database.get("SELECT next_id, head FROM broker_counter")!;
    this.#nextId = row["next_id"] as number;
    this.#head = row["head"] as number;
    this.#isRead = true;
  }
}
