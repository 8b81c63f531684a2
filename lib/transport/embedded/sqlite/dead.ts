/** Dead letters of the embedded broker. */

import type { Database, Row } from "../../../sqlite/mod.ts";
import { unmarkReported } from "../../../wire/mod.ts";
import { DEAD_LETTERS_MAX, type DeadLetter } from "../../message.ts";
import type { DeadStore } from "../store.ts";
import { ROWS_MAX, type SqliteMessages } from "./messages.ts";

/** The table broker_dead. */
export class SqliteDead implements DeadStore {
  readonly #database: Database;
  readonly #messages: SqliteMessages;

  constructor(database: Database, messages: SqliteMessages) {
    this.#database = database;
    this.#messages = messages;
  }

  add(session: number, id: number, reason: string, nowMs: number): void {
    if (!this.#messages.release(session, id)) return;
    this.#database.run(
      "INSERT INTO broker_dead SELECT id, queue, ?, attempts, ?, envelope FROM broker_message WHERE id = ?",
      nowMs,
      reason,
      id,
    );
    this.#database.run("DELETE FROM broker_message WHERE id = ?", id);
    this.#database.run(
      `DELETE FROM broker_dead WHERE id IN
         (SELECT id FROM broker_dead ORDER BY at DESC LIMIT -1 OFFSET ${DEAD_LETTERS_MAX})`,
    );
  }

  count(): number {
    return this.#database.get("SELECT count(*) AS n FROM broker_dead")!["n"] as number;
  }

  list(limit: number): DeadLetter[] {
    return this.#database.all(
      "SELECT id, queue, at, reason, envelope FROM broker_dead ORDER BY at DESC, id DESC LIMIT ?",
      Math.min(limit, ROWS_MAX),
    ).map(letterOf);
  }

  revive(id: string, queue: string, step: number): boolean {
    const row = this.#database.get("DELETE FROM broker_dead WHERE id = ? RETURNING envelope", Number(id));
    if (row === undefined) return false;
    this.#messages.insert(queue, step, unmarkReported(row["envelope"] as string));
    return true;
  }

  drop(id: string): boolean {
    return this.#database.run("DELETE FROM broker_dead WHERE id = ?", Number(id)) > 0;
  }
}

/** Returns the letter in a row of broker_dead or broker_failed. */
export function letterOf(row: Row): DeadLetter {
  return {
    id: String(row["id"]),
    queue: row["queue"] as string | null,
    reason: row["reason"] as string,
    atMs: row["at"] as number,
    envelope: row["envelope"] as string,
  };
}
