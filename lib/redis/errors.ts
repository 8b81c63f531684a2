/** Maps error replies of a Redis server to our errors. The only place that reads their texts. */

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

/** Error texts of servers and proxies that mean a temporary state but have no code of their own. */
const PASSING_TEXT =
  /max(imum)? number of clients|upstream|\bconnection (refused|reset|timed out)|server closed|try again/i;

/** Codes of a server that is not, or is no longer, the master: the connection's owner must connect again. */
const MOVED_CODES: ReadonlySet<string> = new Set(["READONLY", "MASTERDOWN", "UNBLOCKED", "MOVED"]);

/**
 * Returns the error to throw for an error reply. `doing` says what failed, as in "Cannot <doing>". A refused
 * login or permission gives AccessRefused, anything else ServerError with Redis's first word as `code`.
 */
export function toOperatingError(reply: RespError, doing: string): OperatingError {
  return errorOf(reply, `Cannot ${doing}: ${visibleText(reply)}`);
}

/** Returns the same for the text of an error reply, with the caller's own message. */
export function errorOfText(text: string, message: string, cause: unknown): OperatingError {
  return errorOf({ code: /^[A-Z]+(?=\s|$)/.exec(text)?.[0] ?? "ERR", text }, message, cause);
}

function errorOf(reply: Pick<RespError, "code" | "text">, message: string, cause?: unknown): OperatingError {
  const options = cause === undefined ? {} : { cause };
  if (isAccessError(reply)) return new AccessRefused(message, options);
  const isRetryable = RETRYABLE_CODES.has(reply.code) || PASSING_TEXT.test(reply.text);
  return new ServerError(message, { code: reply.code, isRetryable, ...options });
}

/** Returns true if the server is no longer the one to write to. */
export function isMovedError(reply: { readonly code: string }): boolean {
  return MOVED_CODES.has(reply.code);
}

/** Returns true if the server does not know the command, because it is old or restricted. */
export function isUnknownCommand(reply: RespError): boolean {
  return reply.code === "NOPROTO" ||
    /^ERR (unknown|Unsupported|syntax|wrong number of arguments for .hello)/i.test(reply.text);
}

/**
 * Returns true if we cannot use the command: the server does not know it, the service does not offer it, or
 * we have no permission.
 */
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

/**
 * Removes arguments from the text. Redis repeats the arguments of an unknown command, and they may contain a
 * password.
 */
function visibleText(reply: RespError): string {
  return reply.text.replace(/,? with args beginning with:.*$/s, "").replaceAll(/\s+/g, " ");
}
