/**
 * JSON read with each number's own text, which engines before V8 11.4 (Node 20) do not give: there the numbers that
 * need it are read as marked texts. The mark is made anew in each process, so no text from outside has it.
 */

/** Makes a value of one that JSON.parse has read; of a number with the text it stood in, if that matters. */
export type Revive = (key: string, value: unknown, context?: { source: string }) => unknown;

const noted = (_key: string, _value: unknown, context?: object) => context !== undefined;
const HAS_SOURCES: boolean = JSON.parse("1", noted);
const mark = `number ${crypto.randomUUID()} `;

/**
 * As JSON.parse(text, revive). Where the engine gives no sources, those of integers of 16 digits and more are found,
 * and of what `isWanted`; other numbers come without. Throws SyntaxError for what is not JSON.
 */
export function parseWithSources(
  text: string,
  revive: Revive,
  isWanted: (source: string) => boolean,
  hasSources = HAS_SOURCES,
): unknown {
  if (hasSources) return JSON.parse(text, revive);
  // A number that JSON does not know, as 01, must not become a text.
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

/** Changes the parts of a JSON text that lie outside of its texts. One pass, whatever quotes never close. */
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

/** Where the text that begins at a quote ends, behind its last quote. */
function textEnd(text: string, quote: number): number {
  for (let at = quote + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5c) at++;
    else if (code === 0x22) return at + 1;
  }
  return text.length;
}
