/**
 * Waiting for results in a SQLite file: readers are woken by a file that each writer touches, and also poll,
 * because a touch can be missed.
 */

import { type Clock, type Disarm, isRetryable } from "../base/mod.ts";
import { type Database, WakeFiles } from "../sqlite/mod.ts";
import { type ResultMeta, toJson } from "../wire/mod.ts";
import type { Watch } from "./backend.ts";
import { Watchers } from "./watchers.ts";

/** How often a waiting reader polls, milliseconds. */
const POLL_EVERY_MS = 200;
/** The same if the system gives no file watches. */
const POLL_BLIND_MS = 20;
/** How long the file watch outlives the last wait, milliseconds: making one costs more than a round trip. */
const WATCH_IDLE_MS = 2000;
/** If more ids than this are awaited, changes are read in order instead of by id. */
const BY_ID_MAX = 64;
const CHANGES_MAX = 500;

/** Delivers changes of the table `result` to waiting readers. */
export class SqliteWatch {
  readonly #clock: Clock;
  readonly #database: Database;
  readonly #watchers: Watchers;
  readonly #wakePath: string;
  readonly #wakes: WakeFiles;
  /** The highest `seq` that was delivered, of the file that `#openings` counts. */
  #seen = 0;
  #openings: number;
  #isBlind = false;
  #disarmPoll: Disarm | null = null;
  #isPolling = false;
  #idleSince = 0;
  #isClosed = false;

  constructor(clock: Clock, database: Database, decode: (document: string | Uint8Array) => ResultMeta) {
    this.#clock = clock;
    this.#database = database;
    this.#openings = database.openings;
    this.#wakePath = `${database.path}-results`;
    this.#wakes = new WakeFiles(clock, () => this.#watchers.size > 0 && this.#poll());
    this.#watchers = new Watchers({
      onFirst: (ids) => this.#wait(ids),
      onMore: (ids) => this.#wait(ids),
      onLast: () => {
        if (this.#watchers.size === 0) this.#idleSince = clock.monoMs();
      },
      decode,
    });
  }

  /** Waits for results, as `Backend.watch`. */
  watch(ids: readonly string[], onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void): Watch {
    return this.#watchers.open(ids, onMeta, onError);
  }

  /** Reads the document of a task's result; null if there is none, or if it has expired. */
  document(taskId: string): string | Uint8Array | null {
    const row = this.#database.get(
      "SELECT document FROM result WHERE task_id = ? AND coalesce(expires_at > ?, true)",
      taskId,
      Math.trunc(this.#clock.wallMs()),
    );
    return row ? row["document"] as string | Uint8Array : null;
  }

  /** Wakes the readers, since this process has stored something. */
  stored(): void {
    this.#wakes.touch(this.#wakePath);
    if (this.#watchers.size > 0) this.#poll();
  }

  /** Stops polling and ends every wait. */
  close(): void {
    this.#isClosed = true;
    this.#stopPolling();
    this.#watchers.close();
  }

  #wait(ids: readonly string[]): void {
    this.#startPolling();
    queueMicrotask(() => {
      if (this.#isClosed) return;
      try {
        for (const id of ids) {
          const document = this.#watchers.has(id) ? this.document(id) : null;
          if (document !== null) this.#watchers.deliver(id, document);
        }
      } catch {
        // Another process held the file; the next poll finds the documents, since it reads from the
        // beginning.
        this.#seen = 0;
      }
    });
  }

  #startPolling(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.#watchWakes();
    try {
      this.#seen = this.#lastSeq();
    } catch {
      this.#seen = 0;
    }
    this.#armPoll();
  }

  #watchWakes(): void {
    if (this.#isBlind) return;
    try {
      this.#wakes.watch([this.#wakePath]);
    } catch {
      // No inotify instance is left: polling more often makes up for it.
      this.#isBlind = true;
    }
  }

  #armPoll(): void {
    const clock = this.#clock;
    this.#disarmPoll = clock.arm(clock.monoMs() + (this.#isBlind ? POLL_BLIND_MS : POLL_EVERY_MS), () => {
      if (this.#watchers.size === 0) {
        if (clock.monoMs() - this.#idleSince >= WATCH_IDLE_MS) return this.#stopPolling();
      } else this.#poll();
      if (!this.#isClosed) this.#armPoll();
    });
  }

  #stopPolling(): void {
    this.#isPolling = false;
    this.#disarmPoll?.();
    this.#disarmPoll = null;
    this.#wakes.close();
  }

  /** Delivers the changes since the last poll. */
  #poll(): void {
    if (this.#isClosed) return;
    if (this.#openings !== this.#database.openings) {
      // The database is another file now, whose `seq` starts again; its wake file is another one too.
      this.#openings = this.#database.openings;
      this.#seen = 0;
      this.#wakes.close();
      this.#watchWakes();
    }
    try {
      const ids = this.#watchers.size <= BY_ID_MAX ? this.#watchers.ids() : null;
      // Read before the rows: a change stored in between is then delivered by the next poll, and not skipped.
      const upTo = ids ? this.#lastSeq() : 0;
      for (;;) {
        const rows = ids
          ? this.#database.all(
            "SELECT seq, task_id, document FROM result " +
              "WHERE task_id IN (SELECT value FROM json_each(?)) AND seq > ? ORDER BY seq",
            toJson(ids),
            this.#seen,
          )
          : this.#database.all(
            "SELECT seq, task_id, document FROM result WHERE seq > ? ORDER BY seq LIMIT ?",
            this.#seen,
            CHANGES_MAX,
          );
        if (ids) this.#seen = Math.max(this.#seen, upTo);
        for (const row of rows) {
          if (!ids) this.#seen = Number(row["seq"]);
          const id = String(row["task_id"]);
          if (this.#watchers.has(id)) this.#watchers.deliver(id, row["document"] as string | Uint8Array);
        }
        if (ids || rows.length < CHANGES_MAX) return;
      }
    } catch (error) {
      // Another process holds the file: the next poll reads the same. Any other error ends the waits.
      if (!isRetryable(error)) this.#watchers.fail(error as Error);
    }
  }

  #lastSeq(): number {
    return Number(this.#database.get("SELECT seq FROM sqlite_sequence WHERE name = 'result'")?.["seq"] ?? 0);
  }
}
