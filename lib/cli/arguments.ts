/** Readers of option values that several commands share. */

import { InvalidArgumentError } from "commander";
import { errorText } from "../base/mod.ts";

/** "a,b" to ["a", "b"]; may be given several times. */
export function commaList(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), ...text.split(",").map((word) => word.trim()).filter((word) => word !== "")];
}

/** A finite number. */
export function numeric(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) {
    throw new InvalidArgumentError(`"${text}" is not a number.`);
  }
  return value;
}

/** A whole number from `min` on. */
export function whole(min: number): (text: string) => number {
  return (text) => {
    const value = numeric(text);
    if (!Number.isInteger(value) || value < min) {
      throw new InvalidArgumentError(`"${text}" is not a whole number of ${min} or more.`);
    }
    return value;
  };
}

/** A JSON array. */
export function jsonArray(text: string): unknown[] {
  const value = json(text, "an array such as [1, 2]");
  if (!Array.isArray(value)) throw new InvalidArgumentError(`${text} is not a JSON array such as [1, 2].`);
  return value;
}

/** A JSON object. */
export function jsonObject(text: string): Record<string, unknown> {
  const value = json(text, 'an object such as {"x": 1}');
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError(`${text} is not a JSON object such as {"x": 1}.`);
  }
  return value as Record<string, unknown>;
}

function json(text: string, wanted: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(`It must be JSON, ${wanted}: ${errorText(error)}.`);
  }
}
