/**
 * Makes text from outside safe to show in a log or on a terminal: characters that would move the cursor, end
 * a line or change the reading direction are escaped. Letters of every script, emoji and the space stay.
 *
 * The log (platform/log_sink.ts) and the terminal (platform/terminal.ts) do this to everything they write.
 * Callers do it themselves only if a text must stay on one line, or is part of a text with our own escape
 * sequences.
 */

/**
 * C0 (except tabs and line ends), DEL, C1, line separators, and the marks that change the reading direction.
 */
const UNSAFE =
  // deno-lint-ignore no-control-regex -- control characters are what is escaped
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)/;
const UNSAFE_ALL = new RegExp(UNSAFE, "g");
/** UNSAFE, and tabs and line ends. */
// deno-lint-ignore no-control-regex -- control characters are what is escaped
const UNSAFE_IN_LINE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const UNSAFE_IN_LINE_ALL = new RegExp(UNSAFE_IN_LINE, "g");
// deno-lint-ignore no-control-regex -- the sequences that colour text
const STYLES = /\u001b\[[0-9;]*m/g;

/**
 * Returns a text with unsafe characters escaped and tabs and line ends kept. Below U+0020 the form is `\x1b`.
 * From DEL on it is `\u009b`, as in JSON, so that a line of JSON keeps its meaning. A text without unsafe
 * characters is returned as it is.
 */
export function shown(text: string): string {
  return UNSAFE.test(text) ? text.replace(UNSAFE_ALL, escaped) : text;
}

/**
 * Like `shown`, but escapes tabs and line ends too, so the result is one line. The text is cut to `charsMax`
 * characters before it is escaped.
 */
export function shownLine(text: string, charsMax = Infinity): string {
  const part = text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;
  return UNSAFE_IN_LINE.test(part) ? part.replace(UNSAFE_IN_LINE_ALL, escaped) : part;
}

/**
 * Returns a text without its colour sequences. The runtime colours its own errors, even if the output is not
 * a terminal.
 */
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
