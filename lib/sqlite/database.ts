/**
 * A database in one file that several processes use at once: opened in WAL mode, private to its user, with statements
 * prepared once by their text.
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { type Clock, ConnectionLost, DialError } from "../base/mod.ts";
import { fileId, makeDatabaseFile, protectDatabase } from "../platform/mod.ts";
import { BUSY_TIMEOUT_MS, OPEN_AGAIN_MS, OPEN_WITHIN_MS } from "./busy.ts";
import { databaseError, openingError } from "./errors.ts";

/** The size to which the write-ahead log is cut after a checkpoint, bytes. */
const WAL_BYTES_MAX = 64 * 1024 * 1024;
/** One table of each kind of our databases: the embedded broker, the result store, the console. */
const OUR_TABLES = ["broker_counter", "result_chord", "console_task"];

/** How often a call checks that the open file is still the one at its path, milliseconds. */
const LOOK_MS = 1000;

/** A row, by column name. */
export type Row = Record<string, SQLInputValue>;

/** The options for opening a database. */
export interface DatabaseOptions {
  readonly path: string;
  readonly clock: Clock;
  /** The word for it in errors, before the path: "database". */
  readonly noun: string;
  /**
   * Only this process may use the database; another process that opens it meanwhile is refused. Default
   * false.
   */
  readonly isExclusive?: boolean;
  /**
   * What to do if the file was removed or replaced by another: SQLite itself would go on with the old file,
   * which no other process sees. "fail": every call throws ConnectionLost. "reopen": calls go on with the
   * file that is at the path now. Default: no check. A replacement is noticed within a second.
   */
  readonly whenReplaced?: "fail" | "reopen";
  /** Creates missing tables. May run several times, and in several processes at once. */
  makeTables(database: Database): void;
}

/**
 * An open database. Every call is synchronous and throws an OperatingError, which names the database and has
 * `isRetryable` if another process was in the way (busy.ts).
 */
export class Database {
  readonly path: string;
  /** How often the file was opened. After a change, everything read before is void. */
  openings = 1;
  readonly #name: string;
  readonly #options: DatabaseOptions | null;
  #database: DatabaseSync;
  /** The id of the open file; null if it is not checked. */
  #id: string | null;
  #lookMs = 0;
  /** The keys are SQL texts that are constants in the program, so their number is bounded. */
  readonly #prepared = new Map<string, StatementSync>();
  #isClosed = false;

  private constructor(database: DatabaseSync, name: string, options: DatabaseOptions | null) {
    this.#database = database;
    this.path = options?.path ?? ":memory:";
    this.#name = name;
    this.#options = options;
    this.#id = options?.whenReplaced === undefined ? null : fileId(options.path);
  }

  /**
   * Opens a database, and creates its folder (0700), file (0600) and tables if they are missing. Retries for
   * 5 s while another process creates it. Rejects with AccessRefused if the file cannot be used (not
   * writable, damaged, not a database, a full disk), with DialError if another process keeps it locked, and
   * with what `makeTables` throws.
   */
  static async open(options: DatabaseOptions): Promise<Database> {
    const { path, clock, noun, makeTables } = options;
    const name = `${noun} "${path}"`;
    // Loaded here, so that only programs with a database pay for it.
    const { DatabaseSync } = await import("node:sqlite");
    for (const untilMs = clock.monoMs() + OPEN_WITHIN_MS;;) {
      let opened: DatabaseSync | null = null;
      try {
        opened = openFile(DatabaseSync, options);
        const database = new Database(opened, name, options);
        makeTables(database);
        return database;
      } catch (error) {
        if (opened?.isOpen) opened.close();
        // If two processes create the database together, SQLite refuses one of them the switch to WAL without
        // waiting.
        const reason = openingError(error, name);
        if (!(reason instanceof DialError) || clock.monoMs() >= untilMs) throw reason;
      }
      await clock.sleep(OPEN_AGAIN_MS);
    }
  }

