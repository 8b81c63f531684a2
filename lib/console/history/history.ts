/**
 * The history: every task seen in events, and figures per minute, in one SQLite file or in memory.
 *
 *   event ──► TaskRecord (in memory) ──a quarter of a second to a second──► one transaction ──► the file
 *
 * A killed process loses at most that time. Memory is bounded: only the newest of the written tasks stay in
 * it, and an event for another task reads that task back.
 */

import { type Clock, DialError, OperatingError, type World } from "../../base/mod.ts";
import type { ReceivedEvent } from "../../event/mod.ts";
import { Database } from "../../sqlite/mod.ts";
import { FigureTable } from "./figure_table.ts";
import { type Counted, isCounted } from "./figures.ts";
import { type HistoryLimits, Pruning } from "./pruning.ts";
import { exceptionClass, TaskRecord } from "./record.ts";
import { readSearch } from "./search.ts";
import { type SearchSql, searchSql } from "./search_sql.ts";
import { makeTables } from "./tables.ts";
import { SORTS, TaskTable } from "./task_table.ts";
import { Words } from "./words.ts";

/** Tasks in memory. Beyond this, written tasks are removed, the earliest added first. */
const RECENT_MAX = 4000;
/** So many unwritten tasks are written immediately, without waiting for the timer. */
const DIRTY_MAX = 4000;
/**
 * Interval between two writes. It grows with a write's duration, so that writing takes at most a fifth of the
 * time.
 */
const WRITE_EVERY_MS = 250;
const WRITE_LATEST_MS = 1000;
const WRITE_PART = 5;
/** Interval between two checks of the budget. */
const PRUNE_EVERY_MS = 1000;
/** How many matches are counted, and how many of the newest matches a list in another order covers. */
export const MATCHES_MAX = 10_000;
/** How many tasks `slice` reads, and how long it may take, since programs may ask for everything. */
const SLICE_MAX = 100_000;
const SLICE_MS = 5000;
/** How long a search may take before it returns what it has found so far. */
const SEARCH_MS = 120;

/** Events that carry arguments, a result or an exception. */
const WITH_TEXT: ReadonlySet<string> = new Set([
  "sent",
  "received",
  "succeeded",
  "failed",
  "retried",
  "revoked",
]);

/** Options of `History.open`. */
export interface HistoryOptions {
  /** The file; null keeps the history in memory. */
  readonly path: string | null;
  readonly limits: HistoryLimits;
}

/** A request for a page. */
export interface PageRequest {
  readonly search: string;
  /** A key of SORTS or "received"; a leading `-` means descending. */
  readonly sort: string;
  readonly limit: number;
  /** `next` or `previous` of another page of the same search and order. */
  readonly cursor: string | null;
}

/** A page of tasks. */
export interface Page {
  readonly records: readonly TaskRecord[];
  readonly total: number;
  readonly isTotalExact: boolean;
  readonly next: string | null;
  readonly previous: string | null;
}

/** A compiled search. */
export type CompiledSearch = SearchSql;

/** The tasks and figures of one cluster. */
export class History {
  readonly #clock: Clock;
  readonly #log: World["log"];
  readonly #database: Database;
  readonly words: Words;
  readonly tasks: TaskTable;
  readonly figures: FigureTable;
  readonly #pruning: Pruning;
  readonly #recent = new Map<string, TaskRecord>();
  #dirty = new Set<TaskRecord>();
  #disarm: (() => void) | null = null;
  #pruneAtMs = 0;
  #writeMs = WRITE_EVERY_MS;
  #failures = 0;
  /** Called after each write with the tasks that were written. */
  onWritten: ((records: readonly TaskRecord[]) => void) | null = null;

  private constructor({ clock, log }: World, database: Database, limits: HistoryLimits) {
    this.#clock = clock;
    this.#log = log;
    this.#database = database;
    this.words = new Words(database);
    this.tasks = new TaskTable(database, this.words, clock);
    this.figures = new FigureTable(database, clock.wallMs() / 1000);
    this.#pruning = new Pruning(database, { tasks: this.tasks, limits, monoMs: () => clock.monoMs() });
  }

  /**
   * Opens the history, or creates it. Rejects as `Database.open` and `makeTables`, and if another console has
   * the file open.
   */
  static async open(world: World, { path, limits }: HistoryOptions): Promise<History> {
    const noun = "history";
    const database = path === null
      ? await Database.openInMemory({ noun, makeTables })
      : await Database.open({ path, clock: world.clock, noun, isExclusive: true, makeTables })
        .catch((error) => {
          throw error instanceof DialError ? takenError(path, error) : error;
        });
    return new History(world, database, limits);
  }

