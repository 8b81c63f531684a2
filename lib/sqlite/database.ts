/**
 * A database in one file that several processes use at once: opened in WAL mode, private to its user, with statements
 * prepared once by their text.
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { type Clock, ConnectionLost, DialError } from "../base/mod.ts";
import { makeDatabaseFile, protectDatabase } from "../platform/mod.ts";
import { BUSY_TIMEOUT_MS, OPEN_AGAIN_MS, OPEN_WITHIN_MS } from "./busy.ts";
import { databaseError, openingError } from "./errors.ts";

/** What is left of the log of writes after it was copied into the database, bytes. */
const WAL_BYTES_MAX = 64 * 1024 * 1024;
/** One table of each kind of database that is ours: the embedded broker's, the result store's, the console's. */
const OUR_TABLES = ["broker_counter", "result_chord", "console_task"];

/** A row by its columns' names. */
export type Row = Record<string, SQLInputValue>;

/** How a database is opened. */
export interface DatabaseOptions {
  readonly path: string;
  readonly clock: Clock;
  /** What errors call it before its path: "database". */
  readonly noun: string;
  /** Only this process may use it; another one that opens it meanwhile is refused. Default false. */
  readonly isExclusive?: boolean;
  /** Makes the tables that are missing. May run several times, alongside other processes. */
  makeTables(database: Database): void;
}

/**
 * An open database. Every call is synchronous, and throws an OperatingError that names the database; one with
 * `isRetryable` if another process was in the way (busy.ts).
 */
export class Database {
  readonly path: string;
  readonly #name: string;
  readonly #database: DatabaseSync;
  /** Texts are constants of the program, so their number is bounded. */
  readonly #prepared = new Map<string, StatementSync>();
  #isClosed = false;

  private constructor(database: DatabaseSync, path: string, name: string) {
    this.#database = database;
    this.path = path;
    this.#name = name;
  }

  /**
   * Opens a database, with its folder (0700), file (0600) and tables if they are missing; while another process makes
   * it, it is tried again for 5 s. Rejects with AccessRefused if its file cannot be used (not writable, damaged, no
   * database, a full disk), DialError if another process keeps it locked, and with what `makeTables` throws.
   */
  static async open(options: DatabaseOptions): Promise<Database> {
    const { path, clock, noun, makeTables, isExclusive = false } = options;
    const name = `${noun} "${path}"`;
    // Loaded here: only programs that use a database pay for it.
    const { DatabaseSync } = await import("node:sqlite");
    for (const untilMs = clock.monoMs() + OPEN_WITHIN_MS;;) {
      let opened: DatabaseSync | null = null;
      try {
        makeDatabaseFile(path);
        opened = new DatabaseSync(path);
        if (isExclusive) opened.exec("PRAGMA locking_mode = EXCLUSIVE");
        configure(opened);
        // Before there is anything to read in it.
        protectDatabase(opened, path, OUR_TABLES);
        const database = new Database(opened, path, name);
        makeTables(database);
        return database;
      } catch (error) {
        opened?.close();
        // When two processes make one database, SQLite refuses one of them the switch to WAL at once.
        const reason = openingError(error, name);
        if (!(reason instanceof DialError) || clock.monoMs() >= untilMs) throw reason;
      }
      await clock.sleep(OPEN_AGAIN_MS);
    }
  }

  /** A database in memory, which ends with it. */
  static async openInMemory(
    { noun, makeTables }: Pick<DatabaseOptions, "noun" | "makeTables">,
  ): Promise<Database> {
    const { DatabaseSync } = await import("node:sqlite");
    const database = new Database(new DatabaseSync(":memory:"), ":memory:", `${noun} in memory`);
    makeTables(database);
    return database;
  }

  /** Runs statements without values or results; for making tables. */
  exec(sql: string): void {
    try {
      this.#database.exec(sql);
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** The prepared statement of a text, to be run inside `transact`: no array is made for its values. */
  statement(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (!statement) this.#prepared.set(sql, statement = this.#database.prepare(sql));
    return statement;
  }

  /** Prepares a text that is made for one use, and is not kept. What it gives runs it, and gives every row. */
  prepared(sql: string): (...values: SQLInputValue[]) => Row[] {
    try {
      const statement = this.#database.prepare(sql);
      return (...values) => {
        try {
          return statement.all(...values) as Row[];
        } catch (error) {
          throw databaseError(error, this.#name);
        }
      };
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Runs a statement; how many rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    try {
      return Number(this.statement(sql).run(...values).changes);
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** The first row, if any. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    try {
      return this.statement(sql).get(...values) as Row | undefined;
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Every row. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    try {
      return this.statement(sql).all(...values) as Row[];
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Runs `fn` as one unit that is written wholly or not at all. */
  transact<T>(fn: () => T): T {
    const database = this.#database;
    if (this.#isClosed) throw new ConnectionLost(`Cannot use ${this.#name}: it is closed`);
    try {
      database.exec("BEGIN IMMEDIATE");
      const result = fn();
      database.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite rolls back by itself after some errors.
      if (database.isTransaction) database.exec("ROLLBACK");
      throw databaseError(error, this.#name);
    }
  }

  /** Closes it; twice is once. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#prepared.clear();
    this.#database.close();
  }
}

function configure(database: DatabaseSync): void {
  database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  database.exec("PRAGMA journal_mode = WAL");
  // The log is flushed when it is copied: a crash of the process loses nothing, one of the machine the last moment.
  database.exec("PRAGMA synchronous = NORMAL");
  database.exec(`PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`);
  database.exec("PRAGMA temp_store = MEMORY");
}
