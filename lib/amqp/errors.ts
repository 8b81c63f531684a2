/** Maps the reasons with which an AMQP server closes a channel or a connection to our errors. */

import { AccessRefused, ConnectionLost, OperatingError, ServerError } from "../base/mod.ts";
import { AMQP_CODES } from "../wire/mod.ts";

/** The arguments of `channel.close` and `connection.close`. */
export interface CloseReason {
  readonly code: number;
  readonly text: string;
  /** The method that caused it, class × 65536 + method; 0: none. */
  readonly methodId: number;
}

/** Codes after which the same call may succeed later. */
const RETRYABLE_CODES: ReadonlySet<number> = new Set([320, 506, 541]);
/** Codes of a refused access. */
const ACCESS_CODES: ReadonlySet<number> = new Set([403, 530]);

/**
 * Returns the error of a channel that the server closed, or of a returned publish. `doing` says what failed,
 * as in "Cannot <doing>". `code` of a ServerError is the number as text.
 */
export function toOperatingError(reason: CloseReason, doing: string): OperatingError {
  const message = `Cannot ${doing}: ${reasonText(reason)}`;
  if (ACCESS_CODES.has(reason.code)) return new AccessRefused(message);
  return new ServerError(message, {
    code: String(reason.code),
    isRetryable: RETRYABLE_CODES.has(reason.code),
  });
}

/**
 * Returns the error of a connection that the server closed: AccessRefused for a refused access,
 * ConnectionLost if the server shuts down, lacks resources or has failed, else ServerError.
 */
export function toConnectionError(reason: CloseReason, name: string): OperatingError {
  if (ACCESS_CODES.has(reason.code)) {
    return new AccessRefused(`Cannot use ${name}: ${reasonText(reason)}`);
  }
  const message = `Lost the connection to ${name}: ${reasonText(reason)}`;
  // Retryable even after a protocol error: a new connection may work.
  const cause = new ServerError(message, { code: String(reason.code), isRetryable: true });
  return RETRYABLE_CODES.has(reason.code) ? new ConnectionLost(message, { cause, isRetryable: true }) : cause;
}

/**
 * Returns true if a publish was refused because the server's disk is nearly full. RabbitMQ blocks the
 * connection instead; LavinMQ closes the channel. Source: LavinMQ src/lavinmq/amqp/channel.cr start_publish.
 */
export function isLowOnDisk(error: unknown): boolean {
  return error instanceof ServerError && error.code === "406" && /low on disk space/i.test(error.message);
}

/** Returns a text such as "NOT_FOUND - no queue 'x' in vhost '/' (404)". */
function reasonText({ code, text }: CloseReason): string {
  const words = text.replaceAll(/\s+/g, " ").trim();
  const name = AMQP_CODES[code];
  const said = name === undefined || words.startsWith(name)
    ? words
    : `${name} - ${words}`.replace(/ - $/, "");
  return said === "" ? `error ${code}` : `${said} (${code})`;
}
