/** The tables of the embedded broker. */

import { ServerError } from "../../../base/mod.ts";
import type { Database } from "../../../sqlite/mod.ts";

/**
 * The version of the tables below; a database with a later version is refused. `user_version` is not used,
 * since the result store has its tables in the same file.
 */
const VERSION = 1;

/**
 * A message is a row of broker_message from publish to ack. Its state is a second, small row, so that a fetch
 * does not write its text again: in broker_ready (in order), broker_held (by a session) or broker_parked
 * (until due). Positions count up at the tail, and down below zero at the head. Ids come from broker_counter
 * and are never used twice, so that a late ack cannot hit another message.
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
CREATE TABLE IF NOT EXISTS broker_failed (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at REAL NOT NULL, queue TEXT, reason TEXT NOT NULL,
  envelope TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS broker_failed_id ON broker_failed (id);
CREATE INDEX IF NOT EXISTS broker_failed_at ON broker_failed (at);
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

/** Creates the missing tables. Throws ServerError for tables of a later version. */
export function makeTables(database: Database): void {
  database.transact(() => {
    database.exec(SCHEMA);
    const version = Number(database.get("SELECT version FROM broker_counter")!["version"]);
    if (version <= VERSION) return;
    throw new ServerError(
      `Cannot use database "${database.path}": it has version ${version}, made by a later Lovage; ` +
        `this one supports ${VERSION}`,
      { code: "VERSION" },
    );
  });
}
