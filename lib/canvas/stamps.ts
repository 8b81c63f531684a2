/**
 * Stamps: values under the caller's own names among a signature's options, which `stampedHeaders` lists.
 *
 * Source: celery 5.6 canvas.py StampingVisitor, Signature.stamp.
 */

import type { SignatureOptions } from "./options.ts";

/** Stamps of a visitor. `stampedHeaders` in them limits which of the names are stamps. */
export type Stamps = Record<string, unknown> | null | undefined | void;

/** Joins stamps with those of a visitor, as its `stampedHeaders` limits them. */
export function joinStamps(
  stamps: Readonly<Record<string, unknown>>,
  given: Stamps,
): Record<string, unknown> {
  const joined: Record<string, unknown> = { ...stamps };
  if (given) {
    const only = given["stampedHeaders"] as string[] | undefined;
    for (const [name, value] of Object.entries(given)) {
      if (name === "stampedHeaders") continue;
      if (only === undefined || only.includes(name)) joined[name] = value;
    }
  }
  return joined;
}

/** Adds stamps to options. A stamp that exists already is kept, or with `append` becomes a list of both values. */
export function putStamps(
  options: SignatureOptions,
  stamps: Readonly<Record<string, unknown>>,
  append: boolean,
): void {
  const names = new Set(options.stampedHeaders ?? []);
  for (const [name, value] of Object.entries(stamps)) {
    const own = options[name];
    if (!names.has(name)) options[name] = value;
    else if (append && own !== value) options[name] = [...new Set([...asList(own), ...asList(value)])];
    names.add(name);
  }
  if (names.size > 0) options.stampedHeaders = [...names];
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value];
}