  /** Records a task event in memory, and writes only if DIRTY_MAX tasks are unwritten. Cost: per event. */
  event(subject: string, event: ReceivedEvent): void {
    const id = event["uuid"];
    if (typeof id !== "string" || id === "" || id.length > 512) return;
    const record = this.#record(id);
    const { state } = record;
    record.note(subject, event.timestamp, event.hostname);
    if (subject === "sent") state.client = event.hostname;
    else record.worker = event.hostname;
    state.event(subject, event);
    if (WITH_TEXT.has(subject)) record.isTextDirty = true;
    if (isCounted(subject)) this.#count(subject, record, event);
    record.isDirty = true;
    this.#dirty.add(record);
    if (this.#dirty.size >= DIRTY_MAX) this.write();
    else this.#disarm ??= this.#clock.arm(this.#clock.monoMs() + this.#writeMs, () => this.#onTimer());
  }

  /** Writes unwritten tasks and figures. */
  write(): void {
    const records = [...this.#dirty];
    if (records.length === 0) return;
    this.#database.transact(() => {
      this.tasks.write(records);
      this.figures.write();
      this.words.write();
    });
    this.#dirty = new Set();
    this.#forget();
    this.onWritten?.(records);
  }

  /** Returns the current record of a task; null if it is not known. */
  task(id: string): TaskRecord | null {
    return this.#recent.get(id) ?? this.tasks.load(id);
  }

