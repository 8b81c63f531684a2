/**
 * Replies of remote control as Celery prints them, to the character.
 *
 * Source: celery 5.2.6 bin/base.py CLIContext.pretty, say_chat, bin/control.py _say_remote_command_reply; vectors
 * cli-5.2.6.json.
 */

import { pythonText, strictRepr } from "../wire/mod.ts";

/** How to print. */
export interface ReplyStyle {
  /** `-q`: no arrows. */
  readonly isQuiet: boolean;
  /** The terminal shows colours. */
  readonly hasColors: boolean;
  /** Nobody has asked for no colours; Celery's highlighter then ends objects with a line of its own. */
  readonly isHighlighted: boolean;
}

/** One node's reply: its line and, with `showBody`, what it said. */
export function replyText(node: string, reply: unknown, style: ReplyStyle, showBody: boolean): string {
  const { status, text } = pretty(reply, style);
  const arrow = style.isQuiet ? "" : `${paint("->", "1;37", style)} `;
  const head = `${arrow} ${paint(`${node}: `, "1;36", style)}${status}\n`;
  const body = indent(text, 4);
  return showBody && body !== "" ? `${head}${body}\n` : head;
}

/** "3 nodes online." with the line above it. */
export function onlineText(count: number): string {
  return `\n${count} node${count === 1 ? "" : "s"} online.\n`;
}

function pretty(reply: unknown, style: ReplyStyle): { status: string; text: string } {
  const ok = paint("OK", "1;32", style);
  if (Array.isArray(reply)) return { status: ok, text: listText(reply, style) };
  if (typeof reply === "string") return { status: ok, text: reply };
  if (typeof reply !== "object" || reply === null) return { status: ok, text: strictRepr(reply) };
  const record = reply as Record<string, unknown>;
  if ("ok" in record) return { status: ok, text: indent(pretty(record["ok"], style).text, 4) };
  if ("error" in record) {
    return {
      status: paint("ERROR", "1;31", style),
      text: indent(pretty(record["error"], style).text, 4),
    };
  }
  return { status: ok, text: sortedJson(record, 0) + (style.isHighlighted ? "\n" : "") };
}

function listText(items: readonly unknown[], style: ReplyStyle): string {
  if (items.length === 0) return "- empty -";
  return items.map((item) => `${paint("*", "37", style)} ${pythonText(item)}`).join("\n");
}

function indent(text: string, spaces: number): string {
  return text.split("\n").map((line) => " ".repeat(spaces) + line).join("\n");
}

function paint(text: string, code: string, { hasColors }: ReplyStyle): string {
  return hasColors ? `\x1b[${code}m${text}\x1b[0m` : text;
}

/** JSON as Python's `json.dumps(value, sort_keys=True, indent=4)` writes it. */
function sortedJson(value: unknown, level: number): string {
  const pad = "    ".repeat(level + 1);
  const end = "    ".repeat(level);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((item) => pad + sortedJson(item, level + 1)).join(",\n")}\n${end}]`;
  }
  if (typeof value === "object" && value !== null) {
    const keys = Object.keys(value).sort();
    if (keys.length === 0) return "{}";
    const lines = keys.map((key) =>
      `${pad}${ascii(JSON.stringify(key))}: ${sortedJson((value as Record<string, unknown>)[key], level + 1)}`
    );
    return `{\n${lines.join(",\n")}\n${end}}`;
  }
  return scalarJson(value);
}

/** One line of JSON as Python's `json.dumps(value)` writes it: a space behind commas and colons, ASCII. */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const parts = Object.entries(value).map(([key, item]) =>
      `${ascii(JSON.stringify(key))}: ${pythonJson(item)}`
    );
    return `{${parts.join(", ")}}`;
  }
  return scalarJson(value);
}

function scalarJson(value: unknown): string {
  // Python's JSON has Infinity and NaN.
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  return ascii(JSON.stringify(value ?? null));
}

function ascii(text: string): string {
  return text.replaceAll(
    /[\u007f-\uffff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
