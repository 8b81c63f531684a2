/**
 * A search as SQL over the table of tasks.
 *
 * Each part gives a condition, and if an index serves it a *source*: a select of the numbers (`seq`) of all tasks of a
 * span that may match. A conjunction takes the best source of its parts, an alternative all of them together; where
 * there is none, the span is read through. The condition is checked in any case, so a source may give too many.
 */

import type { SQLInputValue } from "node:sqlite";
import { packId, prefixRange } from "./ids.ts";
import type { Search } from "./search.ts";

/** A compiled search: conditions over the table of tasks. */
export interface SearchSql {
  /** Within a span of numbers: above ?1, up to ?2. */
  readonly inSpan: string;
  /** Of any task; ?1 and ?2 may be anything. */
  readonly condition: string;
  /** An index serves it: what it costs depends on how many it finds, hardly on the span. */
  readonly isIndexed: boolean;
  /** Of the parameters from ?3 on. */
  readonly values: readonly SQLInputValue[];
}

/** Looks up the numbers of words (names, workers, states, queues) that contain a text, or are it. */
export interface WordLookup {
  containing(text: string): readonly number[];
  /** Ignoring case. */
  equal(text: string): readonly number[];
}

interface Part {
  readonly condition: string;
  readonly source: string | null;
  /** How many tasks its source may give: 0 a few, 1 some, 2 many. */
  readonly weight: number;
}

const SPAN = "seq > ?1 AND seq <= ?2";
/** From here on runtimes and waits have an index. */
const SLOW_SECONDS = 1;
/** An id is also found by its beginning, if it has so many characters. */
const ID_CHARS_MIN = 6;

/** Compiles a search. */
export function searchSql(search: Search, words: WordLookup): SearchSql {
  const values: SQLInputValue[] = [];
  const compiler = new Compiler(words, (value) => `?${values.push(value) + 2}`);
  const { condition, source } = compiler.part(search);
  // With a source the span stands in it alone, so that SQLite starts from there.
  return {
    inSpan: source === null ? `${SPAN} AND ${condition}` : `seq IN (${source}) AND ${condition}`,
    condition,
    isIndexed: source !== null,
    values,
  };
}

/** As many values as a text has parameters: those of a source that was not taken are left out. */
export function boundValues(sql: string, values: readonly SQLInputValue[]): readonly SQLInputValue[] {
  let last = 0;
  for (const [, number] of sql.matchAll(/\?(\d+)/g)) last = Math.max(last, Number(number));
  return values.slice(0, Math.max(0, last));
}

class Compiler {
  readonly #words: WordLookup;
  readonly #bind: (value: SQLInputValue) => string;

  constructor(words: WordLookup, bind: (value: SQLInputValue) => string) {
    this.#words = words;
    this.#bind = bind;
  }

  part(search: Search): Part {
    switch (search.kind) {
      case "all":
        return scanned("1");
      case "and":
        return both(search.parts.map((one) => this.part(one)));
      case "or":
        return either(search.parts.map((one) => this.part(one)));
      case "not":
        return scanned(`NOT coalesce(${this.part(search.part).condition}, 0)`);
      case "text":
        return search.field === null
          ? this.#anywhere(search.value)
          : this.#inField(search.field, search.value);
      case "pair":
        return this.#pair(search.key, search.value);
      case "exact":
        return this.#exact(search.field, search.value);
      case "number": {
        const { field, above, value } = search;
        const condition = `${field} ${above ? ">=" : "<="} ${this.#bind(value)}`;
        if (field === "retries" || !above || value < SLOW_SECONDS) return scanned(condition);
        const slow = `console_task INDEXED BY console_task_${field} WHERE ${field} > ${SLOW_SECONDS}`;
        return { condition, source: `SELECT seq FROM ${slow} AND ${condition} AND ${SPAN}`, weight: 1 };
      }
      case "time": {
        const { field, after, at } = search;
        const column = field === "ended" ? "coalesce(succeeded, failed, revoked, rejected)" : field;
        return scanned(`${column} ${after ? ">=" : "<="} ${this.#bind(at)}`);
      }
    }
  }

  /** A word alone: in the id, the name, the worker, the state, the queue, arguments, result or exception. */
  #anywhere(value: string): Part {
    const inText = this.#inTexts(["args", "kwargs", "result", "exception"], value);
    const parts = [inText];
    const numbers = this.#words.containing(value);
    for (const column of ["name", "worker", "state", "queue"]) {
      if (numbers.length > 0) parts.push(indexed(column, numbers));
    }
    if (value.length >= ID_CHARS_MIN) parts.push(this.#id(value));
    return either(parts);
  }

