/** Files and folders that only their own user may read: queues, results, schedules, and what is beside them. */

import type { DatabaseSync } from "node:sqlite";
import { errorText, OperatingError } from "../base/mod.ts";
import { specialFile } from "./regular_file.ts";
import { systemFiles } from "./system_files.ts";

/** What SQLite keeps beside a database; made with the database's mode. */
const BESIDE_DATABASE = ["", "-wal", "-shm", "-journal"];

/** Makes a folder and its missing parents for this user alone (0700); one that exists is left as it is. */
export function makePrivateFolder(path: string): void {
  try {
    systemFiles().makeFolder(path, 0o700);
  } catch (error) {
    throw new OperatingError(`Cannot create folder "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** Makes an empty file that only this user may read (0600), whatever the umask, where nothing is at the path. */
export function makePrivateFile(path: string): void {
  try {
    const files = systemFiles();
    if (files.makeNewFile(path, 0o600)) files.chmod(path, 0o600);
  } catch (error) {
    throw new OperatingError(`Cannot create "${path}": ${errorText(error)}`, { cause: error });
  }
}

/** Takes a file of ours from everybody else (0600). One that is missing, special or another user's is left as it is. */
export function keepPrivate(path: string): void {
  try {
    const files = systemFiles();
    const { kind, mode, uid } = files.facts(path);
    if (kind === "file" && uid === files.uid() && ((mode ?? 0) & 0o077) !== 0) files.chmod(path, 0o600);
  } catch {
    // Nothing there, or a file system without modes.
  }
}

/**
 * Makes the folder (0700) and file (0600) of a database where they are missing. Throws OperatingError where they
 * cannot be made, or where something else than a file is at the path.
 */
export function makeDatabaseFile(path: string): void {
  const found = specialFile(path);
  if (found !== null) throw new OperatingError(`it is ${found}`);
  makePrivateFolder(path.slice(0, path.lastIndexOf("/")) || "/");
  makePrivateFile(path);
}

/** Takes a database that is new or has tables of ours from everybody else; another program's is left as it is. */
export function protectDatabase(database: DatabaseSync, path: string, ours: readonly string[]): void {
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  if (tables.length === 0 || tables.some(({ name }) => ours.includes(String(name)))) protectFiles(path);
}

/** The same for a database that is known to be ours. */
export function protectFiles(path: string): void {
  let real = path;
  try {
    // SQLite follows links before it names the files beside.
    real = systemFiles().realPath(path);
  } catch {
    // Not there: then neither are the others.
  }
  for (const suffix of BESIDE_DATABASE) keepPrivate(real + suffix);
}
