/** Chord counters in a SQLite file: how many members a chord has, which have finished, and who completed it. */

import type { Database } from "../sqlite/mod.ts";
import type { ChordPart } from "./backend.ts";
import { ENDED, ENDED_SECONDS } from "./chord.ts";

/** The times that the counters need. */
export interface ChordTimes {
  nowMs(): number;
  /** Returns when a row written now expires; null: never. */
  expiry(): number | null;
}

/** The tables `result_chord` and `result_chord_member`. */
export class SqliteChords {
  readonly #database: Database;
  readonly #times: ChordTimes;

  constructor(database: Database, times: ChordTimes) {
    this.#database = database;
    this.#times = times;
  }

  /** Sets a chord's size. */
  start(groupId: string, size: number): void {
    this.#database.run(
      "INSERT INTO result_chord (group_id, size, expires_at) VALUES (?, ?, ?) " +
        "ON CONFLICT (group_id) DO UPDATE SET size = excluded.size, expires_at = excluded.expires_at",
      groupId,
      size,
      this.#times.expiry(),
    );
  }

  /** Adds to the number of expected members. */
  grow(groupId: string, by: number): void {
    this.#database.run(
      "INSERT INTO result_chord (group_id, grown, expires_at) VALUES (?, ?, ?) " +
        "ON CONFLICT (group_id) DO UPDATE SET grown = grown + excluded.grown, expires_at = excluded.expires_at",
      groupId,
      by,
      this.#times.expiry(),
    );
  }

  /**
   * Counts a member; returns the documents of all members if it completed the chord, else null. Inside a
   * transaction.
   */
  count(part: ChordPart, document: string | Uint8Array): (string | Uint8Array)[] | null {
    const { groupId, taskId, groupIndex } = part;
    const before = this.#chord(groupId);
    if (before?.["owner"] === ENDED && Number(before["expires_at"]) > this.#times.nowMs()) return null;
    this.#database.run(
      "INSERT INTO result_chord (group_id, expires_at) VALUES (?, ?) " +
        "ON CONFLICT (group_id) DO UPDATE SET expires_at = excluded.expires_at",
      groupId,
      this.#times.expiry(),
    );
    const isSeen = this.#database.get(
      "SELECT 1 FROM result_chord_member WHERE group_id = ? AND task_id = ?",
      groupId,
      taskId,
    ) !== undefined;
    this.#database.run(
      "INSERT INTO result_chord_member (group_id, task_id, position, document) VALUES (?, ?, ?, ?) " +
        "ON CONFLICT (group_id, task_id) DO UPDATE SET position = excluded.position, document = excluded.document",
      groupId,
      taskId,
      groupIndex,
      document,
    );
    const { size, grown, owner } = this.#chord(groupId)!;
    const count = this.#database.get(
      "SELECT count(*) AS n FROM result_chord_member WHERE group_id = ?",
      groupId,
    )!["n"];
    if (size === null || Number(count) !== Number(size) + Number(grown)) return null;
    // Only the task that completed the header, run again after a crash, completes it a second time.
    if (isSeen && owner !== null && owner !== taskId) return null;
    this.#database.run("UPDATE result_chord SET owner = ? WHERE group_id = ?", taskId, groupId);
    return this.#database.all(
      "SELECT document FROM result_chord_member WHERE group_id = ? ORDER BY position IS NULL, position, rowid",
      groupId,
    ).map((row) => row["document"] as string | Uint8Array);
  }

  /** Deletes a chord's counters, and records for ENDED_SECONDS that it has ended. Inside a transaction. */
  end(groupId: string): void {
    this.#database.run("DELETE FROM result_chord_member WHERE group_id = ?", groupId);
    this.#database.run(
      "INSERT OR REPLACE INTO result_chord (group_id, owner, expires_at) VALUES (?, ?, ?)",
      groupId,
      ENDED,
      this.#times.nowMs() + ENDED_SECONDS * 1000,
    );
  }

  /** Deletes expired chords. Inside a transaction. */
  expire(): void {
    const nowMs = this.#times.nowMs();
    this.#database.run(
      "DELETE FROM result_chord_member WHERE group_id IN (SELECT group_id FROM result_chord WHERE expires_at <= ?)",
      nowMs,
    );
    this.#database.run("DELETE FROM result_chord WHERE expires_at <= ?", nowMs);
  }

  #chord(groupId: string) {
    return this.#database.get(
      "SELECT size, grown, owner, expires_at FROM result_chord WHERE group_id = ?",
      groupId,
    );
  }
}
