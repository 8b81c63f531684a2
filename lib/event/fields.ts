/** Fields of events as they may be believed: of the right kind and of a bounded size. */

import { shownJson } from "../wire/mod.ts";

/** Characters kept of a field of a task. */
const TEXT_MAX = 64 * 1024;
/** Characters kept of names. */
const SHORT_MAX = 512;

/** A finite whole number, or null. */
export function integer(value: unknown): number | null {
  return typeof value === "number" && Number.isInteger(value) ? value : null;
}

/** A finite number, or null. */
export function finite(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** A name, cut where it is too long; null for what is not a text. */
export function shortText(value: unknown): string | null {
  if (typeof value !== "string") return null;
  return value.length > SHORT_MAX ? value.slice(0, SHORT_MAX) : value;
}

/** A text of any length that is worth keeping; values of another kind as JSON; null for null. */
export function longText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  const text = typeof value === "string" ? value : shownJson(value, { charsMax: TEXT_MAX });
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

/** A plain value of a field nobody knows: numbers and truths as they are, all else as text. */
export function plainValue(value: unknown): string | number | boolean | null {
  if (typeof value === "number" || typeof value === "boolean") return value;
  return longText(value);
}
