/**
 * Python's format of log lines, such as `[%(levelname)-8s] %(message)s`: parsed once, filled in for each
 * record.
 *
 * Source: Python 3.11 logging (PercentStyle, LogRecord attributes; "(unknown file)" where the caller is not
 * known), "printf-style String Formatting".
 */

import { nearest, UsageError } from "../base/mod.ts";
import { pythonFloat, strictRepr } from "../wire/mod.ts";

/** Returns the value of a field of a record, by its name in Python. */
export type LogField = (name: FieldName) => string | number;

/** A parsed format: returns the line of a record, without a line end. */
export type LogFormat = (field: LogField) => string;

/** The fields and their types in Python. */
const FIELDS = {
  asctime: "text",
  created: "float",
  filename: "text",
  funcName: "text",
  levelname: "text",
  levelno: "int",
  lineno: "int",
  message: "text",
  module: "text",
  msecs: "float",
  name: "text",
  pathname: "text",
  process: "int",
  processName: "text",
  relativeCreated: "float",
  taskName: "text",
  task_id: "text",
  task_name: "text",
  thread: "int",
  threadName: "text",
} as const;

/** A field's name. */
export type FieldName = keyof typeof FIELDS;

const DIRECTIVE = /%(?:\((\w*)\))?([-+ #0]*)(\d*)(?:\.(\d*))?[hlL]?(.?)/gs;
/** The conversions for any value, and those for numbers. */
const ANY = "sra";
const NUMBERS = "diueEfFgG";
const TYPES = { text: ANY, float: ANY + NUMBERS, int: `${ANY}${NUMBERS}oxX` } as const;

/** One `%(name)…` with its flags and conversion. */
interface Directive {
  readonly name: FieldName;
  readonly flags: string;
  readonly width: number;
  readonly precision: number | null;
  readonly type: string;
}

/**
 * Parses a format. An empty one means only the message. Throws UsageError for a format that Python could not
 * fill in.
 */
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
  if (!TYPES[FIELDS[field]].includes(type) || type === "") {
    throw unreadable(format, `"${whole}" cannot write ${FIELDS[field] === "text" ? "a string" : "a number"}`);
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

function written({ name, flags, width, precision, type }: Directive, value: string | number): string {
  if (ANY.includes(type)) {
    const text = inWords(value, { isFloat: FIELDS[name] === "float", type });
    return padded(precision === null ? text : text.slice(0, precision), flags, width);
  }
  const number = Number(value);
  const digits = unsigned(Math.abs(number), { flags, precision, type });
  const sign = number < 0 ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  if (flags.includes("0") && !flags.includes("-")) {
    const prefix = /^0[xXo]/.exec(digits)?.[0] ?? "";
    const rest = digits.slice(prefix.length);
    return sign + prefix + rest.padStart(width - sign.length - prefix.length, "0");
  }
  return padded(sign + digits, flags, width);
}

/** Formats a value as Python's `str`, `repr` or `ascii`. */
function inWords(value: string | number, { isFloat, type }: { isFloat: boolean; type: string }): string {
  if (typeof value === "number") return isFloat ? pythonFloat(value) : String(value);
  if (type === "s") return value;
  const text = strictRepr(value);
  if (type === "r") return text;
  return text.replace(/[^\0-\x7f]/gu, (letter) => {
    const code = letter.codePointAt(0)!;
    const hex = code.toString(16);
    return code < 0x100
      ? `\\x${hex}`
      : code < 0x10000
      ? `\\u${hex.padStart(4, "0")}`
      : `\\U${hex.padStart(8, "0")}`;
  });
}

function padded(text: string, flags: string, width: number): string {
  return flags.includes("-") ? text.padEnd(width) : text.padStart(width);
}

function unsigned(
  number: number,
  { flags, precision, type }: Pick<Directive, "flags" | "precision" | "type">,
): string {
  const whole = (base: number): string => Math.trunc(number).toString(base).padStart(precision ?? 0, "0");
  const prefix = flags.includes("#") ? `0${type}` : "";
  switch (type) {
    case "d":
    case "i":
    case "u":
      return whole(10);
    case "o":
      return prefix + whole(8);
    case "x":
      return prefix + whole(16);
    case "X":
      return prefix + whole(16).toUpperCase();
    case "f":
    case "F":
      return number.toFixed(precision ?? 6);
    case "e":
    case "E":
      return exponential(number, precision ?? 6, type);
    default:
      return general(number, precision ?? 6, { isLong: flags.includes("#"), type });
  }
}

/** Formats as `%e`, with at least two digits in the exponent. */
function exponential(number: number, precision: number, type: string): string {
  const text = number.toExponential(precision).replace(/e([+-])(\d)$/, "e$10$2");
  return type === "E" || type === "G" ? text.toUpperCase() : text;
}

/** Formats as `%g`: with `precision` significant digits, without trailing zeros unless `isLong`. */
function general(
  number: number,
  precision: number,
  { isLong, type }: { readonly isLong: boolean; readonly type: string },
): string {
  const digits = precision || 1;
  const exponent = Number(number.toExponential(digits - 1).split("e")[1]);
  const isFixed = exponent >= -4 && exponent < digits;
  const text = isFixed ? number.toFixed(digits - 1 - exponent) : exponential(number, digits - 1, type);
  return isLong ? text : text.replace(/(\.\d*?)0*(?=e|E|$)/, "$1").replace(/\.(?=e|E|$)/, "");
}
