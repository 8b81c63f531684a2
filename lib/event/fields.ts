/** Checks fields of events: returns values of the right type and a bounded size. */

import { shownJson } from "../wire/mod.ts";

/** Characters kept of a text field. */
const TEXT_MAX = 64 * 1024;
/** Characters kept of a name. */
const SHORT_MAX = 512;

/** Returns a whole number, or null. */
export function integer(value: unknown): number | null {
  return typeof value === "number" && Number.isInteger(value) ? value : null;
}

/** Returns a finite number, or null. */
export function finite(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Returns a name, cut if it is too long; null if it is not a text. */
export function shortText(value: unknown): string | null {
  if (typeof value !== "string") return null;
  return value.length > SHORT_MAX ? value.slice(0, SHORT_MAX) : value;
}

/** Returns a text, cut if it is too long; other values as JSON; null for null. */
export function longText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  const text = typeof value === "string" ? value : shownJson(value, { charsMax: TEXT_MAX });
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

/** Returns the value of an unknown field: numbers and booleans unchanged, all else as text. */
export function plainValue(value: unknown): string | number | boolean | null {
  if (typeof value === "number" || typeof value === "boolean") return value;
  return longText(value);
}
