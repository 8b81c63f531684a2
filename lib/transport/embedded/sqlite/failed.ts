/** Failed tasks in the embedded database. */

import type { Database } from "../../../sqlite/mod.ts";
import type { FailedLimits } from "../../failed.ts";
import type { DeadLetter } from "../../message.ts";
import type { FailedStore } from "../store.ts";
import { letterOf } from "./dead.ts";
import { ROWS_MAX } from "./messages.ts";

/** The table broker_failed. `seq` counts up, so that tasks of the same moment keep their order. */
export class SqliteFailed implements FailedStore {
  #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  keep(tasks: readonly DeadLetter[], { count, seconds }: FailedLimits, nowMs: number): void {
    for (const { id, atMs, queue, reason, envelope } of tasks) {
      this.#database.run(
        "INSERT INTO broker_failed (id, at, queue, reason, envelope) VALUES (?, ?, ?, ?, ?)",
        id,
        atMs,
        queue,
        reason,
        envelope,
      );
    }
    this.#database.run("DELETE FROM broker_failed WHERE at < ?", nowMs - seconds * 1000);
    this.#database.run(
      "DELETE FROM broker_failed WHERE seq IN (SELECT seq FROM broker_failed ORDER BY seq DESC LIMIT -1 OFFSET ?)",
      count,
    );
  }

  count(): number {
    return this.#database.get("SELECT count(*) AS n FROM broker_failed")!["n"] as number;
  }

  list(limit: number): DeadLetter[] {
    return this.#database.all(
      "SELECT id, at, queue, reason, envelope FROM broker_failed ORDER BY seq DESC LIMIT ?",
      Math.min(Math.max(0, limit), ROWS_MAX),
    ).map(letterOf);
  }

  take(id: string): boolean {
    return this.#database.run("DELETE FROM broker_failed WHERE id = ?", id) > 0;
  }
}
