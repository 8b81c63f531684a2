/** Names that objects of options may have: what is not among them is the caller's slip, and is an error. */

import { UsageError } from "./errors.ts";
import { nearest } from "./nearest.ts";

/** The members of `T` that are named; an index signature is not one. */
type NamedIn<T> = keyof { [K in keyof T as string extends K ? never : K]: true };

/** Where there is no near name, so many are listed at most. */
const LISTED_MAX = 12;

/**
 * The names of an interface of options. The type checker refuses a list that lacks one, or has one more.
 * `names` is kept by nobody.
 */
export function namesOf<T extends object>(names: Readonly<Record<NamedIn<T>, true>>): ReadonlySet<string> {
  return new Set(Object.keys(names));
}

/**
 * Throws UsageError for a name of `given` that is not known, with the nearest that is. `of` says whose it is:
 * `task "a.b"`. Cost: per name.
 */
export function refuseUnknown(given: object, known: ReadonlySet<string>, of: string): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new UsageError(`The options of ${of} must be an object`);
  }
  for (const name of Object.keys(given)) {
    if (!known.has(name)) throw unknownName(name, known, of);
  }
}

/** The error for one name that is not known. */
export function unknownName(name: string, known: ReadonlySet<string>, of: string): UsageError {
  const near = nearest(name, known);
  const hint = near !== null
    ? `: did you mean "${near}"?`
    : known.size <= LISTED_MAX
    ? `: there are ${[...known].join(", ")}`
    : "";
  return new UsageError(`Unknown option "${name}" of ${of}${hint}`);
}
