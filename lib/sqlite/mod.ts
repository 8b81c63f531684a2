/**
 * sqlite: databases that processes of one machine share, with one set of rules for opening, waiting and
 * failing. The tables belong to the callers: the embedded broker, the result store, the console.
 *
 * Imports base and platform, and node:sqlite when the first database is opened.
 *
 * Reading order: database.ts (opening, statements, transactions), busy.ts (waiting for other processes),
 * errors.ts (maps SQLite's errors to ours), wake.ts (waking other processes).
 */

export { BUSY_MAX_MS, BUSY_PAUSE_MS, whenFree } from "./busy.ts";
export { Database, type Row } from "./database.ts";
export { isDiskFull } from "./errors.ts";
export { WakeFiles } from "./wake.ts";
