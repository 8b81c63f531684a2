/**
 * The tables of the history.
 *
 * Tasks are numbered (`seq`) in the order in which they were first written, which is the order of pages.
 * Names, workers, states, queues and exceptions are stored once, in `console_word`. `console_text` is a
 * trigram index of arguments, results and exceptions without positions: it finds tasks that may match, and
 * then their texts are compared. `console_detail` has the columns that few tasks need.
 */

import { ServerError } from "../../base/mod.ts";
import type { Database } from "../../sqlite/mod.ts";

/** Version of the tables; a file with a later one is refused. */
const VERSION = 1;

/**
 * Creates missing tables and indexes. Throws ServerError for tables of a later version, and for a file of another
 * program.
 */
export function makeTables(database: Database): void {
  refuseForeign(database);
  database.exec("CREATE TABLE IF NOT EXISTS console_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID");
  database.run("INSERT OR IGNORE INTO console_meta (key, value) VALUES ('version', ?)", VERSION);
  const version = Number(database.get("SELECT value FROM console_meta WHERE key = 'version'")!["value"]);
  if (version > VERSION) {
    throw new ServerError(
      `Cannot use history "${database.path}": it has version ${version}, made by a later Lovage; ` +
        `this one supports ${VERSION}`,
      { code: "VERSION" },
    );
  }
  // Checkpoints at 16 MiB of log instead of 4, since each checkpoint waits for the disk.
  database.exec("PRAGMA wal_autocheckpoint = 4000");
  database.exec(`
    CREATE TABLE IF NOT EXISTS console_word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS console_task (
      seq INTEGER PRIMARY KEY, id NOT NULL, name INTEGER, state INTEGER NOT NULL, worker INTEGER, queue INTEGER,
      class INTEGER, client INTEGER, exchange INTEGER, routing_key INTEGER,
      sent REAL, received REAL, started REAL, succeeded REAL, failed REAL, retried REAL, revoked REAL, rejected REAL,
      timestamp REAL, clock INTEGER, runtime REAL, waited REAL, retries INTEGER, eta TEXT, expires TEXT,
      args TEXT, kwargs TEXT, result TEXT, exception TEXT, root, parent);
    CREATE UNIQUE INDEX IF NOT EXISTS console_task_id ON console_task (id);
    CREATE INDEX IF NOT EXISTS console_task_name ON console_task (name);
    CREATE INDEX IF NOT EXISTS console_task_state ON console_task (state);
    CREATE INDEX IF NOT EXISTS console_task_worker ON console_task (worker);
    CREATE INDEX IF NOT EXISTS console_task_root ON console_task (root) WHERE root IS NOT NULL;
    CREATE INDEX IF NOT EXISTS console_task_parent ON console_task (parent) WHERE parent IS NOT NULL;
    CREATE INDEX IF NOT EXISTS console_task_runtime ON console_task (runtime) WHERE runtime > 1;
    CREATE INDEX IF NOT EXISTS console_task_waited ON console_task (waited) WHERE waited > 1;
    CREATE TABLE IF NOT EXISTS console_detail (
      seq INTEGER PRIMARY KEY, traceback TEXT, extra TEXT, timeline TEXT);
    CREATE VIRTUAL TABLE IF NOT EXISTS console_text USING fts5 (
      text, content = '', contentless_delete = 1, tokenize = 'trigram', detail = none);
    CREATE TABLE IF NOT EXISTS console_figures (
      step INTEGER, at INTEGER, name INTEGER, sent INTEGER, received INTEGER, started INTEGER, succeeded INTEGER,
      failed INTEGER, retried INTEGER, revoked INTEGER, rejected INTEGER, runtime TEXT, waited TEXT,
      PRIMARY KEY (step, at, name)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS console_failure (
      at INTEGER, class INTEGER, name INTEGER, count INTEGER, last_at REAL, last_id, last_text TEXT,
      PRIMARY KEY (at, class, name)) WITHOUT ROWID;
  `);
}

/** Throws ServerError for a file that has tables, but not those of a history. */
function refuseForeign(database: Database): void {
  const names = database.all("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .map(({ name }) => String(name));
  const [first] = names;
  if (first === undefined || names.includes("console_meta")) return;
  throw new ServerError(
    `Cannot use history "${database.path}": it has the tables of something else (${first}); name a file of its own`,
    { code: "FOREIGN" },
  );
}
