/**
 * sqlite: databases that processes of one machine share, with one rule for opening, waiting and failing. What the
 * tables mean is the caller's: the embedded broker's, the result store's.
 *
 * Imports base and platform, and node:sqlite when the first database is opened.
 *
 * Reading order: database.ts (opening, statements, transactions), busy.ts (waiting for other processes), errors.ts
 * (SQLite's errors as ours), wake.ts (waking other processes).
 */

export { BUSY_MAX_MS, BUSY_PAUSE_MS, whenFree } from "./busy.ts";
export { Database, type Row } from "./database.ts";
export { isDiskFull } from "./errors.ts";
export { WakeFiles } from "./wake.ts";
