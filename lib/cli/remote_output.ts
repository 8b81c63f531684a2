/**
 * Formats replies of remote control exactly as Celery prints them.
 *
 * Source: celery 5.2.6 bin/base.py CLIContext.pretty, say_chat, bin/control.py _say_remote_command_reply; vectors
 * cli-5.2.6.json.
 */

import { shown, shownLine } from "../base/mod.ts";
import { pythonText, shownJson, strictRepr } from "../wire/mod.ts";

/** The style of the output. */
export interface ReplyStyle {
  /** `-q`: no arrows. */
  readonly isQuiet: boolean;
  /** True if the terminal shows colours. */
  readonly hasColors: boolean;
  /** True unless NO_COLOR is set; Celery's highlighter then adds a newline after objects. */
  readonly isHighlighted: boolean;
}

/** Formats a node's reply: its status line and, with `showBody`, its content. */
export function replyText(node: string, reply: unknown, style: ReplyStyle, showBody: boolean): string {
  const { status, text } = pretty(reply, style);
  const arrow = style.isQuiet ? "" : `${paint("->", "1;37", style)} `;
  const head = `${arrow} ${paint(`${shownLine(node)}: `, "1;36", style)}${status}\n`;
  const body = indent(text, 4);
  return showBody && body !== "" ? `${head}${body}\n` : head;
}

/** Returns "3 nodes online." after an empty line. */
export function onlineText(count: number): string {
  return `\n${count} node${count === 1 ? "" : "s"} online.\n`;
}

function pretty(reply: unknown, style: ReplyStyle): { status: string; text: string } {
  const ok = paint("OK", "1;32", style);
  if (Array.isArray(reply)) return { status: ok, text: listText(reply, style) };
  if (typeof reply === "string") return { status: ok, text: shown(reply) };
  if (typeof reply !== "object" || reply === null) return { status: ok, text: shown(strictRepr(reply)) };
  const record = reply as Record<string, unknown>;
  if ("ok" in record) return { status: ok, text: indent(pretty(record["ok"], style).text, 4) };
  if ("error" in record) {
    return {
      status: paint("ERROR", "1;31", style),
      text: indent(pretty(record["error"], style).text, 4),
    };
  }
  return { status: ok, text: sortedJson(record) + (style.isHighlighted ? "\n" : "") };
}

function listText(items: readonly unknown[], style: ReplyStyle): string {
  if (items.length === 0) return "- empty -";
  return items.map((item) => `${paint("*", "37", style)} ${shown(pythonText(item))}`).join("\n");
}

function indent(text: string, spaces: number): string {
  return text.split("\n").map((line) => " ".repeat(spaces) + line).join("\n");
}

function paint(text: string, code: string, { hasColors }: ReplyStyle): string {
  return hasColors ? `\x1b[${code}m${text}\x1b[0m` : text;
}

/** Formats JSON as Python's `json.dumps(value, sort_keys=True, indent=4)`. */
function sortedJson(value: unknown): string {
  return shownJson(value, { indent: 4, isAscii: true });
}

/** Formats JSON as Python's `json.dumps(value)`: on one line, a space after commas and colons, ASCII. */
export function pythonJson(value: unknown): string {
  return shownJson(value, { isSpaced: true, isAscii: true });
}
