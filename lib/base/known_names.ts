/**
 * The option names that an options object may have. An unknown name is the caller's mistake, and an error.
 */

import { UsageError } from "./errors.ts";
import { nearest } from "./nearest.ts";
import { isOptions } from "./values.ts";

/** The named members of `T`, without index signatures. */
type NamedIn<T> = keyof { [K in keyof T as string extends K ? never : K]: true };

/** If no name is near, the known names are listed, unless there are more than this. */
const LISTED_MAX = 12;

/**
 * Returns the names of an options interface. The type checker refuses a list that lacks a name or has an
 * extra one. `names` is copied.
 */
export function namesOf<T extends object>(names: Readonly<Record<NamedIn<T>, true>>): ReadonlySet<string> {
  return new Set(Object.keys(names));
}

/**
 * Throws UsageError if `given` is not an object or has an unknown name; the message suggests the nearest
 * known one. `of` says whose options they are: `task "a.b"`. Cost: per name.
 */
export function refuseUnknown(given: object, known: ReadonlySet<string>, of: string): void {
  if (!isOptions(given)) {
    const hint = (given as unknown) instanceof Promise ? ", not a Promise: await it" : "";
    throw new UsageError(`The options of ${of} must be an object${hint}`);
  }
  for (const name of Object.keys(given)) {
    if (!known.has(name)) throw unknownName(name, known, of);
  }
}

/** Returns the error for one unknown name. */
export function unknownName(name: string, known: ReadonlySet<string>, of: string): UsageError {
  const near = nearest(name, known);
  const hint = near !== null
    ? `: did you mean "${near}"?`
    : known.size <= LISTED_MAX
    ? `: there are ${[...known].join(", ")}`
    : "";
  return new UsageError(`Unknown option "${name}" of ${of}${hint}`);
}
