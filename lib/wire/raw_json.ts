/**
 * Numbers that keep the form in which they were written, if a JavaScript number would not: 2.0, 1e16, -0.0.
 */

/**
 * A text that is written to JSON as it is (`JSON.rawJSON`): a number whose form a JavaScript number does not
 * keep.
 */
export interface RawJson {
  readonly rawJSON: string;
}

/** Functions of the engine that TypeScript's library does not have yet. */
const engine = JSON as unknown as { rawJSON?(text: string): RawJson; isRawJSON?(value: unknown): boolean };

/**
 * Returns a number in the given form, such as `2.0`. Throws SyntaxError if the text is not a JSON scalar, and
 * in engines without this feature (Node 20), where the client never needs it.
 */
export function rawJson(text: string): RawJson {
  if (engine.rawJSON === undefined) throw new SyntaxError(`Cannot keep the form of ${text}`);
  return engine.rawJSON(text);
}

/** Returns true for a value made by `rawJson`. */
export function isRawJson(value: unknown): value is RawJson {
  return engine.isRawJSON?.(value) ?? false;
}
