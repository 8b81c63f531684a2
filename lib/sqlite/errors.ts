/** Maps SQLite's errors to ours. */

import { AccessRefused, DialError, errorText, OperatingError, ServerError } from "../base/mod.ts";

/** The SQLite result codes that we distinguish. Source: sqlite.org/rescode.html. */
const BUSY = 5, LOCKED = 6, READONLY = 8, IOERR = 10, CORRUPT = 11, FULL = 13, CANTOPEN = 14, NOTADB = 26;

const ACCESS = "this user must be able to write it and its folder";
const DAMAGE = "move it and the files beside it away, or name another";
/** Advice for a file that cannot be used. Retrying does not help in these cases. */
const ADVICE: ReadonlyMap<number | null, string> = new Map([
  [READONLY, ACCESS],
  [CANTOPEN, ACCESS],
  [IOERR, "look at its disk"],
  [FULL, "make room on its disk"],
  [CORRUPT, DAMAGE],
  [NOTADB, DAMAGE],
]);

/**
 * Returns the error of a call on an open database: AccessRefused if its file cannot be used, else
 * ServerError. An OperatingError is returned as it is. `isRetryable`: another process was in the way, and the
 * same call may soon succeed. `name` names the database in the text: `database "/path"`.
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
 * Returns the error of opening a database: DialError if another process keeps it locked, AccessRefused if its
 * file cannot be used, ServerError if its contents cannot be used.
 */
export function openingError(thrown: unknown, name: string): OperatingError {
  // A check of our own has failed, such as one for tables of a later version.
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

/** Returns true if the disk of a database is full. It may have space again later. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof AccessRefused && resultCode(error.cause) === FULL;
}

function isBusy(code: number | null): boolean {
  return code === BUSY || code === LOCKED;
}

/** Returns the primary result code, from the error's number or, if it has none, from its text. */
function resultCode(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  // Extended codes have the primary one in their low byte.
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