  #inField(field: string, value: string): Part {
    if (field === "name" || field === "worker") {
      const numbers = value.startsWith("=")
        ? this.#words.equal(value.slice(1))
        : this.#words.containing(value);
      return indexed(field, numbers);
    }
    return this.#inTexts([field], value);
  }

  #inTexts(columns: readonly string[], value: string): Part {
    const like = this.#bind(`%${escaped(value)}%`);
    const condition = `(${columns.map((column) => `${column} LIKE ${like} ESCAPE '\\'`).join(" OR ")})`;
    return { condition, source: this.#trigrams(value), weight: 1 };
  }

  /** Tasks whose texts hold every three letters in a row of one of `texts`, each of three letters at least. */
  #trigrams(...texts: readonly string[]): string {
    const queries = texts.map((text) => {
      const letters = [...text];
      const all = new Set<string>();
      for (let n = 0; n + 3 <= letters.length; n++) all.add(letters.slice(n, n + 3).join(""));
      // The last ones say most, and a few say enough: the condition looks at the rest.
      const few = [...all].slice(-24).map((one) => `"${one.replaceAll('"', '""')}"`);
      return `(${few.join(" AND ")})`;
    });
    return `SELECT rowid FROM console_text WHERE console_text MATCH ${this.#bind(queries.join(" OR "))} ` +
      "AND rowid > ?1 AND rowid <= ?2";
  }

  /** A keyword argument in Python's text of all of them: `'k': v`. */
  #pair(key: string, value: string): Part {
    const start = `'${escaped(key)}': `;
    const ways = [value, `'${value}'`, `"${value}"`].flatMap((one) =>
      [",", "}"].map((end) => `kwargs LIKE ${this.#bind(`%${start}${escaped(one)}${end}%`)} ESCAPE '\\'`)
    );
    const texts = [value, `'${value}`, `"${value}`].map((one) => `'${key}': ${one}`);
    return { condition: `(${ways.join(" OR ")})`, source: this.#trigrams(...texts), weight: 1 };
  }

  #exact(field: string, value: string): Part {
    if (field === "id") return this.#id(value);
    if (field === "state" || field === "queue") {
      return indexed(field, this.#words.equal(value));
    }
    const packed = this.#bind(packId(value));
    const condition = field === "root" ? `(root = ${packed} OR id = ${packed})` : `parent = ${packed}`;
    const select = (where: string) => `SELECT seq FROM console_task WHERE ${where} AND ${SPAN}`;
    const own = field === "root" ? ` UNION ${select(`id = ${packed}`)}` : "";
    return { condition, source: `${select(`${field} = ${packed}`)}${own}`, weight: 0 };
  }

  #id(value: string): Part {
    const range = prefixRange(value);
    const whole = this.#bind(packId(value));
    const condition = range === null
      ? `id = ${whole}`
      : `(id = ${whole} OR id >= ${this.#bind(range[0])} AND id < ${this.#bind(range[1])})`;
    return { condition, source: `SELECT seq FROM console_task WHERE ${condition} AND ${SPAN}`, weight: 0 };
  }
}

function scanned(condition: string): Part {
  return { condition, source: null, weight: 3 };
}

/** Columns that hold the number of a word. Of those with an index one is used if nothing better is there. */
function indexed(column: string, numbers: readonly number[]): Part {
  if (numbers.length === 0) return { condition: "0", source: "SELECT 0 WHERE 0", weight: 0 };
  const condition = `${column} IN (${numbers.join(", ")})`;
  if (column === "queue") return scanned(condition);
  return { condition, source: `SELECT seq FROM console_task WHERE ${condition} AND ${SPAN}`, weight: 2 };
}

function both(parts: readonly Part[]): Part {
  const best = parts.filter(({ source }) => source !== null).sort((a, b) => a.weight - b.weight)[0];
  return {
    condition: `(${parts.map(({ condition }) => condition).join(" AND ")})`,
    source: best?.source ?? null,
    weight: best?.weight ?? 3,
  };
}

function either(parts: readonly Part[]): Part {
  const condition = `(${parts.map((one) => one.condition).join(" OR ")})`;
  if (parts.some(({ source }) => source === null)) return scanned(condition);
  return {
    condition,
    source: parts.map(({ source }) => source!).join(" UNION "),
    weight: Math.max(...parts.map(({ weight }) => weight)),
  };
}

function escaped(value: string): string {
  return value.replace(/[\\%_]/g, "\\$&");
}
