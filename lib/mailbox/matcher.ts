/**
 * Which nodes a request is for: its destination, else its pattern, else all.
 *
 * Source: kombu 5.2.4 pidbox.py Node.handle_message, matcher.py.
 */

import { Glob, LinearPattern } from "../base/mod.ts";

/** The addressing of a request. */
export interface Addressed {
  readonly destination: readonly string[] | null;
  readonly pattern: string | null;
  readonly matcher: "glob" | "pcre" | null;
}

/** Longer patterns are refused: they come from outside. */
const PATTERN_CHARS_MAX = 1000;
/**
 * Returns true if the request is for this node. An empty destination means all nodes, as in Celery. Throws
 * RangeError for a pattern of more than 1000 characters or one that cannot be matched in bounded time,
 * SyntaxError for an invalid one.
 */
export function isFor(nodename: string, request: Addressed): boolean {
  if (request.destination !== null && request.destination.length > 0) {
    return request.destination.includes(nodename);
  }
  if (request.pattern && request.matcher) return matches(nodename, request.pattern, request.matcher);
  return true;
}

/** Whether a name matches: "glob" as a whole, "pcre" from its start. Throws as `isFor`. */
export function matches(name: string, pattern: string, matcher: "glob" | "pcre"): boolean {
  if (pattern.length > PATTERN_CHARS_MAX) {
    throw new RangeError(`a pattern has at most ${PATTERN_CHARS_MAX} characters`);
  }
  return (matcher === "glob" ? new Glob(pattern) : new LinearPattern(pattern)).test(name);
}
