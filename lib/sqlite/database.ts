/**
 * A database in one file that several processes use at once: opened in WAL mode, private to its user, with statements
 * prepared once by their text.
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { type Clock, ConnectionLost, DialError } from "../base/mod.ts";
import { fileId, makeDatabaseFile, protectDatabase } from "../platform/mod.ts";
import { BUSY_TIMEOUT_MS, OPEN_AGAIN_MS, OPEN_WITHIN_MS } from "./busy.ts";
import { databaseError, openingError } from "./errors.ts";

/** What is left of the log of writes after it was copied into the database, bytes. */
const WAL_BYTES_MAX = 64 * 1024 * 1024;
/** One table of each kind of database that is ours: the embedded broker's, the result store's, the console's. */
const OUR_TABLES = ["broker_counter", "result_chord", "console_task"];

/** How often a use looks whether the file is still the one at its path, milliseconds. */
const LOOK_MS = 1000;

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
  /**
   * What becomes of a use if the file was removed, or another one put in its place: SQLite goes on with the file that
   * nobody else sees any more. "fail": every use throws ConnectionLost. "reopen": it goes on with what is at the path
   * now. Default: nobody looks. It is noticed within a second.
   */
  readonly whenReplaced?: "fail" | "reopen";
  /** Makes the tables that are missing. May run several times, alongside other processes. */
  makeTables(database: Database): void;
}

/**
 * An open database. Every call is synchronous, and throws an OperatingError that names the database; one with
 * `isRetryable` if another process was in the way (busy.ts).
 */
export class Database {
  readonly path: string;
  /** How often it was opened: what was read before the last time is void. */
  openings = 1;
  readonly #name: string;
  readonly #options: DatabaseOptions | null;
  #database: DatabaseSync;
  /** Of the file; null: nobody looks. */
  #id: string | null;
  #lookMs = 0;
  /** Texts are constants of the program, so their number is bounded. */
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
   * Opens a database, with its folder (0700), file (0600) and tables if they are missing; while another process makes
   * it, it is tried again for 5 s. Rejects with AccessRefused if its file cannot be used (not writable, damaged, no
   * database, a full disk), DialError if another process keeps it locked, and with what `makeTables` throws.
   */
  static async open(options: DatabaseOptions): Promise<Database> {
    const { path, clock, noun, makeTables } = options;
    const name = `${noun} "${path}"`;
    // Loaded here: only programs that use a database pay for it.
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
    const database = new Database(new DatabaseSync(":memory:"), `${noun} in memory`, null);
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
      this.#mustBeThere();
      return Number(this.statement(sql).run(...values).changes);
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** The first row, if any. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    try {
      this.#mustBeThere();
      return this.statement(sql).get(...values) as Row | undefined;
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Every row. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    try {
      this.#mustBeThere();
      return this.statement(sql).all(...values) as Row[];
    } catch (error) {
      throw databaseError(error, this.#name);
    }
  }

  /** Runs `fn` as one unit that is written wholly or not at all. */
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

  /** Looks now and then, and not inside a transaction. */
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
    // SQLite sees that the file is not the one at the path, and leaves those beside it alone.
    this.#database.close();
    this.#database = opened;
    this.#id = fileId(this.path);
    this.openings++;
    options.makeTables(this);
  }
}

/** Opens the file of a database, made if it is missing. Throws SQLite's errors and those of the file system. */
function openFile(make: typeof DatabaseSync, { path, isExclusive = false }: DatabaseOptions): DatabaseSync {
  makeDatabaseFile(path);
  const opened = new make(path);
  try {
    if (isExclusive) opened.exec("PRAGMA locking_mode = EXCLUSIVE");
    configure(opened);
    // Before there is anything to read in it.
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
  // The log is flushed when it is copied: a crash of the process loses nothing, one of the machine the last moment.
  database.exec("PRAGMA synchronous = NORMAL");
  database.exec(`PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`);
  database.exec("PRAGMA temp_store = MEMORY");
}
