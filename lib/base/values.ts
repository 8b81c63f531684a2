/** Values that came from outside, read as what they should be. */

const TRUE_WORDS = ["1", "true", "yes", "on", "y", "t"];
const FALSE_WORDS = ["0", "false", "no", "off", "n", "f"];

/** True or false, as settings and commands write it in words; null for any other word. */
export function booleanOf(word: string): boolean | null {
  const lower = word.toLowerCase();
  return TRUE_WORDS.includes(lower) ? true : FALSE_WORDS.includes(lower) ? false : null;
}

/** True for what object literals and parsed documents give. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Text as it is; null for anything else. */
export function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
