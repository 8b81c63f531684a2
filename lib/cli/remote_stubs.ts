/**
 * Types of tasks that other workers register, from their replies to `inspect registered`: a Python worker
 * reports the annotations and the docstring of each function.
 *
 * Only names, annotations and docstrings are known, so keyword arguments are typed by name. Positional
 * arguments are typed too if the return value and a parameter are annotated: such a function is assumed to be
 * fully annotated. All arguments are optional, since defaults are not known. Parameters named `args` and
 * `kwargs` are assumed to be `*args` and `**kwargs`.
 *
 * Source: celery 5.2.6 worker/control.py registered (`_extract_info`), app/base.py `_task_from_fun`.
 */

import { toJson } from "../wire/mod.ts";

/** The attributes to ask for, in this order. */
export const REMOTE_ATTRIBUTES = ["__annotations__", "__doc__"];

/** Names in annotations that are not parameters of the task. */
const NOT_A_PARAMETER = new Set(["return", "self", "cls"]);
const LINE = /^(\S.*?)(?: \[(?:__annotations__=(\{[\s\S]*?\}))?(?: ?__doc__=([\s\S]*))?\])?$/;
const ENTRY = /^'([^'\\]+)': ([\s\S]+)$/;
const IDENTIFIER = /^[\p{ID_Start}_][\p{ID_Continue}]*$/u;

/** TypeScript types for the values of Python types, as they are serialised. */
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
/** Python's generic types that become arrays. */
const ARRAYS = /^(list|set|frozenset|List|Set|Sequence|Iterable|Collection)$/;

/**
 * Returns the text of remote.d.ts for workers' replies, without the tasks in `own`, and the number of its
 * tasks.
 */
export function remoteStubs(
  lines: readonly string[],
  own: ReadonlySet<string>,
): { text: string; count: number } {
  const entries = new Map<string, string>();
  for (const line of lines) {
    const match = LINE.exec(line);
    if (match === null || own.has(match[1]!) || match[1]!.startsWith("celery.")) continue;
    const stub = entryOf(match[1]!, match[2], match[3]);
    // If workers differ, take the longer stub, which says more.
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
  // The underscore keeps labels of tuple elements from being reserved words.
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

/** Returns the first line of a docstring, escaped so that it cannot end the comment. */
function commentOf(doc: string): string {
  const line = doc.trim().split("\n")[0]!.trim();
  return line.replaceAll("*/", "* /").replaceAll(/\p{Cc}/gu, " ").slice(0, 200);
}

/** Returns the TypeScript type for a Python annotation; `unknown` if there is none. */
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

/** Returns the type of a value of a Literal; `unknown` if TypeScript writes it differently. */
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

/** Splits a text at separators outside brackets and quotes. */
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
