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
  "MOVED",
  "ASK",
  "MISCONF",
  "NOREPLICAS",
  "UNBLOCKED",
]);

/** What servers and the proxies before them say, without a code of its own, of a state that passes. */
const PASSING_TEXT =
  /max(imum)? number of clients|upstream|\bconnection (refused|reset|timed out)|server closed|try again/i;

/** Codes of a server that is not, or no longer, the master: its owner must connect anew. */
const MOVED_CODES: ReadonlySet<string> = new Set(["READONLY", "MASTERDOWN", "UNBLOCKED", "MOVED"]);

/**
 * The error to throw for an error reply. `doing` is what was tried, as in "Cannot <doing>". Refused logins and
 * permissions are AccessRefused, all else ServerError with Redis's first word as `code`.
 */
export function toOperatingError(reply: RespError, doing: string): OperatingError {
  return errorOf(reply, `Cannot ${doing}: ${visibleText(reply)}`);
}

/** The same for the text of an error reply, under a message of the caller's. */
export function errorOfText(text: string, message: string, cause: unknown): OperatingError {
  return errorOf({ code: /^[A-Z]+(?=\s|$)/.exec(text)?.[0] ?? "ERR", text }, message, cause);
}

function errorOf(reply: Pick<RespError, "code" | "text">, message: string, cause?: unknown): OperatingError {
  const options = cause === undefined ? {} : { cause };
  if (isAccessError(reply)) return new AccessRefused(message, options);
  const isRetryable = RETRYABLE_CODES.has(reply.code) || PASSING_TEXT.test(reply.text);
  return new ServerError(message, { code: reply.code, isRetryable, ...options });
}

/** Whether the server is no longer the one to write to. */
export function isMovedError(reply: { readonly code: string }): boolean {
  return MOVED_CODES.has(reply.code);
}

/** Whether the server does not know the command at all (an old or a restricted one). */
export function isUnknownCommand(reply: RespError): boolean {
  return reply.code === "NOPROTO" ||
    /^ERR (unknown|Unsupported|syntax|wrong number of arguments for .hello)/i.test(reply.text);
}

/** Whether there is no such command for us: the server does not know it, a service has left it out, or we may not. */
export function isUnavailable(reply: RespError): boolean {
  return isUnknownCommand(reply) || reply.code === "NOPERM" ||
    /unknown command|not allowed|unsupported/i.test(reply.text);
}

function isAccessError(reply: Pick<RespError, "code" | "text">): boolean {
  return reply.code === "NOAUTH" || reply.code === "WRONGPASS" || reply.code === "NOPERM" ||
    /^ERR (invalid password|invalid username|operation not permitted|Client sent AUTH|AUTH )/i.test(
      reply.text,
    );
}

/** Redis repeats the arguments of a command it does not know: a password may be among them. */
function visibleText(reply: RespError): string {
  return reply.text.replace(/,? with args beginning with:.*$/s, "").replaceAll(/\s+/g, " ");
}
