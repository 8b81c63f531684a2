/** The table of tasks: writes, finds and deletes them. Every call is synchronous. */

import type { SQLInputValue } from "node:sqlite";
import type { Clock } from "../../base/mod.ts";
import type { Database, Row } from "../../sqlite/mod.ts";
import { packId } from "./ids.ts";
import { COLUMNS, detailValues, indexedText, recordOf, rowValues, type TaskRecord } from "./record.ts";
import { boundValues, type SearchSql } from "./search_sql.ts";
import type { Words } from "./words.ts";

/** Rows in the first span that a search reads. */
const SPAN_FIRST = 10_000;
/** A span may take at least this long, even if less of the time budget is left. */
const SPAN_MS = 20;
const SPAN_MIN = 2000;
/** A span is at most so many times as long as the one before. */
const SPAN_GROWTH_MAX = 32;
/** A search counts as rare if fewer than one task in so many matches. */
const RARE_PART = 500;

const INSERT = `INSERT INTO console_task (seq, ${COLUMNS.join(", ")}) VALUES (?${
  ", ?".repeat(COLUMNS.length)
})`;
const UPDATE = `UPDATE console_task SET ${COLUMNS.map((column) => `${column} = ?`).join(", ")} WHERE seq = ?`;
const DETAIL = "INSERT OR REPLACE INTO console_detail (seq, traceback, extra, timeline) VALUES (?, ?, ?, ?)";
const TEXT = "INSERT INTO console_text (rowid, text) VALUES (?, ?)";
const TEXT_AGAIN = "INSERT OR REPLACE INTO console_text (rowid, text) VALUES (?, ?)";

/** Where a search looks, and how far. */
export interface FindOptions {
  /** Only tasks with a number above this. */
  readonly above: number;
  /** Only tasks up to this number. */
  readonly upTo: number;
  readonly limit: number;
  /** Searches from the oldest task on; default: from the newest. */
  readonly isAscending?: boolean;
  /** The search ends after so long, with the matches found until then. */
  readonly budgetMs: number;
}

/** The matches of a search: numbers of tasks, in order. */
export interface Found {
  readonly seqs: number[];
  /** False: time ran out at `reached`, and there may be more matches beyond. */
  readonly isWhole: boolean;
  readonly reached: number;
}

/** The tasks in a database. */
export class TaskTable {
  readonly #database: Database;
  readonly #words: Words;
  readonly #clock: Clock;
  /** The highest task number. */
  last: number;
  /** The number of tasks. */
  count: number;

  constructor(database: Database, words: Words, clock: Clock) {
    this.#database = database;
    this.#words = words;
    this.#clock = clock;
    this.last = Number(database.get("SELECT max(seq) AS last FROM console_task")?.["last"] ?? 0);
    this.count = Number(database.get("SELECT count(*) AS count FROM console_task")?.["count"] ?? 0);
  }

