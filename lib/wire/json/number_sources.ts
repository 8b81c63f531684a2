/**
 * Reads JSON with the source text of each number. Engines before V8 11.4 (Node 20) do not provide it; there,
 * numbers that need it are read as marked strings. The mark is random in each process, so no text from
 * outside contains it.
 */

/** Converts a value that JSON.parse has read. A number may come with its source text. */
export type Revive = (key: string, value: unknown, context?: { source: string }) => unknown;

const noted = (_key: string, _value: unknown, context?: object) => context !== undefined;
const HAS_SOURCES: boolean = JSON.parse("1", noted);
const mark = `number ${crypto.randomUUID()} `;

/**
 * Like JSON.parse(text, revive). If the engine provides no sources, only integers of 16 or more digits and
 * numbers for which `isWanted` returns true come with theirs. Throws SyntaxError if the text is not JSON.
 */
export function parseWithSources(
  text: string,
  revive: Revive,
  isWanted: (source: string) => boolean,
  hasSources = HAS_SOURCES,
): unknown {
  if (hasSources) return JSON.parse(text, revive);
  // Throws first for an invalid number such as 01, which must not become a string.
  JSON.parse(text);
  const marked = changedOutsideTexts(
    text,
    (part) =>
      part.replace(
        /-?\d[\d.eE+-]*/g,
        (source) => /^-?\d{16,}$/.test(source) || isWanted(source) ? `"${mark}${source}"` : source,
      ),
  );
  return JSON.parse(marked, (key, value) => {
    if (typeof value !== "string" || !value.startsWith(mark)) return revive(key, value);
    const source = value.slice(mark.length);
    return revive(key, Number(source), { source });
  });
}

/**
 * Changes the parts of a JSON text outside of its strings. Takes one pass, even if quotes are never closed.
 */
export function changedOutsideTexts(text: string, change: (part: string) => string): string {
  let changed = "";
  let at = 0;
  for (let quote = text.indexOf('"'); quote >= 0; quote = text.indexOf('"', at)) {
    const end = textEnd(text, quote);
    changed += change(text.slice(at, quote)) + text.slice(quote, end);
    at = end;
  }
  return changed + change(text.slice(at));
}

/** Returns the position after the closing quote of the string that begins at `quote`. */
function textEnd(text: string, quote: number): number {
  for (let at = quote + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5c) at++;
    else if (code === 0x22) return at + 1;
  }
  return text.length;
}
