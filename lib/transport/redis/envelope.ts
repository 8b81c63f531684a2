/** Envelopes as stored in `unacked`, and the marks of a redelivered message. */

import { DecodeError, fromPlainJson, markRedelivered, toJson, unmarkReported } from "../../wire/mod.ts";

/**
 * The property that counts how often a process died while it held the message. Python ignores and keeps it.
 */
const ATTEMPTS_PROPERTY = "lovage_attempts";

/** A parsed value of the `unacked` hash. */
export interface UnackedRecord {
  readonly envelope: string;
  readonly exchange: string;
  readonly routingKey: string;
}

/**
 * Parses `[envelope, exchange, routing key]`, ours or kombu's; null if it is not one. Our own records are cut
 * as text, which keeps the envelope byte for byte.
 */
export function readUnacked(value: string): UnackedRecord | null {
  // Quotes inside a JSON string are escaped, so this sequence can only be the border that unackedTail made.
  const border = value.lastIndexOf(',"","');
  if (border > 0 && value.startsWith("[") && value.endsWith('"]')) {
    const routingKey = parsed(value.slice(border + 4, -1));
    if (typeof routingKey === "string") return { envelope: value.slice(1, border), exchange: "", routingKey };
  }
  const whole = parsed(value);
  if (!Array.isArray(whole) || whole.length !== 3) return null;
  const [envelope, exchange, routingKey] = whole as unknown[];
  return {
    envelope: toJson(envelope),
    exchange: typeof exchange === "string" ? exchange : "",
    routingKey: typeof routingKey === "string" ? routingKey : "",
  };
}

/**
 * Returns the envelope marked as redelivered, with one more death counted: the first death always, a later
 * one only if the task had begun. Null if it is not an envelope.
 */
export function markedAfterDeath(envelope: string, hadBegun: boolean): string | null {
  try {
    const record = fromPlainJson(markRedelivered(envelope)) as Record<string, Record<string, unknown>>;
    const properties = record["properties"]!;
    const attempts = attemptsOf(properties);
    properties[ATTEMPTS_PROPERTY] = attempts === 0 || hadBegun ? attempts + 1 : attempts;
    return toJson(record);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/**
 * Returns the envelope of a message that is sent again, with no deaths counted. Text that is not an envelope
 * stays as it is.
 */
export function withoutAttempts(given: string): string {
  const envelope = unmarkReported(given);
  const record = envelope.includes(ATTEMPTS_PROPERTY) ? parsed(envelope) : null;
  if (typeof record !== "object" || record === null) return envelope;
  const properties = (record as Record<string, unknown>)["properties"];
  if (typeof properties !== "object" || properties === null) return envelope;
  delete (properties as Record<string, unknown>)[ATTEMPTS_PROPERTY];
  return toJson(record);
}

/** Returns how often a process died while it held the message: a whole number from 0. */
export function attemptsOf(properties: Readonly<Record<string, unknown>> | null): number {
  const value = properties?.[ATTEMPTS_PROPERTY];
  return typeof value === "number" && Number.isInteger(value) && value > 0 ? value : 0;
}

function parsed(text: string): unknown {
  try {
    return fromPlainJson(text);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
