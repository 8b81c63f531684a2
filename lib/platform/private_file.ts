/**
 * Files and folders that only their user may read: queues, results, schedules, and the files that belong to
 * them.
 */

import type { DatabaseSync } from "node:sqlite";
import { errorText, OperatingError } from "../base/mod.ts";
import { specialFile } from "./regular_file.ts";
import { systemFiles } from "./system_files.ts";

/** Suffixes of SQLite's files for one database; SQLite creates them with the database's mode. */
const BESIDE_DATABASE = ["", "-wal", "-shm", "-journal"];

/**
 * Makes a folder and its missing parents, accessible only to this user (0700). An existing folder stays as it
 * is. Throws OperatingError.
 */
export function makePrivateFolder(path: string): void {
  try {
    systemFiles().makeFolder(path, 0o700);
  } catch (error) {
    throw new OperatingError(`Cannot create folder "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Creates an empty file that only this user may read (0600, regardless of the umask), unless something is at
 * the path. Throws OperatingError.
 */
export function makePrivateFile(path: string): void {
  try {
    const files = systemFiles();
    if (files.makeNewFile(path, 0o600)) files.chmod(path, 0o600);
  } catch (error) {
    throw new OperatingError(`Cannot create "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Makes a file of this user private (0600). A missing or special file, or another user's, stays as it is.
 * Never throws.
 */
export function keepPrivate(path: string): void {
  try {
    const files = systemFiles();
    const { kind, mode, uid } = files.facts(path);
    if (kind === "file" && uid === files.uid() && ((mode ?? 0) & 0o077) !== 0) files.chmod(path, 0o600);
  } catch {
    // The file is missing, or the file system has no modes.
  }
}

/**
 * Creates the folder (0700) and file (0600) of a database if they are missing. Throws OperatingError if they
 * cannot be created, or if something other than a file is at the path.
 */
export function makeDatabaseFile(path: string): void {
  const found = specialFile(path);
  if (found !== null) throw new OperatingError(`it is ${found}`);
  makePrivateFolder(path.slice(0, path.lastIndexOf("/")) || "/");
  makePrivateFile(path);
}

/**
 * Makes a database private if it is new or has one of our tables (`ours`). Another program's database stays
 * as it is.
 */
export function protectDatabase(database: DatabaseSync, path: string, ours: readonly string[]): void {
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  if (tables.length === 0 || tables.some(({ name }) => ours.includes(String(name)))) protectFiles(path);
}

/** Makes the files of a database private, if it is known to be ours. */
export function protectFiles(path: string): void {
  let real = path;
  try {
    // SQLite follows links before it derives the names of the other files.
    real = systemFiles().realPath(path);
  } catch {
    // The database is missing, and so are the other files.
  }
  for (const suffix of BESIDE_DATABASE) keepPrivate(real + suffix);
}
