/** What an AMQP server says when it closes a channel or a connection, as errors in words. */

import { AccessRefused, ConnectionLost, OperatingError, ServerError } from "../base/mod.ts";
import { AMQP_CODES } from "../wire/mod.ts";

/** What `channel.close` and `connection.close` carry. */
export interface CloseReason {
  readonly code: number;
  readonly text: string;
  /** The method that was to blame, class × 65536 + method; 0: none. */
  readonly methodId: number;
}

/** Codes after which the same may succeed later. */
const RETRYABLE_CODES: ReadonlySet<number> = new Set([320, 506, 541]);
/** Codes that say "not you". */
const ACCESS_CODES: ReadonlySet<number> = new Set([403, 530]);

/**
 * The error of a channel that the server closed, or of a publish that came back. `doing` as in "Cannot <doing>".
 * `code` of the ServerError is the number as text.
 */
export function toOperatingError(reason: CloseReason, doing: string): OperatingError {
  const message = `Cannot ${doing}: ${reasonText(reason)}`;
  if (ACCESS_CODES.has(reason.code)) return new AccessRefused(message);
  return new ServerError(message, {
    code: String(reason.code),
    isRetryable: RETRYABLE_CODES.has(reason.code),
  });
}

/** The error of a connection that the server closed. A server that shuts down loses us; other codes blame us. */
export function toConnectionError(reason: CloseReason, name: string): OperatingError {
  if (ACCESS_CODES.has(reason.code)) {
    return new AccessRefused(`Cannot use ${name}: ${reasonText(reason)}`);
  }
  const message = `Lost the connection to ${name}: ${reasonText(reason)}`;
  // A protocol that we broke once may hold on a new connection.
  const cause = new ServerError(message, { code: String(reason.code), isRetryable: true });
  return RETRYABLE_CODES.has(reason.code) ? new ConnectionLost(message, { cause, isRetryable: true }) : cause;
}

/**
 * Whether a publish was refused because the server's disk is nearly full. RabbitMQ blocks the connection instead;
 * LavinMQ closes the channel. Source: LavinMQ src/lavinmq/amqp/channel.cr start_publish.
 */
export function isLowOnDisk(error: unknown): boolean {
  return error instanceof ServerError && error.code === "406" && /low on disk space/i.test(error.message);
}

/** "NOT_FOUND - no queue 'x' in vhost '/' (404)". */
function reasonText({ code, text }: CloseReason): string {
  const words = text.replaceAll(/\s+/g, " ").trim();
  const name = AMQP_CODES[code];
  const said = name === undefined || words.startsWith(name)
    ? words
    : `${name} - ${words}`.replace(/ - $/, "");
  return said === "" ? `error ${code}` : `${said} (${code})`;
}
