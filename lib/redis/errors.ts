/** Errors that a Redis server reports, as errors of ours. The one place that reads their texts. */

import { AccessRefused, type OperatingError, ServerError } from "../base/mod.ts";
import type { RespError } from "../wire/mod.ts";

/** Codes after which the same command may succeed later, on this connection or the next. */
const RETRYABLE_CODES: ReadonlySet<string> = new Set([
  "LOADING",
  "READONLY",
  "OOM",
  "BUSY",
  "TRYAGAIN",
  "MASTERDOWN",
  "CLUSTERDOWN",
  "MISCONF",
  "NOREPLICAS",
  "UNBLOCKED",
]);

/** Codes that say: this server is no master (any more). The connection is to be made anew. */
const MOVED_CODES: ReadonlySet<string> = new Set(["READONLY", "MASTERDOWN", "UNBLOCKED"]);

/**
 * The error to throw for an error reply. `doing` is what was tried, as in "Cannot <doing>". Refused logins and
 * permissions are AccessRefused, all else ServerError with Redis's first word as `code`.
 */
export function toOperatingError(reply: RespError, doing: string): OperatingError {
  const message = `Cannot ${doing}: ${visibleText(reply)}`;
  if (isAccessError(reply)) return new AccessRefused(message);
  return new ServerError(message, { code: reply.code, isRetryable: RETRYABLE_CODES.has(reply.code) });
}

/** Whether the server is no longer the one to write to. */
export function isMovedError(reply: RespError): boolean {
  return MOVED_CODES.has(reply.code);
}

/** Whether the server does not know the command at all (an old or a restricted one). */
export function isUnknownCommand(reply: RespError): boolean {
  return reply.code === "NOPROTO" || /^ERR (unknown|Unsupported|syntax)/i.test(reply.text);
}

function isAccessError(reply: RespError): boolean {
  return reply.code === "NOAUTH" || reply.code === "WRONGPASS" || reply.code === "NOPERM" ||
    /^ERR (invalid password|invalid username|Client sent AUTH|AUTH )/i.test(reply.text);
}

/** Redis repeats the arguments of a command it does not know: a password may be among them. */
function visibleText(reply: RespError): string {
  return reply.text.replace(/,? with args beginning with:.*$/s, "").replaceAll(/\s+/g, " ");
}
