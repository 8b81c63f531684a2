/** Parked messages of the embedded broker. */

import type { Database } from "../../../sqlite/mod.ts";
import { markReported } from "../../../wire/mod.ts";
import type { ParkedMessage } from "../../message.ts";
import type { ParkedStore } from "../store.ts";
import type { Counter } from "./counter.ts";
import { placeOf, ROWS_MAX, type SqliteMessages } from "./messages.ts";

/** How many parked messages one turn releases. */
const RELEASE_MAX = 1000;

/** The table broker_parked. */
export class SqliteParked implements ParkedStore {
  readonly #database: Database;
  readonly #counter: Counter;
  readonly #messages: SqliteMessages;

  constructor(database: Database, counter: Counter, messages: SqliteMessages) {
    this.#database = database;
    this.#counter = counter;
    this.#messages = messages;
  }

  park(session: number, id: number, dueMs: number): string | null {
    const place = this.#messages.release(session, id);
    if (!place) return null;
    this.#database.run("INSERT INTO broker_parked VALUES (?, ?)", dueMs, id);
    return place.queue;
  }

  nextDueMs(): number | null {
    const row = this.#database.get("SELECT due FROM broker_parked ORDER BY due LIMIT 1");
    return row === undefined ? null : row["due"] as number;
  }

  releaseDue(nowMs: number): string[] {
    const rows = this.#database.all(
      `SELECT parked.id, queue, step, envelope FROM broker_parked AS parked JOIN broker_message USING (id)
       WHERE due <= ? ORDER BY due, parked.id LIMIT ${RELEASE_MAX}`,
      nowMs,
    );
    const queues = new Set<string>();
    const first = this.#counter.ahead(rows.length);
    for (let n = 0; n < rows.length; n++) {
      const place = placeOf(rows[n]!);
      const id = rows[n]!["id"] as number;
      this.#database.run(
        "UPDATE broker_message SET envelope = ? WHERE id = ?",
        markReported(rows[n]!["envelope"] as string),
        id,
      );
      this.#messages.makeReady(place, id, first + n);
      queues.add(place.queue);
    }
    this.#database.run(
      "DELETE FROM broker_parked WHERE (due, id) IN " +
        `(SELECT due, id FROM broker_parked WHERE due <= ? ORDER BY due, id LIMIT ${RELEASE_MAX})`,
      nowMs,
    );
    return [...queues];
  }

  list(limit: number): ParkedMessage[] {
    return this.#database.all(
      `SELECT due, message.id AS id, queue, envelope FROM broker_parked AS parked CROSS JOIN broker_message AS message
         ON message.id = parked.id
       ORDER BY due, parked.id LIMIT ?`,
      Math.min(limit, ROWS_MAX),
    ).map((row) => ({
      id: `${row["due"]}/${row["id"]}`,
      queue: row["queue"] as string,
      dueMs: row["due"] as number,
      envelope: row["envelope"] as string,
    }));
  }

  drop(id: string): boolean {
    const [due = NaN, number = NaN] = id.split("/").map(Number);
    const isParked =
      this.#database.run("DELETE FROM broker_parked WHERE due = ? AND id = ?", due, number) > 0;
    if (isParked) this.#database.run("DELETE FROM broker_message WHERE id = ?", number);
    return isParked;
  }

  purge(queue: string): number {
    const rows = this.#database.all(
      `SELECT due, message.id AS id FROM broker_parked AS parked CROSS JOIN broker_message AS message
         ON message.id = parked.id WHERE queue = ?`,
      queue,
    );
    return rows.filter((row) => this.drop(`${row["due"]}/${row["id"]}`)).length;
  }
}
