/**
 * Types of tasks that other workers register, from what they answer to `inspect registered`: a Python worker gives the
 * annotations of the function and its doc string.
 *
 * Nothing but names, annotations and doc strings is known of a Python function, so keyword arguments are typed by name.
 * Positional ones are, too, if the return value and a parameter are annotated: such a function is taken as annotated
 * throughout. None is required, since defaults are not known. Parameters named `args` and `kwargs` are those that take
 * the rest: nothing else tells them apart.
 *
 * Source: celery 5.2.6 worker/control.py registered (`_extract_info`), app/base.py `_task_from_fun`.
 */

import { toJson } from "../wire/mod.ts";

/** The attributes that are asked for, in this order. */
export const REMOTE_ATTRIBUTES = ["__annotations__", "__doc__"];

/** Names of a task's function that Python has for what it is itself. */
const NOT_A_PARAMETER = new Set(["return", "self", "cls"]);
const LINE = /^(\S.*?)(?: \[(?:__annotations__=(\{[\s\S]*?\}))?(?: ?__doc__=([\s\S]*))?\])?$/;
const ENTRY = /^'([^'\\]+)': ([\s\S]+)$/;
const IDENTIFIER = /^[\p{ID_Start}_][\p{ID_Continue}]*$/u;

/** Python's types whose values travel as these. */
const PLAIN: Readonly<Record<string, string>> = {
  int: "number",
  float: "number",
  complex: "unknown",
  str: "string",
  bool: "boolean",
  bytes: "Uint8Array",
  None: "null",
  NoneType: "null",
  list: "unknown[]",
  tuple: "unknown[]",
  set: "unknown[]",
  dict: "Record<string, unknown>",
  "datetime.datetime": "Date",
  "uuid.UUID": "string",
  "decimal.Decimal": "string | number",
};
/** Python's generic types that are arrays here. */
const ARRAYS = /^(list|set|frozenset|List|Set|Sequence|Iterable|Collection)$/;

/** The text of remote.d.ts for the answers of workers, without the tasks named in `own`; and how many it has. */
export function remoteStubs(
  lines: readonly string[],
  own: ReadonlySet<string>,
): { text: string; count: number } {
  const entries = new Map<string, string>();
  for (const line of lines) {
    const match = LINE.exec(line);
    if (match === null || own.has(match[1]!) || match[1]!.startsWith("celery.")) continue;
    const stub = entryOf(match[1]!, match[2], match[3]);
    // Of workers that differ, one that says more.
    if (stub.length >= (entries.get(match[1]!)?.length ?? 0)) entries.set(match[1]!, stub);
  }
  const names = [...entries.keys()].sort();
  const body = names.map((name) => entries.get(name)!).join("");
  const text = `// Tasks that other workers register. Written by "lovage types"; do not edit.
import "lovage";
declare module "lovage" {
  interface RemoteTasks {
${body}  }
}
`;
  return { text, count: names.length };
}

function entryOf(name: string, annotations: string | undefined, doc: string | undefined): string {
  const types = new Map<string, string>();
  let result: string | null = null;
  for (const part of annotations === undefined ? [] : topLevel(annotations.slice(1, -1), ",")) {
    const match = ENTRY.exec(part.trim());
    if (match === null) continue;
    const [, parameter, type] = match;
    if (parameter === "return") result = typeOf(type!);
    else if (!NOT_A_PARAMETER.has(parameter!) && IDENTIFIER.test(parameter!)) {
      types.set(parameter!, typeOf(type!));
    }
  }
  const isWhole = result !== null && types.size > 0;
  const rest = types.get("args");
  const isOpen = !isWhole || types.has("kwargs");
  for (const name of ["args", "kwargs"]) types.delete(name);
  const named = [...types].map(([parameter, type]) => `${parameter}?: ${type}`);
  // A label of a tuple's element must not be a reserved word.
  const positional = named.map((one) => `_${one}`);
  if (rest !== undefined) positional.push(`..._args: (${rest})[]`);
  const args = isWhole ? `[${positional.join(", ")}]` : "unknown[]";
  const kwargs = named.length === 0
    ? "Record<string, unknown>"
    : `{ ${named.join("; ")}${isOpen ? "; [name: string]: unknown" : ""} }`;
  const comment = doc === undefined ? "" : `    /** ${commentOf(doc)} */\n`;
  return `${comment}    ${toJson(name)}: { args: ${args}; kwargs: ${kwargs}; result: ${
    result ?? "unknown"
  } };\n`;
}

/** The first line of a doc string, which cannot end the comment. */
function commentOf(doc: string): string {
  const line = doc.trim().split("\n")[0]!.trim();
  return line.replaceAll("*/", "* /").replaceAll(/\p{Cc}/gu, " ").slice(0, 200);
}

/** TypeScript's type for the text of a Python annotation; `unknown` where there is none. */
function typeOf(annotation: string): string {
  const text = annotation.trim().replace(/^<class '(.*)'>$/, "$1").replace(/^(['"])(.*)\1$/, "$2")
    .replace(/^ForwardRef\(['"](.*)['"]\)$/, "$1").replace(/^(typing|collections\.abc|builtins)\./, "");
  const plain = Object.hasOwn(PLAIN, text) ? PLAIN[text]! : null;
  if (plain !== null) return plain;
  const either = topLevel(text, "|");
  if (either.length > 1) return unionOf(either);
  const generic = /^([\w.]+)\[([\s\S]*)\]$/.exec(text);
  if (generic === null) return "unknown";
  const [, name, inner] = generic;
  const parts = topLevel(inner!, ",");
  if (name === "Optional") return unionOf([...parts, "None"]);
  if (name === "Union") return unionOf(parts);
  if (name === "Annotated" || name === "Final") return typeOf(parts[0] ?? "");
  if (name === "Literal") return parts.map(literalOf).join(" | ");
  if (ARRAYS.test(name!)) return `(${typeOf(parts[0] ?? "")})[]`;
  if (/^(tuple|Tuple)$/.test(name!)) {
    return parts[1]?.trim() === "..." ? `(${typeOf(parts[0]!)})[]` : `[${parts.map(typeOf).join(", ")}]`;
  }
  if (/^(dict|Dict|Mapping)$/.test(name!)) return `Record<string, ${typeOf(parts[1] ?? "")}>`;
  return "unknown";
}

/** The type of one value of a Literal; `unknown` if its form is not the same in TypeScript. */
function literalOf(value: string): string {
  const text = /^'([^'"\\]*)'$/.exec(value)?.[1];
  if (text !== undefined) return toJson(text);
  if (/^-?\d{1,15}$/.test(value)) return value;
  return { True: "true", False: "false", None: "null" }[value] ?? "unknown";
}

function unionOf(parts: readonly string[]): string {
  const all = [...new Set(parts.map(typeOf))];
  return all.includes("unknown") ? "unknown" : all.join(" | ");
}

/** The parts between separators that stand in no bracket and no quotes. */
function topLevel(text: string, separator: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = "";
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]!;
    if (quote !== "") {
      if (letter === "\\") at++;
      else if (letter === quote) quote = "";
    } else if (letter === "'" || letter === '"') quote = letter;
    else if ("[({<".includes(letter)) depth++;
    else if ("])}>".includes(letter)) depth--;
    else if (letter === separator && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}