  /** Opens a database in memory, which is lost when it is closed. */
  static async openInMemory(
    { noun, makeTables }: Pick<DatabaseOptions, "noun" | "makeTables">,
  ): Promise<Database> {
    const { DatabaseSync } = await import("node:sqlite");
    const database = new Database(new DatabaseSync(":memory:"), `${noun} in memory`, null);
    makeTables(database);
    return database;
  }

  /** Runs statements without values or results, for creating tables. */
  exec(sql: string): void {
    try {
      this.#database.exec(sql);
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /**
   * Returns the prepared statement of an SQL text, to be run inside `transact`. Avoids the array of values
   * that `run` takes.
   */
  statement(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (!statement) this.#prepared.set(sql, statement = this.#database.prepare(sql));
    return statement;
  }

  /**
   * Prepares an SQL text for one use, without keeping the statement. Returns a function that runs it and
   * returns all rows.
   */
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

  /** Runs a statement. Returns the number of changed rows. */
  run(sql: string, ...values: SQLInputValue[]): number {
    try {
      this.#mustBeThere();
      return Number(this.statement(sql).run(...values).changes);
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Runs a query. Returns the first row, if there is one. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    try {
      this.#mustBeThere();
      return this.statement(sql).get(...values) as Row | undefined;
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Runs a query. Returns all rows. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    try {
      this.#mustBeThere();
      return this.statement(sql).all(...values) as Row[];
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Runs `fn` as one transaction, and rolls back if it throws. */
  transact<T>(fn: () => T): T {
    if (this.#isClosed) throw new ConnectionLost(`Cannot use ${this.#name}: it is closed`);
    this.#mustBeThere();
    const database = this.#database;
    try {
      database.exec("BEGIN IMMEDIATE");
      const result = fn();
      database.exec("COMMIT");
      return result;
    } catch (error) {
      // After some errors SQLite has rolled back already.
      if (database.isTransaction) database.exec("ROLLBACK");
      throw databaseError(error, this.#name);
    }
  }

  /** Closes the database. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#prepared.clear();
    this.#database.close();
  }

  /** Checks the file at most once a second, and never inside a transaction. */
  #mustBeThere(): void {
    const options = this.#options;
    if (this.#id === null || options === null || this.#isClosed || this.#database.isTransaction) return;
    const nowMs = options.clock.monoMs();
    if (nowMs < this.#lookMs) return;
    if (fileId(this.path) === this.#id) {
      this.#lookMs = nowMs + LOOK_MS;
      return;
    }
    if (options.whenReplaced === "fail") {
      throw new ConnectionLost(`Lost ${this.#name}: its file was removed or replaced`);
    }
    this.#reopen(options);
  }

  #reopen(options: DatabaseOptions): void {
    let opened: DatabaseSync;
    try {
      opened = openFile(this.#database.constructor as typeof DatabaseSync, options);
    } catch (error) {
      throw openingError(error, this.#name);
    }
    this.#prepared.clear();
    // SQLite notices that its file is not the one at the path, and does not touch the new file's log.
    this.#database.close();
    this.#database = opened;
    this.#id = fileId(this.path);
    this.openings++;
    options.makeTables(this);
  }
}

/**
 * Opens the file of a database, and creates it if it is missing. Throws SQLite's errors and those of the file
 * system.
 */
function openFile(make: typeof DatabaseSync, { path, isExclusive = false }: DatabaseOptions): DatabaseSync {
  makeDatabaseFile(path);
  const opened = new make(path);
  try {
    if (isExclusive) opened.exec("PRAGMA locking_mode = EXCLUSIVE");
    configure(opened);
    // Protected before anything is written to it.
    protectDatabase(opened, path, OUR_TABLES);
    return opened;
  } catch (error) {
    opened.close();
    throw error;
  }
}

function configure(database: DatabaseSync): void {
  database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  database.exec("PRAGMA journal_mode = WAL");
  // The write-ahead log is flushed at checkpoints only: a crash of the process loses nothing, a crash of the
  // machine the last moments.
  database.exec("PRAGMA synchronous = NORMAL");
  database.exec(`PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`);
  database.exec("PRAGMA temp_store = MEMORY");
}
