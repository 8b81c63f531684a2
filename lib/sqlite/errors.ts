/** SQLite's errors as ours. */

import { AccessRefused, DialError, errorText, OperatingError, ServerError } from "../base/mod.ts";

/** SQLite's own result codes that are told apart. Source: sqlite.org/rescode.html. */
const BUSY = 5, LOCKED = 6, READONLY = 8, IOERR = 10, CORRUPT = 11, FULL = 13, CANTOPEN = 14, NOTADB = 26;

const ACCESS = "this user must be able to write it and its folder";
const DAMAGE = "move it and the files beside it away, or name another";
/** What to do about a file that cannot be used: nothing that this program tries again changes it. */
const ADVICE: ReadonlyMap<number | null, string> = new Map([
  [READONLY, ACCESS],
  [CANTOPEN, ACCESS],
  [IOERR, "look at its disk"],
  [FULL, "make room on its disk"],
  [CORRUPT, DAMAGE],
  [NOTADB, DAMAGE],
]);

/**
 * An error of an open database: AccessRefused if its file cannot be used, else ServerError; an OperatingError stays
 * what it is. `isRetryable`: another process was in the way, and the same call will succeed soon. `name` is the
 * database's in the text: `database "/path"`.
 */
export function databaseError(error: unknown, name: string): OperatingError {
  if (error instanceof OperatingError) return error;
  const code = resultCode(error);
  const advice = ADVICE.get(code);
  if (advice !== undefined) {
    return new AccessRefused(`Cannot use ${name}: ${errorText(error)}; ${advice}`, { cause: error });
  }
  return new ServerError(`Cannot use ${name}: ${errorText(error)}`, {
    code: code === null ? "SQLITE" : `SQLITE ${code}`,
    cause: error,
    isRetryable: isBusy(code),
  });
}

/**
 * An error while a database is opened: DialError if another process keeps it locked, AccessRefused if its file cannot
 * be used, ServerError if it is a database that we cannot use.
 */
export function openingError(thrown: unknown, name: string): OperatingError {
  // Of our own finding, such as tables of a later version.
  if (thrown instanceof ServerError && thrown.cause === undefined) return thrown;
  const isOurs = thrown instanceof ServerError || thrown instanceof AccessRefused;
  const error = isOurs && thrown.cause !== undefined ? thrown.cause : thrown;
  const code = resultCode(error);
  const advice = ADVICE.get(code);
  const text = `Cannot open ${name}: ${errorText(error)}${advice === undefined ? "" : `; ${advice}`}`;
  if (isBusy(code)) return new DialError(text, { cause: error, isRetryable: true });
  if (advice !== undefined || error instanceof OperatingError) {
    return new AccessRefused(text, { cause: error });
  }
  return new ServerError(text, { code: "SQLITE", cause: error });
}

/** Whether the disk of a database is full: there may be room again. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof AccessRefused && resultCode(error.cause) === FULL;
}

function isBusy(code: number | null): boolean {
  return code === BUSY || code === LOCKED;
}

/** The primary result code, from the error's number or, if it has none, from its text. */
function resultCode(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  // Extended codes keep the plain one in their low byte.
  if ("errcode" in error && typeof error.errcode === "number") return error.errcode & 0xff;
  const { message } = error;
  if (message.includes("database is locked")) return BUSY;
  if (message.includes("table is locked")) return LOCKED;
  if (message.includes("readonly database")) return READONLY;
  if (message.includes("unable to open database file")) return CANTOPEN;
  if (message.includes("file is not a database")) return NOTADB;
  if (message.includes("disk is full")) return FULL;
  if (message.includes("disk image is malformed")) return CORRUPT;
  if (message.includes("disk I/O error")) return IOERR;
  return null;
}
