/** The tables of the embedded broker, and opening the database that holds them. */

import type { DatabaseSync } from "node:sqlite";
import { AccessRefused, type Clock, DialError, errorText, OperatingError, ServerError } from "../base/mod.ts";
import { makePrivateFolder } from "../platform/mod.ts";
import type { StoreFailure } from "./virtual_store.ts";

/**
 * The version of the tables below; a database of a later one is refused. The result store keeps its own tables in the
 * same file, so `user_version` is left alone.
 */
const VERSION = 1;
/** How long SQLite itself waits for another process's write, milliseconds. The loop stands still meanwhile. */
const BUSY_TIMEOUT_MS = 250;
/** How long, and how often, a database is tried that another process is making, milliseconds. */
const OPEN_WITHIN_MS = 1000;
const OPEN_AGAIN_MS = 10;
/** What is left of the log of writes after it was copied into the database, bytes. */
const WAL_BYTES_MAX = 64 * 1024 * 1024;

/**
 * A message lies in broker_message from publish to ack and is written once. Where it is in between is one small row:
 * broker_ready (in order), broker_held (by a session) or broker_parked (until due). Positions count up at the tail and
 * down below zero at the head. Ids come from broker_counter and are never used twice, so that a late ack cannot hit
 * another message.
 */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS broker_counter (
  one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,
  next_id INTEGER NOT NULL, head INTEGER NOT NULL, topology INTEGER NOT NULL);
INSERT OR IGNORE INTO broker_counter VALUES (1, ${VERSION}, 1, 0, 1);
CREATE TABLE IF NOT EXISTS broker_exchange (name TEXT PRIMARY KEY, type TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_queue (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_binding (
  exchange TEXT NOT NULL, routing_key TEXT NOT NULL, queue TEXT NOT NULL,
  PRIMARY KEY (exchange, routing_key, queue)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_message (
  id INTEGER PRIMARY KEY, queue TEXT NOT NULL, step INTEGER NOT NULL, attempts INTEGER NOT NULL,
  envelope TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS broker_ready (
  queue TEXT NOT NULL, step INTEGER NOT NULL, position INTEGER NOT NULL, id INTEGER NOT NULL,
  PRIMARY KEY (queue, step, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_held (id INTEGER PRIMARY KEY, session INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS broker_begun (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS broker_parked (
  due REAL NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (due, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_dead (
  id INTEGER PRIMARY KEY, queue TEXT NOT NULL, at REAL NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL,
  envelope TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS broker_fanout (
  exchange TEXT NOT NULL, seq INTEGER NOT NULL, routing_key TEXT NOT NULL, at REAL NOT NULL, envelope TEXT NOT NULL,
  PRIMARY KEY (exchange, seq));
CREATE TABLE IF NOT EXISTS broker_session (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, instance TEXT NOT NULL, pid INTEGER NOT NULL, boot TEXT,
  namespace TEXT, started TEXT, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS broker_listener (
  session INTEGER NOT NULL, queue TEXT NOT NULL, exchange TEXT NOT NULL, routing_key TEXT NOT NULL,
  is_subscriber INTEGER NOT NULL, auto_delete INTEGER NOT NULL, PRIMARY KEY (session, queue)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_lease (
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, since REAL NOT NULL, ends REAL NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_record (
  book TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (book, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS broker_listener_exchange ON broker_listener (exchange);
CREATE INDEX IF NOT EXISTS broker_listener_queue ON broker_listener (queue);
`;

/**
 * Opens the database, with its folder (0700) and tables where they are missing; while another process makes it, it is
 * tried again for a second. Rejects with AccessRefused where it cannot be written, ServerError where it is no database
 * or of a later version, DialError where another process keeps it locked.
 */
export async function openDatabase(path: string, clock: Clock): Promise<DatabaseSync> {
  // Loaded here: only programs that use the embedded broker pay for it.
  const { DatabaseSync } = await import("node:sqlite");
  for (const untilMs = clock.monoMs() + OPEN_WITHIN_MS;;) {
    let db: DatabaseSync | null = null;
    try {
      makePrivateFolder(path.slice(0, path.lastIndexOf("/")) || "/");
      db = new DatabaseSync(path);
      prepareDatabase(db, path);
      return db;
    } catch (error) {
      db?.close();
      // Where two processes make one database, SQLite refuses one of them the switch to WAL at once.
      const told = openingError(error, path);
      if (!(told instanceof DialError) || clock.monoMs() >= untilMs) throw told;
    }
    await clock.sleep(OPEN_AGAIN_MS);
  }
}

function prepareDatabase(db: DatabaseSync, path: string): void {
  db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  db.exec("PRAGMA journal_mode = WAL");
  // The log is flushed when it is copied: a crash of the process loses nothing, one of the machine the last moment.
  db.exec("PRAGMA synchronous = NORMAL");
  db.exec(`PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`);
  db.exec("PRAGMA temp_store = MEMORY");
  db.exec("BEGIN IMMEDIATE");
  db.exec(SCHEMA);
  const version = Number(db.prepare("SELECT version FROM broker_counter").get()!["version"]);
  db.exec("COMMIT");
  if (version > VERSION) {
    throw new ServerError(
      `Cannot use database "${path}": it is of version ${version}, made by a later Lovage; this one knows ${VERSION}`,
      { code: "VERSION" },
    );
  }
}

/** SQLite's own result codes that are told apart. Source: sqlite.org/rescode.html. */
const BUSY = 5, LOCKED = 6, READONLY = 8, CANTOPEN = 14, NOTADB = 26;

/** What an error of an open database means. */
export function databaseFailure(error: unknown, path: string): StoreFailure {
  if (error instanceof OperatingError) return { isBusy: false, error };
  const code = resultCode(error);
  const isBusy = code === BUSY || code === LOCKED;
  const told = new ServerError(`Cannot use database "${path}": ${errorText(error)}`, {
    code: code === null ? "SQLITE" : `SQLITE ${code}`,
    cause: error,
    isRetryable: isBusy,
  });
  return { isBusy, error: told };
}

function openingError(error: unknown, path: string): Error {
  if (error instanceof ServerError) return error;
  const reason = errorText(error);
  const code = resultCode(error);
  if (code === BUSY || code === LOCKED) {
    return new DialError(`Cannot open database "${path}": ${reason}`, { cause: error, isRetryable: true });
  }
  if (code === NOTADB) {
    return new ServerError(`Cannot open database "${path}": ${reason}`, { code: "NOTADB", cause: error });
  }
  if (code === CANTOPEN || code === READONLY || error instanceof OperatingError) {
    return new AccessRefused(`Cannot open database "${path}": ${reason}`, { cause: error });
  }
  return new ServerError(`Cannot open database "${path}": ${reason}`, { code: "SQLITE", cause: error });
}

/** The primary result code, from the error's number or, where it has none, from its text. */
function resultCode(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  if ("errcode" in error && typeof error.errcode === "number") return error.errcode & 0xff;
  const { message } = error;
  if (message.includes("database is locked")) return BUSY;
  if (message.includes("table is locked")) return LOCKED;
  if (message.includes("readonly database")) return READONLY;
  if (message.includes("unable to open database file")) return CANTOPEN;
  if (message.includes("file is not a database")) return NOTADB;
  return null;
}
