/**
 * Indents the text of a value by its brackets without parsing it: JSON or a Python repr, even if cut off.
 * Numbers keep all their digits.
 */

/**
 * A piece of the formatted text: its kind ("k" key, "s" string, "n" number or constant, "" other) and its
 * text.
 */
export type Piece = readonly [kind: "" | "k" | "s" | "n", text: string];

/** Longer texts are not formatted. */
const LAID_OUT_MAX = 100_000;
/** Brackets with shorter content stay on one line. */
const LINE_MAX = 60;

const TOKEN = /"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[[\]{}(),:]|[^\s"'[\]{}(),:]+|\s+/g;

/** Returns the pieces of a value's text, with line breaks and indentation. */
export function pretty(text: string): Piece[] {
  if (text.length > LAID_OUT_MAX) return [["", text]];
  const tokens = text.match(TOKEN) ?? [];
  const pieces: Piece[] = [];
  // For each open bracket: true if its content is broken into lines.
  const broken: boolean[] = [];
  const line = () => pieces.push(["", `\n${"  ".repeat(broken.filter(Boolean).length)}`]);
  tokens.forEach((token, at) => {
    if (/^\s/.test(token)) return pieces.push(["", /\n/.test(token) ? " " : token]);
    if ("([{".includes(token)) {
      pieces.push(["", token]);
      broken.push(lengthInside(tokens, at) > LINE_MAX);
      if (broken.at(-1)) line();
    } else if (")]}".includes(token)) {
      if (broken.pop()) line();
      pieces.push(["", token]);
    } else if (token === "," && broken.at(-1)) {
      pieces.push(["", token]);
      const next = /^\s/.test(tokens[at + 1] ?? "") ? tokens[at + 2] : tokens[at + 1];
      if (!")]}".includes(next ?? "")) line();
    } else {
      pieces.push([kindAt(tokens, at), token]);
      const isClose = token === "," || token === ":" && /^["']/.test(tokens[at - 1] ?? "");
      if (isClose && /^[^\s)\]}]/.test(tokens[at + 1] ?? "")) pieces.push(["", " "]);
    }
  });
  return joined(pieces);
}

function kindAt(tokens: readonly string[], at: number): Piece[0] {
  const token = tokens[at]!;
  const isString = /^["']/.test(token);
  if (isString && (tokens[at + 1] === ":" || tokens[at + 2] === ":" && /^\s/.test(tokens[at + 1]!))) {
    return "k";
  }
  if (isString) return "s";
  return /^[-+]?\d|^(true|false|null|None|True|False|NaN)$/.test(token) ? "n" : "";
}

/** Returns the length of a bracket's content; stops counting beyond LINE_MAX. */
function lengthInside(tokens: readonly string[], start: number): number {
  let depth = 0;
  let length = 0;
  for (let at = start; at < tokens.length && length <= LINE_MAX; at++) {
    if ("([{".includes(tokens[at]!)) depth++;
    else if (")]}".includes(tokens[at]!) && --depth === 0) break;
    length += tokens[at]!.length;
  }
  return length;
}

/** Joins adjacent plain pieces, and drops the blank after a line break. */
function joined(pieces: readonly Piece[]): Piece[] {
  const out: Piece[] = [];
  for (const [kind, text] of pieces) {
    const last = out.at(-1);
    if (kind !== "" || last === undefined || last[0] !== "") out.push([kind, text]);
    else out[out.length - 1] = ["", /\n *$/.test(last[1]) ? last[1] + text.trimStart() : last[1] + text];
  }
  return out;
}
