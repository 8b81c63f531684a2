/** Texts in double quotes. */

/** A text as a JSON string, quotes included: for JSON written by hand, and for words in messages. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}
