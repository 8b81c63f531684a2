/**
 * The kinds of values a setting may have: what is accepted, how it is said when it is not, and how it is
 * read from the text of a command line.
 *
 * Source: the types of celery 5.2.6 app/defaults.py Option.typemap.
 */

/** What `accept` and `parse` give for a value that is not of the kind. */
export const REFUSED: unique symbol = Symbol("refused");

/** A kind with its default: one row of the table. */
export interface Setting<T> {
  /** Completes "must be …". */
  readonly expected: string;
  readonly initial: T;
  /** The value to keep, or `REFUSED`. */
  accept(value: unknown): T | typeof REFUSED;
  /** The value that a text of a command line means, or `REFUSED`. */
  parse(text: string): unknown;
}

/** Rows for all members of an interface of settings. */
export type SettingTable<S> = { readonly [K in keyof S]: Setting<S[K]> };

const TRUE_WORDS = new Set(["1", "true", "yes", "on", "y", "t"]);
const FALSE_WORDS = new Set(["0", "false", "no", "off", "n", "f"]);
const NULL_WORDS = new Set(["none", "null", ""]);

function setting<T>(
  expected: string,
  initial: T,
  accept: (value: unknown) => T | typeof REFUSED,
  parse: (text: string) => unknown,
): Setting<T> {
  return { expected, initial, accept, parse };
}

/** The same kind, or null. */
export function orNull<T>(kind: Setting<T>, initial: T | null = null): Setting<T | null> {
  return setting<T | null>(
    `${kind.expected} or null`,
    initial,
    (value) => value === null || value === undefined ? null : kind.accept(value),
    (text) => NULL_WORDS.has(text.toLowerCase()) ? null : kind.parse(text),
  );
}

/** True or false. */
export function flag(initial: boolean): Setting<boolean> {
  return setting(
    "true or false",
    initial,
    (value) => typeof value === "boolean" ? value : value === 0 ? false : value === 1 ? true : REFUSED,
    (text) =>
      TRUE_WORDS.has(text.toLowerCase()) ? true : FALSE_WORDS.has(text.toLowerCase()) ? false : REFUSED,
  );
}

function numeric(text: string): unknown {
  return text.trim() === "" || Number.isNaN(Number(text)) ? REFUSED : Number(text);
}

/** A number that is not negative, fractions allowed; `unit` as in "seconds". */
export function amount(initial: number, unit: string): Setting<number> {
  return setting(
    `a number of ${unit}`,
    initial,
    (value) => typeof value === "number" && value >= 0 ? value : REFUSED,
    numeric,
  );
}

/** A number of seconds, not negative. */
export function seconds(initial: number): Setting<number> {
  return amount(initial, "seconds");
}

/** A whole number, at least `least`. */
export function count(initial: number, least: number = 0): Setting<number> {
  return setting(
    `a whole number, at least ${least}`,
    initial,
    (value) => Number.isInteger(value) && (value as number) >= least ? value as number : REFUSED,
    numeric,
  );
}

/** Text. */
export function text(initial: string): Setting<string> {
  return setting("text", initial, (value) => typeof value === "string" ? value : REFUSED, (given) => given);
}

/** One of some words or numbers. */
export function choice<T extends string | number>(initial: T, choices: readonly T[]): Setting<T> {
  const shown = choices.map((one) => JSON.stringify(one));
  return setting(
    shown.length === 1 ? shown[0]! : `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}`,
    initial,
    (value) => choices.includes(value as T) ? value as T : REFUSED,
    (given) => typeof choices[0] === "number" ? numeric(given) : given,
  );
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is an answer here, not a failure: the caller says what was expected.
    return REFUSED;
  }
}

/** A list of texts; one text stands for a list of one. On a command line: separated by commas, or JSON. */
export function names(initial: readonly string[]): Setting<readonly string[]> {
  return setting<readonly string[]>(
    "a list of texts",
    initial,
    (value) => {
      if (typeof value === "string") return [value];
      if (value instanceof Set) value = [...value];
      return Array.isArray(value) && value.every((one) => typeof one === "string")
        ? value as string[]
        : REFUSED;
    },
    (given) =>
      given.trimStart().startsWith("[")
        ? parsedJson(given)
        : given.split(",").map((one) => one.trim()).filter(Boolean),
  );
}

/** True for what object literals and parsed documents give. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object of options. On a command line: JSON. */
export function options(initial: Readonly<Record<string, unknown>> = {}): Setting<Record<string, unknown>> {
  return setting<Record<string, unknown>>(
    "an object",
    { ...initial },
    (value) => isRecord(value) ? value : REFUSED,
    parsedJson,
  );
}

/** A URL, several joined by `;`, or a list of them. */
export function urls(): Setting<string | readonly string[]> {
  return setting<string | readonly string[]>(
    "a URL or a list of URLs",
    "",
    (value) =>
      typeof value === "string" || (Array.isArray(value) && value.every((one) => typeof one === "string"))
        ? value as string | string[]
        : REFUSED,
    (given) => given,
  );
}

/** True or false, or an object of TLS options. */
export function tls(initial: boolean): Setting<boolean | Record<string, unknown>> {
  return setting<boolean | Record<string, unknown>>(
    "true, false or an object of TLS options",
    initial,
    (value) => typeof value === "boolean" || isRecord(value) ? value : REFUSED,
    (given) => {
      const word = flag(false).parse(given);
      return word === REFUSED ? parsedJson(given) : word;
    },
  );
}

/** A kind of its own: whatever `holds` says yes to. On a command line: JSON, else the text itself. */
export function shaped<T>(expected: string, initial: T, holds: (value: unknown) => boolean): Setting<T> {
  return setting<T>(
    expected,
    initial,
    (value) => holds(value) ? value as T : REFUSED,
    (given) => {
      const parsed = parsedJson(given);
      return parsed === REFUSED ? given : parsed;
    },
  );
}
