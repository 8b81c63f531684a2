/** Readers of option values that several commands share. */

import { errorText } from "../base/mod.ts";

/** A value that its reader refuses; commander, which knows it by `code`, tells it with the option's name. */
export class InvalidArgument extends Error {
  override readonly name = "InvalidArgument";
  readonly code = "commander.invalidArgument";
  readonly exitCode = 1;
}

/** "a,b" to ["a", "b"]; may be given several times. */
export function commaList(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), ...text.split(",").map((word) => word.trim()).filter((word) => word !== "")];
}

/** A finite number. */
export function numeric(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) {
    throw new InvalidArgument(`"${text}" is not a number.`);
  }
  return value;
}

/** A whole number from `min` on. */
export function whole(min: number): (text: string) => number {
  return (text) => {
    const value = numeric(text);
    if (!Number.isInteger(value) || value < min) {
      throw new InvalidArgument(`"${text}" is not a whole number of ${min} or more.`);
    }
    return value;
  };
}

/** A JSON array. */
export function jsonArray(text: string): unknown[] {
  const value = json(text, "an array such as [1, 2]");
  if (!Array.isArray(value)) throw new InvalidArgument(`${text} is not a JSON array such as [1, 2].`);
  return value;
}

/** A JSON object. */
export function jsonObject(text: string): Record<string, unknown> {
  const value = json(text, 'an object such as {"x": 1}');
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidArgument(`${text} is not a JSON object such as {"x": 1}.`);
  }
  return value as Record<string, unknown>;
}

function json(text: string, wanted: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidArgument(`It must be JSON, ${wanted}: ${errorText(error)}.`);
  }
}
