/** Texts that many tasks share, stored once under a number: names, workers, states, queues, exceptions. */

import type { Database } from "../../sqlite/mod.ts";
import type { WordLookup } from "./search_sql.ts";

/** Maximum length of a word. */
const WORD_CHARS_MAX = 512;
/** Maximum number of words; beyond it, a new word is stored as OTHERS. */
const WORDS_MAX = 200_000;
const OTHERS = "(others)";

/** The words of a database, all held in memory. */
export class Words implements WordLookup {
  readonly #database: Database;
  readonly #numbers = new Map<string, number>();
  readonly #texts = new Map<number, string>();
  #last = 0;
  /** New words that are not written yet. */
  #fresh: [number, string][] = [];

  constructor(database: Database) {
    this.#database = database;
    for (const { id, text } of database.all("SELECT id, text FROM console_word")) {
      this.#numbers.set(String(text), Number(id));
      this.#texts.set(Number(id), String(text));
      this.#last = Math.max(this.#last, Number(id));
    }
  }

  /** Returns the number of a text, and assigns one to a new text; null for null. */
  number(text: string | null): number | null {
    if (text === null) return null;
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const word = this.#last >= WORDS_MAX ? OTHERS : text.slice(0, WORD_CHARS_MAX);
    const same = this.#numbers.get(word);
    if (same !== undefined) return same;
    const number = ++this.#last;
    this.#numbers.set(word, number);
    this.#texts.set(number, word);
    this.#fresh.push([number, word]);
    return number;
  }

  /** Returns the text of a number; null if there is none. */
  text(number: unknown): string | null {
    return this.#texts.get(Number(number)) ?? null;
  }

  containing(text: string): number[] {
    const wanted = text.toLowerCase();
    return this.#where((word) => word.includes(wanted));
  }

  equal(text: string): number[] {
    const wanted = text.toLowerCase();
    return this.#where((word) => word === wanted);
  }

  /** Writes new words; called within a transaction. */
  write(): void {
    const insert = this.#database.statement("INSERT OR IGNORE INTO console_word (id, text) VALUES (?, ?)");
    for (const [number, text] of this.#fresh) insert.run(number, text);
    this.#fresh = [];
  }

  #where(fits: (word: string) => boolean): number[] {
    const found: number[] = [];
    for (const [word, number] of this.#numbers) if (fits(word.toLowerCase())) found.push(number);
    return found;
  }
}
