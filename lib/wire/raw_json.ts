/** Numbers in the form they were written in, where a JavaScript number does not keep it: 2.0, 1e16, -0.0. */

/** A text that JSON carries as it is (`JSON.rawJSON`): a number whose form a JavaScript number does not keep. */
export interface RawJson {
  readonly rawJSON: string;
}

/** The engine's part that TypeScript's library does not know yet. */
const engine = JSON as unknown as { rawJSON?(text: string): RawJson; isRawJSON?(value: unknown): boolean };

/**
 * A number in the form given, such as `2.0`. Throws SyntaxError for what is not a JSON scalar, and in an engine that
 * has no such thing (Node 20): nothing that its client does asks for one.
 */
export function rawJson(text: string): RawJson {
  if (engine.rawJSON === undefined) throw new SyntaxError(`Cannot keep the form of ${text}`);
  return engine.rawJSON(text);
}

/** True for what `rawJson` made. */
export function isRawJson(value: unknown): value is RawJson {
  return engine.isRawJSON?.(value) ?? false;
}