  /** The lowest task number minus one. */
  get first(): number {
    return Number(this.#database.get("SELECT min(seq) AS first FROM console_task")?.["first"] ?? 1) - 1;
  }

  /** Writes tasks; called within a transaction. Cost: per task. */
  write(records: Iterable<TaskRecord>): void {
    const [insert, update] = [this.#database.statement(INSERT), this.#database.statement(UPDATE)];
    const [detail, text] = [this.#database.statement(DETAIL), this.#database.statement(TEXT)];
    const textAgain = this.#database.statement(TEXT_AGAIN);
    for (const record of records) {
      const values = rowValues(record, this.#words);
      const isNew = record.seq === 0;
      if (isNew) {
        record.seq = ++this.last;
        this.count++;
        insert.run(record.seq, ...values);
      } else update.run(...values, record.seq);
      if (record.isTextDirty) {
        const indexed = indexedText(record);
        if (indexed !== "") (isNew ? text : textAgain).run(record.seq, indexed);
        record.isTextDirty = false;
      }
      const details = detailValues(record);
      if (details !== null) detail.run(record.seq, ...details);
      record.isDirty = false;
    }
  }

  /** Returns the task with an id, with its details; null if it is not known. */
  load(id: string): TaskRecord | null {
    const row = this.#database.get("SELECT * FROM console_task WHERE id = ?", packId(id));
    if (row === undefined) return null;
    const detail = this.#database.get("SELECT * FROM console_detail WHERE seq = ?", row["seq"]!);
    return recordOf(row, this.#words, detail);
  }

  /** Returns tasks by their numbers, in that order; those that were deleted are left out. */
  rows(seqs: readonly number[], hasDetails = false): TaskRecord[] {
    const found: TaskRecord[] = [];
    for (const seq of seqs) {
      const row = this.#database.get("SELECT * FROM console_task WHERE seq = ?", seq);
      if (row === undefined) continue;
      const detail = hasDetails
        ? this.#database.get("SELECT * FROM console_detail WHERE seq = ?", seq)
        : undefined;
      found.push(recordOf(row, this.#words, detail));
    }
    return found;
  }

  /** Returns the tasks that a task sent, oldest first. */
  childrenOf(id: string, limit: number): TaskRecord[] {
    const rows = this.#database.all(
      "SELECT * FROM console_task WHERE parent = ? AND id <> ? ORDER BY seq LIMIT ?",
      packId(id),
      packId(id),
      limit,
    );
    return rows.map((row) => recordOf(row, this.#words));
  }

  /** Returns the tasks of one root and the root itself, oldest first. */
  treeOf(rootId: string, limit: number): TaskRecord[] {
    const rows = this.#database.all(
      "SELECT * FROM console_task WHERE root = ?1 OR id = ?1 ORDER BY seq LIMIT ?2",
      packId(rootId),
      limit,
    );
    return rows.map((row) => recordOf(row, this.#words));
  }

  /** Finds matches span by span, from the newest, or from the oldest if `isAscending`. */
  find({ inSpan, isIndexed, values }: SearchSql, options: FindOptions): Found {
    const { above, upTo, limit, isAscending = false, budgetMs } = options;
    const startMs = this.#clock.monoMs();
    const order = isAscending ? "ASC" : "DESC";
    const sql = `SELECT seq FROM console_task WHERE ${inSpan} ORDER BY seq ${order} LIMIT ${limit}`;
    const statement = this.#database.prepared(sql);
    const seqs: number[] = [];
    let reached = isAscending ? above : upTo;
    for (let span = SPAN_FIRST;;) {
      const [lo, hi] = isAscending
        ? [reached, Math.min(upTo, reached + span)]
        : [Math.max(above, reached - span), reached];
      if (lo >= hi) return { seqs, isWhole: true, reached };
      const spanMs = this.#clock.monoMs();
      const before = seqs.length;
      for (const { seq } of statement(...boundValues(sql, [lo, hi, ...values]))) {
        seqs.push(Number(seq));
        if (seqs.length === limit) return { seqs, isWhole: true, reached: Number(seq) };
      }
      reached = isAscending ? hi : lo;
      const nowMs = this.#clock.monoMs();
      if (nowMs - startMs > budgetMs) return { seqs, isWhole: false, reached };
      // The next span may use the remaining time, at least SPAN_MS, so that cheap spans grow.
      const left = Math.max(SPAN_MS, budgetMs - (nowMs - startMs));
      // A rare search grows fast to the whole rest: each lookup in the index costs, however short the span.
      const isRare = isIndexed && seqs.length - before < span / RARE_PART;
      const factor = isRare ? SPAN_GROWTH_MAX : left / Math.max(1, nowMs - spanMs);
      span = Math.max(SPAN_MIN, Math.floor(span * Math.min(SPAN_GROWTH_MAX, Math.max(0.25, factor))));
    }
  }

  /** Returns those of the given numbers whose tasks match a search. */
  among({ condition, values }: SearchSql, seqs: readonly number[]): number[] {
    if (seqs.length === 0) return [];
    const sql = `SELECT seq FROM console_task WHERE seq IN (${seqs.join(",")}) AND ${condition}`;
    const rows = this.#database.prepared(sql)(...boundValues(sql, [0, 0, ...values]));
    return rows.map(({ seq }) => Number(seq));
  }

  /** Returns the values of a column by task number, for sorting. */
  column(name: string, seqs: readonly number[]): Map<number, SQLInputValue> {
    const found = new Map<number, SQLInputValue>();
    const select = SORTS[name]!;
    for (let n = 0; n < seqs.length; n += 2000) {
      const part = seqs.slice(n, n + 2000).join(",");
      const rows = this.#database.prepared(
        `SELECT seq, ${select} AS value FROM console_task WHERE seq IN (${part})`,
      );
      for (const row of rows() as Row[]) {
        const value = row["value"]!;
        const isWord = name === "name" || name === "state" || name === "worker";
        found.set(Number(row["seq"]), isWord ? this.#words.text(value) : value);
      }
    }
    return found;
  }

  /** Deletes tasks; called within a transaction. */
  delete(seqs: readonly number[]): void {
    const [task, detail, text] = [
      "console_task WHERE seq",
      "console_detail WHERE seq",
      "console_text WHERE rowid",
    ]
      .map((place) => this.#database.statement(`DELETE FROM ${place} = ?`));
    for (const seq of seqs) {
      text!.run(seq);
      detail!.run(seq);
      if (task!.run(seq).changes > 0) this.count--;
    }
  }

  /** Returns the next tasks above a number, for pruning. `at` is the time of a task's last event. */
  after(seq: number, limit: number): { seq: number; hasFailed: boolean; at: number }[] {
    const rows = this.#database.all(
      "SELECT seq, failed IS NOT NULL AS failed, timestamp FROM console_task WHERE seq > ? ORDER BY seq LIMIT ?",
      seq,
      limit,
    );
    return rows.map((row) => ({
      seq: Number(row["seq"]),
      hasFailed: row["failed"] === 1,
      at: Number(row["timestamp"] ?? 0),
    }));
  }
}

/** Sort keys and their SQL expressions. "received" is not among them: it is the order of the table. */
export const SORTS: Readonly<Record<string, string>> = {
  receivedAt: "received",
  started: "started",
  ended: "coalesce(succeeded, failed, revoked, rejected)",
  updated: "timestamp",
  runtime: "runtime",
  waited: "waited",
  retries: "retries",
  name: "name",
  state: "state",
  worker: "worker",
};
