/**
 * Figures per minute and hour, for each task name and for all names: on disk, and in memory for the current
 * minute.
 */

import type { Database, Row } from "../../sqlite/mod.ts";
import { COUNTED, type Counted, Figures } from "./figures.ts";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
/** Task names counted separately in a minute; further names count in the figures of all names only. */
const NAMES_MAX = 2000;
/** Pairs of exception and task counted separately in a minute; further pairs are not counted. */
const FAILURES_MAX = 500;
/** How long minutes of single names are kept. */
const NAMES_KEPT = 2 * DAY;
/** How long hours, and minutes of all names, are kept. */
const KEPT = 30 * DAY;
/** The number that stands for all names. */
export const ALL_NAMES = 0;

interface FailureCount {
  readonly class: number;
  readonly name: number;
  count: number;
  lastAt: number;
  lastId: string;
  lastText: string;
  isDirty: boolean;
}

/** How often an exception ended a task. `class` and `name` are numbers in `Words`. */
export interface FailureSum {
  readonly class: number;
  readonly name: number;
  readonly count: number;
  readonly lastAt: number;
  readonly lastId: string;
  readonly lastText: string;
}

/** The figures in a database. */
export class FigureTable {
  readonly #database: Database;
  #minute: number;
  #now: Map<number, Figures>;
  #dirty = new Set<number>();
  #failures = new Map<string, FailureCount>();
  /** Sums by window, without the current minute; valid until that minute ends. */
  #sums = new Map<number, Map<number, Figures>>();
  /** Points of charts whose step is over. */
  #points = new Map<string, Figures>();

