/**
 * Keeps the history within its budget of bytes, days and tasks. The oldest tasks are deleted first. Failed
 * tasks stay four times as many days, and are deleted for space only when no other tasks are left.
 */

import type { Database } from "../../sqlite/mod.ts";
import type { TaskTable } from "./task_table.ts";

/** Limits of the history. */
export interface HistoryLimits {
  /** Maximum size of the file. */
  readonly bytes: number;
  readonly days: number;
  /** Maximum number of tasks. */
  readonly tasks: number;
}

const DAY = 86_400;
/** How much longer failed tasks are kept. */
const FAILED_FACTOR = 4;
/** Tasks deleted in one transaction. */
const CHUNK = 1000;
/** How long one call may take, milliseconds. */
const CALL_MS = 60;
/** Part of the budget reserved for the write-ahead log and for writes between two calls. */
const SPARE_BYTES = 28 << 20;

/** Deletes tasks beyond the limits, a few at each call. */
export class Pruning {
  readonly #database: Database;
  readonly #tasks: TaskTable;
  readonly #limits: HistoryLimits;
  readonly #monoMs: () => number;
  /** Up to this task number only failed tasks are left. */
  #passed = 0;

  constructor(
    database: Database,
    { tasks, limits, monoMs }: { tasks: TaskTable; limits: HistoryLimits; monoMs: () => number },
  ) {
    this.#database = database;
    this.#tasks = tasks;
    this.#limits = limits;
    this.#monoMs = monoMs;
  }

  /** Returns the bytes in use, in the file or in memory. */
  usedBytes(): number {
    const [pages, free, size] = ["page_count", "freelist_count", "page_size"].map((name) =>
      Number(Object.values(this.#database.get(`PRAGMA ${name}`) ?? {})[0] ?? 0)
    );
    return (pages! - free!) * size!;
  }

  /** Deletes for at most 60 ms. */
  run(nowSeconds: number): void {
    const endMs = this.#monoMs() + CALL_MS;
    while (this.#monoMs() < endMs && this.#step(nowSeconds));
  }

  /** Deletes one chunk. Returns false if nothing is beyond the limits. */
  #step(now: number): boolean {
    const { bytes, days, tasks } = this.#limits;
    const isFull = this.#tasks.count > tasks ||
      this.usedBytes() > Math.max(bytes / 2, bytes - Math.min(SPARE_BYTES, bytes / 8));
    const oldest = now - days * DAY;
    return this.#deleteOthers(isFull, oldest) || this.#deleteFailed(isFull, now - days * DAY * FAILED_FACTOR);
  }

  #deleteOthers(isFull: boolean, oldest: number): boolean {
    const rows = this.#tasks.after(this.#passed, CHUNK);
    const old = isFull ? rows : takeWhile(rows, ({ at }) => at < oldest);
    if (old.length === 0) return false;
    const doomed = old.filter(({ hasFailed }) => !hasFailed).map(({ seq }) => seq);
    this.#passed = old.at(-1)!.seq;
    if (doomed.length > 0) this.#database.transact(() => this.#tasks.delete(doomed));
    return true;
  }

  #deleteFailed(isFull: boolean, oldest: number): boolean {
    const rows = this.#tasks.after(0, CHUNK).filter(({ seq }) => seq <= this.#passed);
    const isLastResort = isFull && this.#passed >= this.#tasks.last;
    const doomed = (isLastResort ? rows : takeWhile(rows, ({ at }) => at < oldest)).map(({ seq }) => seq);
    if (doomed.length === 0) return false;
    this.#database.transact(() => this.#tasks.delete(doomed));
    return true;
  }
}

function takeWhile<T>(all: readonly T[], fits: (one: T) => boolean): T[] {
  const end = all.findIndex((one) => !fits(one));
  return end < 0 ? [...all] : all.slice(0, end);
}
