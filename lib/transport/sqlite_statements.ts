/** A database's statements, prepared once by their text. */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";

/** A row by its columns' names. */
export type Row = Record<string, SQLInputValue>;

/** The statements of one connection. Texts are constants of the program, so their number is bounded. */
export class Statements {
  #db: DatabaseSync;
  #prepared = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** The prepared statement of a text. */
  statement(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (!statement) this.#prepared.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  /** Runs a statement; how many rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.statement(sql).run(...values).changes);
  }

  /** The first row, if any. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.statement(sql).get(...values) as Row | undefined;
  }

  /** Every row. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.statement(sql).all(...values) as Row[];
  }

  /** Forgets all, before the database is closed. */
  close(): void {
    this.#prepared.clear();
  }
}