  constructor(database: Database, nowSeconds: number) {
    this.#database = database;
    this.#minute = minuteOf(nowSeconds);
    this.#now = this.#read(MINUTE, this.#minute, this.#minute);
    this.#readFailures();
    // Minutes that ended after the last console stopped are not in their hours yet.
    const left = this.#database.all(
      "SELECT DISTINCT at FROM console_figures WHERE step = ? AND at < ? AND at > " +
        "coalesce((SELECT value FROM console_meta WHERE key = 'summed'), 0)",
      MINUTE,
      this.#minute,
    );
    for (const { at } of left) this.#sumUp(Number(at));
  }

  /** Counts an event. `name` is a number in `Words`. Cost: per event. */
  count(kind: Counted, name: number | null, nowSeconds: number): void {
    this.#turn(nowSeconds);
    this.#of(ALL_NAMES).counts[kind]++;
    if (name !== null) this.#ofName(name, (figures) => figures.counts[kind]++);
  }

  /** Adds a runtime or a waiting time, seconds. */
  add(what: "runtime" | "waited", seconds: number, name: number | null): void {
    this.#of(ALL_NAMES)[what].add(seconds);
    if (name !== null) this.#ofName(name, (figures) => figures[what].add(seconds));
  }

  /** Counts a failure. */
  fail(failure: { class: number; name: number; at: number; id: string; text: string }): void {
    const key = `${failure.class} ${failure.name}`;
    let known = this.#failures.get(key);
    if (known === undefined) {
      if (this.#failures.size >= FAILURES_MAX) return;
      known = { ...failure, count: 0, lastAt: 0, lastId: "", lastText: "", isDirty: true };
      this.#failures.set(key, known);
    }
    known.count++;
    known.lastAt = failure.at;
    known.lastId = failure.id;
    known.lastText = failure.text.slice(0, 500);
    known.isDirty = true;
  }

  /** Writes changed figures; called within a transaction. */
  write(): void {
    for (const name of this.#dirty) this.#put(MINUTE, this.#minute, name, this.#now.get(name)!);
    this.#dirty.clear();
    for (const failure of this.#failures.values()) {
      if (!failure.isDirty) continue;
      failure.isDirty = false;
      this.#database.run(
        "INSERT OR REPLACE INTO console_failure (at, class, name, count, last_at, last_id, last_text) " +
          "VALUES (?, ?, ?, ?, ?, ?, ?)",
        this.#minute,
        failure.class,
        failure.name,
        failure.count,
        failure.lastAt,
        failure.lastId,
        failure.lastText,
      );
    }
  }

  /** Returns the sums of the last `window` seconds, by name. The map and its figures belong to the caller. */
  sums(window: number, nowSeconds: number): Map<number, Figures> {
    this.#turn(nowSeconds);
    let before = this.#sums.get(window);
    if (before === undefined) {
      before = this.#window(window);
      if (this.#sums.size < 20) this.#sums.set(window, before);
    }
    const sums = new Map<number, Figures>();
    for (const part of [before, this.#now]) {
      for (const [name, figures] of part) figuresOf(sums, name).merge(figures);
    }
    return sums;
  }

  /**
   * Returns the points of a chart: the beginning of each step and its figures. The last step is incomplete.
   */
  points(window: number, step: number, options: { name: number; nowSeconds: number }): [number, Figures][] {
    const { name, nowSeconds } = options;
    this.#turn(nowSeconds);
    const last = Math.floor(nowSeconds / step) * step;
    const points: [number, Figures][] = [];
    for (let at = last - Math.ceil(window / step) * step + step; at <= last; at += step) {
      points.push([at, this.#point(at, step, name, at === last)]);
    }
    return points;
  }

  /** Returns the failures of the last `window` seconds, the most frequent first, at most 200. */
  failures(window: number, nowSeconds: number): FailureSum[] {
    const rows = this.#database.all(
      "SELECT class, name, sum(count) AS count, max(last_at) AS last_at, last_id, last_text FROM console_failure " +
        "WHERE at > ? GROUP BY class, name ORDER BY 3 DESC LIMIT 200",
      nowSeconds - window - MINUTE,
    );
    return rows.map((row) => ({
      class: Number(row["class"]),
      name: Number(row["name"]),
      count: Number(row["count"]),
      lastAt: Number(row["last_at"]),
      lastId: String(row["last_id"]),
      lastText: String(row["last_text"]),
    }));
  }

  /** Deletes figures that are too old. */
  prune(nowSeconds: number): void {
    this.#database.run(
      "DELETE FROM console_figures WHERE step = ? AND name <> ? AND at < ?",
      MINUTE,
      ALL_NAMES,
      nowSeconds - NAMES_KEPT,
    );
    // Naming the steps lets SQLite use the primary key, which begins with step and time.
    this.#database.run(
      "DELETE FROM console_figures WHERE step IN (?, ?) AND at < ?",
      MINUTE,
      HOUR,
      nowSeconds - KEPT,
    );
    this.#database.run("DELETE FROM console_failure WHERE at < ?", nowSeconds - KEPT);
  }

  /** Closes the current minute if it is over, and writes its unwritten figures. */
  #turn(nowSeconds: number): void {
    const minute = minuteOf(nowSeconds);
    // After the clock is set back, the current minute goes on.
    if (minute <= this.#minute) return;
    this.#database.transact(() => {
      this.write();
      this.#sumUp(this.#minute);
    });
    this.#minute = minute;
    this.#now = new Map();
    this.#dirty = new Set();
    this.#failures = new Map();
    this.#sums.clear();
    if (this.#points.size > 5000) this.#points.clear();
  }

  /** Adds a finished minute to its hour. */
  #sumUp(minute: number): void {
    const hour = Math.floor(minute / HOUR) * HOUR;
    const sums = this.#read(HOUR, hour, hour);
    for (const [name, figures] of this.#read(MINUTE, minute, minute)) {
      const sum = figuresOf(sums, name);
      sum.merge(figures);
      this.#put(HOUR, hour, name, sum);
    }
    this.#database.run("INSERT OR REPLACE INTO console_meta (key, value) VALUES ('summed', ?)", minute);
  }

  /** Sums a window up to the current minute: from minutes while those of names are kept, else from hours. */
  #window(window: number): Map<number, Figures> {
    const from = this.#minute - window + MINUTE;
    if (window <= NAMES_KEPT) return this.#read(MINUTE, from, this.#minute - MINUTE);
    return this.#read(HOUR, from, Math.floor(this.#minute / HOUR) * HOUR);
  }

  #point(at: number, step: number, name: number, isLast: boolean): Figures {
    const key = `${name} ${step} ${at}`;
    const known = this.#points.get(key);
    if (known !== undefined) return known;
    const table = step % HOUR === 0 ? HOUR : MINUTE;
    const now = isLast ? this.#now.get(name) : undefined;
    // The table may hold an earlier state of the current minute, so that minute is not read from it. Hours
    // contain finished minutes only.
    const to = now !== undefined && table === MINUTE ? this.#minute - MINUTE : at + step - table;
    const figures = this.#read(table, at, to, name).get(name) ?? new Figures();
    if (now !== undefined) figures.merge(now);
    // A step that ends within the current minute is complete only when the minute is.
    else if (!isLast && at + step <= this.#minute) this.#points.set(key, figures);
    return figures;
  }

  #read(step: number, from: number, to: number, name?: number): Map<number, Figures> {
    const found = new Map<number, Figures>();
    const rows = name === undefined
      ? this.#database.all(
        "SELECT * FROM console_figures WHERE step = ? AND at BETWEEN ? AND ?",
        step,
        from,
        to,
      )
      : this.#database.all(
        "SELECT * FROM console_figures WHERE step = ? AND at BETWEEN ? AND ? AND name = ?",
        step,
        from,
        to,
        name,
      );
    for (const row of rows) mergeRow(figuresOf(found, Number(row["name"])), row);
    return found;
  }

  #readFailures(): void {
    for (const row of this.#database.all("SELECT * FROM console_failure WHERE at = ?", this.#minute)) {
      const [kind, name] = [Number(row["class"]), Number(row["name"])];
      this.#failures.set(`${kind} ${name}`, {
        class: kind,
        name,
        count: Number(row["count"]),
        lastAt: Number(row["last_at"]),
        lastId: String(row["last_id"]),
        lastText: String(row["last_text"]),
        isDirty: false,
      });
    }
  }

  #put(step: number, at: number, name: number, { counts, runtime, waited }: Figures): void {
    this.#database.run(
      `INSERT OR REPLACE INTO console_figures (step, at, name, ${COUNTED.join(", ")}, runtime, waited) ` +
        `VALUES (?, ?, ?${", ?".repeat(COUNTED.length)}, ?, ?)`,
      step,
      at,
      name,
      ...COUNTED.map((kind) => counts[kind]),
      runtime.text(),
      waited.text(),
    );
  }

  #of(name: number): Figures {
    this.#dirty.add(name);
    return figuresOf(this.#now, name);
  }

  #ofName(name: number, change: (figures: Figures) => void): void {
    if (!this.#now.has(name) && this.#now.size > NAMES_MAX) return;
    change(this.#of(name));
  }
}

function minuteOf(seconds: number): number {
  return Math.floor(seconds / MINUTE) * MINUTE;
}

/** Returns the figures of a name, and adds them if they are missing. */
function figuresOf(all: Map<number, Figures>, name: number): Figures {
  let figures = all.get(name);
  if (figures === undefined) all.set(name, figures = new Figures());
  return figures;
}

function mergeRow({ counts, runtime, waited }: Figures, row: Row): void {
  for (const kind of COUNTED) counts[kind] += Number(row[kind]);
  runtime.mergeText(String(row["runtime"]));
  waited.mergeText(String(row["waited"]));
}
