/** Checks and conversions of values from outside. */

const TRUE_WORDS = ["1", "true", "yes", "on", "y", "t"];
const FALSE_WORDS = ["0", "false", "no", "off", "n", "f"];

/** Returns the boolean that a word in a setting or command stands for; null for any other word. */
export function booleanOf(word: string): boolean | null {
  const lower = word.toLowerCase();
  return TRUE_WORDS.includes(lower) ? true : FALSE_WORDS.includes(lower) ? false : null;
}

/** Returns true for an object that is not null and not an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns true for a record that can hold options by name: a Promise and a Map have none, whatever they stand for. */
export function isOptions(value: unknown): value is Record<string, unknown> {
  return isRecord(value) && !(value instanceof Promise) && !(value instanceof Map);
}

/** Returns a string as it is; null for any other value. */
export function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
