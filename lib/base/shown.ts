/**
 * Text from outside as it may stand in a log or on a terminal: what would move the cursor, end a line or turn the
 * reading direction is escaped. Letters of every script, emoji and the blank stay.
 *
 * The log (platform/log_sink.ts) and the terminal (platform/terminal.ts) do this to all that goes out; callers do it
 * only where a text has to stay on one line, or is a part of one with escape sequences of our own.
 */

/** C0 (but tabs and line ends), DEL, C1, line separators, and the marks that turn the reading direction. */
const UNSAFE =
  // deno-lint-ignore no-control-regex -- control characters are what is escaped
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)/;
const UNSAFE_ALL = new RegExp(UNSAFE, "g");
/** As UNSAFE, with tabs and line ends. */
// deno-lint-ignore no-control-regex -- control characters are what is escaped
const UNSAFE_IN_LINE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const UNSAFE_IN_LINE_ALL = new RegExp(UNSAFE_IN_LINE, "g");
// deno-lint-ignore no-control-regex -- the sequences that colour text
const STYLES = /\u001b\[[0-9;]*m/g;

/**
 * A text with its line ends, everything unsafe escaped: `\x1b`, and from DEL on `\u009b`, the form that JSON reads
 * too, so that a line of JSON stays what it was. A text without such characters is given back as it is.
 */
export function shown(text: string): string {
  return UNSAFE.test(text) ? text.replace(UNSAFE_ALL, escaped) : text;
}

/** The same on one line: tabs and line ends are escaped too. With `charsMax`, at most so many characters. */
export function shownLine(text: string, charsMax = Infinity): string {
  const part = text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;
  return UNSAFE_IN_LINE.test(part) ? part.replace(UNSAFE_IN_LINE_ALL, escaped) : part;
}

/** A text without its colours: the runtime colours its own errors, wherever they go. */
export function withoutStyles(text: string): string {
  return text.includes("\u001b") ? text.replace(STYLES, "") : text;
}

function escaped(letter: string): string {
  if (letter === "\n") return "\\n";
  if (letter === "\r") return "\\r";
  if (letter === "\t") return "\\t";
  const code = letter.charCodeAt(0);
  return code < 0x20
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : `\\u${code.toString(16).padStart(4, "0")}`;
}
