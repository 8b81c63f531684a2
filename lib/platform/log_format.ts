/**
 * Python's format of log lines, `[%(levelname)-8s] %(message)s`: read once, filled in for each record.
 *
 * Source: Python 3.11 logging (PercentStyle, LogRecord attributes; "(unknown file)" where the caller is not known),
 * "printf-style String Formatting".
 */

import { nearest, UsageError } from "../base/mod.ts";

/** What a record has: texts and numbers by their names in Python. */
export type LogField = (name: FieldName) => string | number;

/** A format that was read: the line of a record, without its end. */
export type LogFormat = (field: LogField) => string;

/** The fields, and whether they are numbers. */
const FIELDS = {
  asctime: false,
  created: true,
  filename: false,
  funcName: false,
  levelname: false,
  levelno: true,
  lineno: true,
  message: false,
  module: false,
  msecs: true,
  name: false,
  pathname: false,
  process: true,
  processName: false,
  relativeCreated: true,
  taskName: false,
  task_id: false,
  task_name: false,
  thread: true,
  threadName: false,
} as const;

/** A field's name. */
export type FieldName = keyof typeof FIELDS;

const DIRECTIVE = /%(?:\((\w*)\))?([-+ #0]*)(\d*)(?:\.(\d*))?[hlL]?(.?)/gs;
const NUMBERS = "diuoxXeEfFgG";

/** One `%(name)…` with how it is written. */
interface Directive {
  readonly name: FieldName;
  readonly flags: string;
  readonly width: number;
  readonly precision: number | null;
  readonly type: string;
}

/** Reads a format. Throws UsageError for what Python could not fill in. An empty one is the message alone. */
export function readLogFormat(format: string): LogFormat {
  const parts: (string | Directive)[] = [];
  let at = 0;
  for (const match of (format === "" ? "%(message)s" : format).matchAll(DIRECTIVE)) {
    parts.push(format.slice(at, match.index));
    at = match.index + match[0].length;
    parts.push(match[5] === "%" ? "%" : directive(format, match));
  }
  parts.push(format.slice(at));
  if (!parts.some((part) => typeof part !== "string")) {
    throw unreadable(format, "it has no field such as %(message)s");
  }
  return (field) => {
    let line = "";
    for (const part of parts) {
      line += typeof part === "string" ? part : written(part, field(part.name));
    }
    return line;
  };
}

function directive(format: string, match: RegExpExecArray): Directive {
  const [whole, name, flags = "", width = "", precision, type = ""] = match;
  if (name === undefined) throw unreadable(format, `"${whole}" is not a field; write %% for a percent sign`);
  if (!Object.hasOwn(FIELDS, name)) {
    const near = nearest(name, Object.keys(FIELDS));
    throw unreadable(format, `unknown field "${name}"${near ? `: did you mean "${near}"?` : ""}`);
  }
  const field = name as FieldName;
  if (!`sra${FIELDS[field] ? NUMBERS : ""}`.includes(type) || type === "") {
    throw unreadable(format, `"${whole}" cannot write ${FIELDS[field] ? "a number" : "a string"}`);
  }
  return {
    name: field,
    flags,
    width: Number(width),
    precision: precision === undefined ? null : Number(precision),
    type,
  };
}

function unreadable(format: string, reason: string): UsageError {
  return new UsageError(`Cannot read log format "${format}": ${reason}`);
}

function written({ flags, width, precision, type }: Directive, value: string | number): string {
  if (!NUMBERS.includes(type)) {
    const text = type === "s" || typeof value === "number" ? String(value) : `'${value}'`;
    return padded(precision === null ? text : text.slice(0, precision), flags, width);
  }
  const number = Number(value);
  const digits = unsigned(Math.abs(number), type, precision);
  const sign = number < 0 ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  if (flags.includes("0") && !flags.includes("-")) return sign + digits.padStart(width - sign.length, "0");
  return padded(sign + digits, flags, width);
}

function padded(text: string, flags: string, width: number): string {
  return flags.includes("-") ? text.padEnd(width) : text.padStart(width);
}

function unsigned(number: number, type: string, precision: number | null): string {
  switch (type) {
    case "d":
    case "i":
    case "u":
      return String(Math.trunc(number)).padStart(precision ?? 0, "0");
    case "o":
      return Math.trunc(number).toString(8).padStart(precision ?? 0, "0");
    case "x":
      return Math.trunc(number).toString(16).padStart(precision ?? 0, "0");
    case "X":
      return Math.trunc(number).toString(16).toUpperCase().padStart(precision ?? 0, "0");
    case "f":
    case "F":
      return number.toFixed(precision ?? 6);
    default: {
      const text = type === "g" || type === "G"
        ? String(Number(number.toPrecision(precision || 6)))
        : number.toExponential(precision ?? 6).replace(/e([+-])(\d)$/, "e$10$2");
      return type === "E" || type === "G" ? text.toUpperCase() : text;
    }
  }
}