  /** Compiles a search. Throws SearchError. */
  compile(search: string): CompiledSearch {
    return searchSql(readSearch(search, this.#clock.wallMs() / 1000), this.words);
  }

  /** Returns a page of a search; an invalid cursor gives the first page. Throws SearchError. */
  page({ search, sort, limit, cursor }: PageRequest): Page {
    const isAll = search.trim() === "";
    const compiled = this.compile(search);
    const isDescending = sort.startsWith("-");
    const column = sort.replace(/^-/, "");
    if (Object.hasOwn(SORTS, column)) return this.#sorted(compiled, { column, isDescending, limit, cursor });
    const at = /^([np])(\d+)\.(\d+)\.([01])$/.exec(cursor ?? "");
    if (at === null) {
      const { last, count } = this.tasks;
      const found = this.#find(compiled, {
        above: 0,
        upTo: last,
        limit: isAll ? limit + 1 : MATCHES_MAX + 1,
        isAscending: !isDescending,
      });
      const isExact = isAll || found.isWhole && found.seqs.length <= MATCHES_MAX;
      const total = isAll ? count : Math.min(MATCHES_MAX, found.seqs.length);
      return this.#cut({ ...found, limit, isDescending, isFirst: true }, total, isExact);
    }
    // Previous pages are searched backwards.
    const [, way, seq, total, isExact] = at;
    const isBackward = way === "p";
    const isAscending = isDescending === isBackward;
    const found = this.#find(compiled, {
      above: isAscending ? Number(seq) : 0,
      upTo: isAscending ? this.tasks.last : Number(seq) - 1,
      limit: limit + 1,
      isAscending,
    });
    return this.#cut({ ...found, limit, isDescending, isBackward }, Number(total), isExact === "1");
  }

  /**
   * Returns up to `limit` matches from `offset` on, in the order `sort`, with details. At most 100000 matches
   * are read. `total` is the number of matches read, not of all matches. Throws SearchError.
   */
  slice(
    { search, sort, offset, limit }: { search: string; sort: string; offset: number; limit: number },
  ): { records: readonly TaskRecord[]; total: number } {
    const column = sort.replace(/^-/, "");
    const isOwnOrder = column === "received";
    const isDescending = sort.startsWith("-");
    const wanted = Math.min(SLICE_MAX, isOwnOrder ? offset + limit : SLICE_MAX);
    const seqs = this.tasks.find(this.compile(search), {
      above: this.tasks.first,
      upTo: this.tasks.last,
      limit: wanted,
      isAscending: isOwnOrder && !isDescending,
      budgetMs: SLICE_MS,
    }).seqs;
    if (!isOwnOrder) this.#sort(seqs, column, isDescending);
    return { records: this.tasks.rows(seqs.slice(offset, offset + limit), true), total: seqs.length };
  }

  /** Returns the numbers of the newest matches of a search. */
  newest(search: CompiledSearch, limit: number): number[] {
    return this.#find(search, { above: 0, upTo: this.tasks.last, limit, isAscending: false }).seqs;
  }

  /** Writes unwritten tasks and figures, and closes. */
  close(): void {
    this.#disarm?.();
    this.#disarm = null;
    try {
      this.write();
    } finally {
      this.#database.close();
    }
  }

  #record(id: string): TaskRecord {
    const known = this.#recent.get(id);
    if (known !== undefined) return known;
    const record = this.tasks.load(id) ?? new TaskRecord(id);
    this.#recent.set(id, record);
    return record;
  }

  #count(subject: Counted, record: TaskRecord, event: ReceivedEvent): void {
    const { state } = record;
    const now = event.local_received;
    const name = this.words.number(state.name);
    this.figures.count(subject, name, now);
    if (subject === "started" && state.started !== null) {
      const from = state.sent ?? state.received;
      if (from !== null) {
        const due = state.eta === null ? NaN : Date.parse(state.eta) / 1000;
        record.waited = Math.max(0, state.started - (due > from ? due : from));
        this.figures.add("waited", record.waited, name);
      }
    } else if (subject === "succeeded" && state.runtime !== null) {
      this.figures.add("runtime", state.runtime, name);
    } else if (subject === "failed") {
      this.figures.fail({
        class: this.words.number(exceptionClass(state.exception) ?? "UnknownException")!,
        name: name ?? 0,
        at: now,
        id: state.uuid,
        text: state.exception ?? "",
      });
    }
  }

  #onTimer(): void {
    this.#disarm = null;
    try {
      const startMs = this.#clock.monoMs();
      this.write();
      this.#failures = 0;
      const nowMs = this.#clock.monoMs();
      this.#writeMs = Math.min(WRITE_LATEST_MS, Math.max(WRITE_EVERY_MS, (nowMs - startMs) * WRITE_PART));
      if (nowMs < this.#pruneAtMs) return;
      this.#pruneAtMs = nowMs + PRUNE_EVERY_MS;
      const now = this.#clock.wallMs() / 1000;
      this.#pruning.run(now);
      this.figures.prune(now);
    } catch (error) {
      // A full disk, for example. The next event tries again; only the first of consecutive failures is
      // logged.
      if (this.#failures++ === 0) this.#log.error(`Cannot write the history: ${String(error)}`);
      if (this.#dirty.size >= DIRTY_MAX) this.#dirty = new Set();
    }
  }

  #forget(): void {
    for (const [id, record] of this.#recent) {
      if (this.#recent.size <= RECENT_MAX) return;
      if (!record.isDirty) this.#recent.delete(id);
    }
  }

  #find(
    search: CompiledSearch,
    options: { above: number; upTo: number; limit: number; isAscending: boolean },
  ) {
    const above = Math.max(options.above, this.tasks.first);
    return this.tasks.find(search, { ...options, above, budgetMs: SEARCH_MS });
  }

  #cut(
    found: {
      seqs: number[];
      isWhole: boolean;
      reached: number;
      limit: number;
      isDescending: boolean;
      isFirst?: boolean;
      isBackward?: boolean;
    },
    total: number,
    isTotalExact: boolean,
  ): Page {
    const { limit, isFirst = false, isBackward = false } = found;
    const hasMore = found.seqs.length > limit;
    const seqs = found.seqs.slice(0, limit);
    if (isBackward) seqs.reverse();
    const rest = `${total}.${isTotalExact ? 1 : 0}`;
    const beyond = hasMore || !found.isWhole;
    // If time ran out, the next page continues where this one stopped.
    const from = seqs.length === 0 || !hasMore && !found.isWhole
      ? found.reached + (found.isDescending ? 1 : 0)
      : seqs.at(-1)!;
    const isNext = isBackward ? seqs.length > 0 : beyond;
    const isPrevious = isBackward ? beyond : !isFirst && seqs.length > 0;
    return {
      records: this.tasks.rows(seqs),
      total,
      isTotalExact,
      next: isNext ? `n${isBackward ? seqs.at(-1)! : from}.${rest}` : null,
      previous: isPrevious ? `p${seqs[0]!}.${rest}` : null,
    };
  }

  /** Returns a page sorted by a column other than the order of arrival: of the newest MATCHES_MAX matches. */
  #sorted(
    search: CompiledSearch,
    { column, isDescending, limit, cursor }: {
      column: string;
      isDescending: boolean;
      limit: number;
      cursor: string | null;
    },
  ): Page {
    const at = /^o(\d+)\.(\d+)$/.exec(cursor ?? "");
    const offset = at === null ? 0 : Number(at[1]);
    const upTo = at === null ? this.tasks.last : Number(at[2]);
    const found = this.#find(search, { above: 0, upTo, limit: MATCHES_MAX + 1, isAscending: false });
    const isTotalExact = found.isWhole && found.seqs.length <= MATCHES_MAX;
    const seqs = found.seqs.slice(0, MATCHES_MAX);
    this.#sort(seqs, column, isDescending);
    const page = (to: number) => `o${Math.max(0, to)}.${upTo}`;
    return {
      records: this.tasks.rows(seqs.slice(offset, offset + limit)),
      total: seqs.length,
      isTotalExact,
      next: offset + limit < seqs.length ? page(offset + limit) : null,
      previous: offset > 0 ? page(offset - limit) : null,
    };
  }

  /** Sorts numbers of tasks by a column; among equal values the newest comes first. */
  #sort(seqs: number[], column: string, isDescending: boolean): void {
    const values = this.tasks.column(column, seqs);
    const way = isDescending ? -1 : 1;
    seqs.sort((a, b) => way * compared(values.get(a) ?? null, values.get(b) ?? null, way) || b - a);
  }
}

/** Compares two values; unknown values come last in both orders. */
function compared(a: unknown, b: unknown, way: number): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? way : -way;
  return typeof a === "string" || typeof b === "string"
    ? String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0
    : Number(a) - Number(b);
}

/** Makes the error for a file that another console has open. */
function takenError(path: string, cause: DialError): OperatingError {
  return new OperatingError(
    `Cannot open history "${path}": another console has it open; name another file with --db, or keep none with ` +
      "--no-history",
    { cause },
  );
}
