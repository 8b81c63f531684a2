/**
 * The roots of our errors. Three kinds: a programmer's error (assert.ts), an operating error (here), and Celery's
 * errors that cross the wire (wire/errors.ts).
 */

import { withOurAdvice } from "./runtime_text.ts";
import { withoutStyles } from "./shown.ts";

/**
 * Root of every operating error: a failure that comes from outside the program. `isRetryable`: the same call may
 * succeed later.
 *
 * @example
 * ```ts
 * import { App, OperatingError } from "lovage";
 *
 * const app = new App("shop");
 * try {
 *   await app.sendTask("shop.add", { args: [2, 3] });
 * } catch (error) {
 *   if (error instanceof OperatingError && error.isRetryable) console.log("try again later");
 *   else throw error;
 * }
 * ```
 */
export class OperatingError extends Error {
  override name = "OperatingError";
  readonly isRetryable: boolean;
  constructor(message: string, options: { cause?: unknown; isRetryable?: boolean } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.isRetryable = options.isRetryable ?? false;
  }
}

/** A broker or result store could not be reached: refused, timed out, no such host, TLS. */
export class DialError extends OperatingError {
  override name = "DialError";
}

/** An open connection was lost. Bytes already sent may or may not have arrived. */
export class ConnectionLost extends OperatingError {
  override name = "ConnectionLost";
}

/**
 * The server refused access: wrong password, missing permission, unknown virtual host. Trying again does not
 * help.
 */
export class AccessRefused extends OperatingError {
  override name = "AccessRefused";
}

/** The server replied with an error. `code` is its first word ("OOM", "READONLY") or its number. */
export class ServerError extends OperatingError {
  override name = "ServerError";
  readonly code: string;
  constructor(message: string, options: { code: string; cause?: unknown; isRetryable?: boolean }) {
    super(message, options);
    this.code = options.code;
  }
}

/** Bytes that break a protocol; the connection that carried them is closed. */
export class ProtocolError extends OperatingError {
  override name = "ProtocolError";
}

/**
 * The user gave an invalid setting, option or module. `exitCode` is the exit status of a command that ends
 * with this error.
 */
export class UsageError extends OperatingError {
  override name = "UsageError";
  readonly exitCode: number;
  constructor(message: string, options: { cause?: unknown; exitCode?: number } = {}) {
    super(message, options);
    this.exitCode = options.exitCode ?? 64;
  }
}

/** Returns true for an `OperatingError` after which the same call may succeed later. */
export function isRetryable(error: unknown): boolean {
  return error instanceof OperatingError && error.isRetryable;
}

/**
 * Returns true if the error means that a broker or result store cannot be reached or used. Commands then end
 * with status 69.
 */
export function isUnreachable(error: unknown): boolean {
  return error instanceof DialError || error instanceof ConnectionLost || error instanceof AccessRefused ||
    error instanceof ProtocolError;
}

/** Returns the message of any thrown value. */
export function errorText(error: unknown): string {
  // If a host name has several addresses and none answers, Node's error has an empty message.
  if (error instanceof AggregateError && error.message === "" && error.errors.length > 0) {
    return errorText(error.errors[0]);
  }
  if (error instanceof Error) return withOurAdvice(withoutStyles(error.message || error.name));
  return String(error);
}

/** Returns the first line of `errorText`. */
export function firstLine(error: unknown): string {
  return errorText(error).split("\n", 1)[0]!;
}
