/** Figures by minute and hour, of each task name and of all, on disk and, for the minute that runs, in memory. */

import type { Database, Row } from "../../sqlite/mod.ts";
import { COUNTED, type Counted, Figures } from "./figures.ts";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
/** Names that a minute tells apart; what is beyond counts with all alone. */
const NAMES_MAX = 2000;
/** Exceptions that a minute tells apart. */
const FAILURES_MAX = 500;
/** How long figures by minute are kept of single names, and of all. */
const NAMES_KEPT = 2 * DAY;
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

/** How often an exception ended a task. `class` and `name` are numbers of words. */
export interface FailureSum {
  readonly class: number;
  readonly name: number;
  readonly count: number;
  readonly lastAt: number;
  readonly lastId: string;
  readonly lastText: string;
}

/** The figures of a database. */
export class FigureTable {
  readonly #database: Database;
  #minute: number;
  #now: Map<number, Figures>;
  #dirty = new Set<number>();
  #failures = new Map<string, FailureCount>();
  /** Sums of windows without the minute that runs, by window; of that minute only. */
  #sums = new Map<number, Map<number, Figures>>();
  #points = new Map<string, Figures>();

  constructor(database: Database, nowSeconds: number) {
    this.#database = database;
    this.#minute = minuteOf(nowSeconds);
    this.#now = this.#read(MINUTE, this.#minute, this.#minute);
    this.#readFailures();
    // Minutes that ended while nobody was here.
    const left = this.#database.all(
      "SELECT DISTINCT at FROM console_figures WHERE step = ? AND at < ? AND at > " +
        "coalesce((SELECT value FROM console_meta WHERE key = 'summed'), 0)",
      MINUTE,
      this.#minute,
    );
    for (const { at } of left) this.#sumUp(Number(at));
  }

  /** Counts an event; returns nothing. `name` is the number of a word. Cost: per event. */
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

  /** Writes what changed; part of a transaction. */
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

  /** The sums of the last `window` seconds, by name. The map and its figures belong to the caller. */
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

  /** The points of a chart: the beginnings of the steps, and the figures of each; the last is not over. */
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

  /** Failures of the last `window` seconds, the most frequent first. */
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

  /** Deletes what is too old; part of a transaction. */
  prune(nowSeconds: number): void {
    this.#database.run(
      "DELETE FROM console_figures WHERE step = ? AND name <> ? AND at < ?",
      MINUTE,
      ALL_NAMES,
      nowSeconds - NAMES_KEPT,
    );
    // With its steps, or every row would be looked at: the table is in the order of step and time.
    this.#database.run(
      "DELETE FROM console_figures WHERE step IN (?, ?) AND at < ?",
      MINUTE,
      HOUR,
      nowSeconds - KEPT,
    );
    this.#database.run("DELETE FROM console_failure WHERE at < ?", nowSeconds - KEPT);
  }

  /** Ends the minute where it is over: what is unwritten of it is written. */
  #turn(nowSeconds: number): void {
    const minute = minuteOf(nowSeconds);
    // A clock that is set back goes on in the minute it was in.
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

  /** Adds a minute that is over to its hour. */
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

  /** The window up to the minute that runs: by minutes as long as those of names are kept, else by hours. */
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
    // The minute that runs may be in the table as it was a moment ago: it is read without it. Hours have the minutes
    // that are over.
    const to = now !== undefined && table === MINUTE ? this.#minute - MINUTE : at + step - table;
    const figures = this.#read(table, at, to, name).get(name) ?? new Figures();
    if (now !== undefined) figures.merge(now);
    // A step that ended in this minute is whole when the minute is.
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

/** The figures of a name, made where there are none. */
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
