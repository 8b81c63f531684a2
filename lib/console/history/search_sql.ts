/**
 * Compiles a search to SQL over the table of tasks.
 *
 * Each part gives a condition and, if an index serves it, a *source*: a SELECT of the numbers (`seq`) of the
 * tasks in a span that may match. AND takes the best source of its parts, OR the union of all. Without a
 * source, the whole span is scanned. The condition is always checked, so a source may return too many tasks.
 */

import type { SQLInputValue } from "node:sqlite";
import { packId, prefixRange } from "./ids.ts";
import type { Search } from "./search.ts";

/** A compiled search: conditions over the table of tasks. */
export interface SearchSql {
  /** Matches tasks in a span of numbers: above ?1, up to ?2. */
  readonly inSpan: string;
  /** Matches any task; ?1 and ?2 are not used. */
  readonly condition: string;
  /** True if an index serves it: its cost then depends on the number of matches, hardly on the span. */
  readonly isIndexed: boolean;
  /** Values of the parameters from ?3 on. */
  readonly values: readonly SQLInputValue[];
}

/**
 * Looks up the numbers of words (names, workers, states, queues) that contain or equal a text, ignoring case.
 */
export interface WordLookup {
  containing(text: string): readonly number[];
  equal(text: string): readonly number[];
}

interface Part {
  readonly condition: string;
  readonly source: string | null;
  /** How many tasks its source may return: 0 few, 1 some, 2 many; 3: it has no source. */
  readonly weight: number;
}

const SPAN = "seq > ?1 AND seq <= ?2";
/** Runtimes and waiting times above this are indexed. */
const SLOW_SECONDS = 1;
/** An id is also found by a prefix of at least so many characters. */
const ID_CHARS_MIN = 6;

/** Compiles a search. */
export function searchSql(search: Search, words: WordLookup): SearchSql {
  const values: SQLInputValue[] = [];
  const compiler = new Compiler(words, (value) => `?${values.push(value) + 2}`);
  const { condition, source } = compiler.part(search);
  // If there is a source, only the source has the span, so that SQLite starts with the source.
  return {
    inSpan: source === null ? `${SPAN} AND ${condition}` : `seq IN (${source}) AND ${condition}`,
    condition,
    isIndexed: source !== null,
    values,
  };
}

/** Returns the values that a statement uses; those of an unused source at the end are left out. */
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

  /** A term without a field: searched in id, name, worker, state, queue, arguments, result and exception. */
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

  /** Selects tasks whose text contains all trigrams of one of `texts`; each has at least three characters. */
  #trigrams(...texts: readonly string[]): string {
    const queries = texts.map((text) => {
      const letters = [...text];
      const all = new Set<string>();
      for (let n = 0; n + 3 <= letters.length; n++) all.add(letters.slice(n, n + 3).join(""));
      // A few trigrams narrow it enough, the last ones most; the condition checks the whole text.
      const few = [...all].slice(-24).map((one) => `"${one.replaceAll('"', '""')}"`);
      return `(${few.join(" AND ")})`;
    });
    return `SELECT rowid FROM console_text WHERE console_text MATCH ${this.#bind(queries.join(" OR "))} ` +
      "AND rowid > ?1 AND rowid <= ?2";
  }

  /** Matches a keyword argument in Python's repr of kwargs: `'k': v`. */
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

/**
 * Matches a column that holds the number of a word. Such an index is used only if no better source exists.
 */
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
