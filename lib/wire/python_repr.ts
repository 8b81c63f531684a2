/**
 * Formats values as Python would: `argsrepr`, `kwargsrepr`, results in log lines and events, exception texts.
 *
 * There are two formatters. `pythonRepr` limits length and nesting as Celery's does, and puts every text in
 * single quotes. `strictRepr` is Python's real `repr`, for exceptions. A whole JavaScript number is formatted
 * as an int, since JavaScript does not distinguish 2 from 2.0.
 *
 * Source: celery 5.2.6 utils/saferepr.py saferepr, utils/text.py truncate (behaviour); Python 3 repr.
 */

import { isPlainDate, isPlainTime } from "./plain_times.ts";
import { isRawJson } from "./raw_json.ts";

/** The limits of a formatted value. */
export interface ReprOptions {
  /**
   * The approximate maximum length in characters. The text is cut with "...", and closing brackets still
   * follow. Default 1024.
   */
  maxChars?: number;
  /** Containers nested deeper are formatted as "[...]". Default 3. */
  maxLevels?: number;
  /** Formats the top array as a tuple, for positional arguments. */
  tuple?: boolean;
}

/** Formats a value as Celery does. Never throws, and never recurses deeper than `maxLevels`. */
export function pythonRepr(value: unknown, options: ReprOptions = {}): string {
  const maxChars = options.maxChars ?? 1024;
  if (typeof value === "number") return cut(numberRepr(value), maxChars);
  const printer = new Printer(maxChars, options.maxLevels ?? 3);
  try {
    if (options.tuple === true && Array.isArray(value)) {
      printer.sequence(value, "(", value.length === 1 ? ",)" : ")");
    } else printer.value(value);
    return printer.text;
  } catch {
    return UNREADABLE;
  }
}

/** Replaces a value that throws when it is read, as a Proxy or a getter may. Source: saferepr's own text. */
const UNREADABLE = "<Unrepresentable>";

/**
 * Returns the repr of positional arguments, as a tuple. Cost: per message; plain numbers and short texts take
 * a fast path.
 */
export function argsRepr(args: readonly unknown[]): string {
  const { length } = args;
  if (length === 0) return "()";
  let text = "(";
  for (let n = 0; n < length; n++) {
    const value = args[n];
    let part: string;
    if (typeof value === "number") part = numberRepr(value);
    else if (typeof value === "string" && value.length < 256) part = quote(value);
    else return pythonRepr(args, { tuple: true });
    text += n === 0 ? part : ", " + part;
    if (text.length > 1000) return pythonRepr(args, { tuple: true });
  }
  return length === 1 ? text + ",)" : text + ")";
}

/** Returns the repr of keyword arguments. Cost: per message; an empty object takes a fast path. */
export function kwargsRepr(kwargs: Readonly<Record<string, unknown>>): string {
  for (const _ in kwargs) return pythonRepr(kwargs);
  return "{}";
}

/** Returns Python's `str(value)`: a text as it is, anything else by `strictRepr`. */
export function pythonText(value: unknown): string {
  return typeof value === "string" ? value : strictRepr(value);
}

/**
 * Returns Python's `repr(value)`, including escapes and quotes; at most `LEVELS_MAX` levels deep. Never
 * throws.
 */
export function strictRepr(value: unknown): string {
  try {
    return strict(value, 0);
  } catch {
    return UNREADABLE;
  }
}

const LEVELS_MAX = 50;

function strict(value: unknown, level: number): string {
  if (typeof value === "string") return strictQuote(value);
  if (value instanceof Uint8Array) return strictBytes(value);
  if (typeof value !== "object" || value === null) return scalarRepr(value);
  if (level >= LEVELS_MAX) return "...";
  if (Array.isArray(value)) return `[${value.map((item) => strict(item, level + 1)).join(", ")}]`;
  if (value instanceof Set) {
    if (value.size === 0) return "set()";
    return `{${[...value].map((item) => strict(item, level + 1)).join(", ")}}`;
  }
  const known = objectRepr(value);
  if (known !== null) return known;
  const parts: string[] = [];
  for (const [key, item] of entriesOf(value)) {
    parts.push(`${strict(key, level + 1)}: ${strict(item, level + 1)}`);
  }
  return `{${parts.join(", ")}}`;
}

/**
 * Formats with a budget of characters. Once it is used up, ", ..." replaces the next token, and after it only
 * the open brackets are closed.
 */
class Printer {
  text = "";
  #left: number;
  #levelsMax: number;
  #level = 0;
  #full = false;
  #open: unknown[] = [];

  constructor(charsMax: number, levelsMax: number) {
    this.#left = charsMax;
    this.#levelsMax = levelsMax;
  }

  value(value: unknown): void {
    if (this.#full) return;
    if (typeof value === "string") this.#take(() => quote(cut(value, this.#left)));
    else if (value instanceof Uint8Array) this.#take(() => bytesRepr(value, this.#left));
    else if (Array.isArray(value)) this.sequence(value, "[", "]");
    else if (value instanceof Set) this.#set(value);
    else if (typeof value === "object" && value !== null) this.#object(value);
    else this.#take(() => cut(scalarRepr(value), this.#left));
  }

  sequence(items: readonly unknown[], start: string, end: string): void {
    if (!this.#enter(items, start, end)) return;
    for (let n = 0; n < items.length && !this.#full; n++) {
      if (n > 0) this.#literal(", ");
      this.value(items[n]);
    }
    this.#leave(end);
  }

  #set(items: Set<unknown>): void {
    if (items.size === 0) this.#take(() => "set()");
    else this.sequence([...items], "{", "}");
  }

  #object(value: object): void {
    const known = objectRepr(value);
    if (known !== null) {
      this.#take(() => cut(known, this.#left));
      return;
    }
    if (!this.#enter(value, "{", "}")) return;
    let isFirst = true;
    for (const [key, item] of entriesOf(value)) {
      if (this.#full) break;
      if (!isFirst) this.#literal(", ");
      isFirst = false;
      this.#take(() => pythonRepr(key, { maxChars: this.#left, maxLevels: this.#levelsMax }));
      this.#literal(": ");
      this.value(item);
    }
    this.#leave("}");
  }

  #enter(value: object, start: string, end: string): boolean {
    if (this.#full) return false;
    if (this.#levelsMax > 0 && this.#level >= this.#levelsMax) {
      this.#take(() => cut(`${start}...${end}`, this.#left));
      return false;
    }
    if (this.#open.includes(value)) {
      this.#take(() => cut("<Recursion>", this.#left));
      return false;
    }
    this.#literal(start);
    if (this.#full) {
      // Celery's formatter omits the opening bracket here but writes the closing one.
      this.text += end;
      return false;
    }
    this.#open.push(value);
    this.#level++;
    return true;
  }

  #leave(end: string): void {
    this.#open.pop();
    this.#level--;
    if (this.#full) this.text += end;
    else this.#literal(end);
  }

  #literal(text: string): void {
    this.#take(() => text);
  }

  #take(make: () => string): void {
    if (this.#full) return;
    if (this.#left <= 0) {
      this.text += ", ...";
      this.#full = true;
      return;
    }
    const text = make();
    this.text += text;
    this.#left -= text.length;
  }
}

/** Cuts a text at `chars`, then back to the last space, and appends "...". */
function cut(text: string, chars: number): string {
  if (chars <= 0 || text.length < chars) return text;
  // Never cut a surrogate pair in two.
  const isPair = (text.charCodeAt(chars - 1) & 0xfc00) === 0xd800;
  const head = text.slice(0, isPair ? chars - 1 : chars);
  const space = head.lastIndexOf(" ");
  return (space >= 0 ? head.slice(0, space) : head) + "...";
}

function quote(text: string): string {
  return text.includes("'") ? "'" + text.replaceAll("'", "\\'") + "'" : "'" + text + "'";
}

function scalarRepr(value: unknown): string {
  switch (typeof value) {
    case "number":
      return numberRepr(value);
    case "boolean":
      return value ? "True" : "False";
    case "bigint":
      return value.toString();
    case "function":
      return `<function ${value.name}>`;
    case "symbol":
      return `<${value.toString()}>`;
    default:
      return "None";
  }
}

function numberRepr(value: number): string {
  return Number.isInteger(value) && !Object.is(value, -0) ? String(value) : pythonFloat(value);
}

/** Returns a float as Python's `repr`: `0.005611812000097416`, `3.0`, `1e-05`, `nan`. */
export function pythonFloat(value: number): string {
  if (value !== value) return "nan";
  if (value - value !== 0) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    // Python writes at least two digits of the exponent: 2e-7 is 2e-07.
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** Returns the repr of objects that are not formatted as a dict; null for others. */
function objectRepr(value: object): string | null {
  if (value instanceof Date) return dateRepr(value);
  if (isRawJson(value)) return pythonFloat(Number(value.rawJSON));
  if (isPlainDate(value)) {
    return `datetime.date(${value.year}, ${value.month}, ${value.day})`;
  }
  if (isPlainTime(value)) {
    const micros = value.millisecond * 1000 + value.microsecond;
    return `datetime.time(${clock(value.hour, value.minute, value.second, micros)})`;
  }
  if (value instanceof Error) return `${value.name}(${strictQuote(value.message)})`;
  if (value instanceof RegExp) return `re.compile(${strictQuote(value.source)})`;
  return null;
}

function dateRepr(date: Date): string {
  if (Number.isNaN(date.getTime())) return "None";
  const day = `${date.getUTCFullYear()}, ${date.getUTCMonth() + 1}, ${date.getUTCDate()}`;
  const time = clock(
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
    date.getUTCMilliseconds() * 1000,
  );
  return `datetime.datetime(${day}, ${time}, tzinfo=datetime.timezone.utc)`;
}

function clock(hour: number, minute: number, second: number, micros: number): string {
  if (micros > 0) return `${hour}, ${minute}, ${second}, ${micros}`;
  return second > 0 ? `${hour}, ${minute}, ${second}` : `${hour}, ${minute}`;
}

function entriesOf(value: object): Iterable<[unknown, unknown]> {
  return value instanceof Map ? value.entries() : Object.entries(plainForm(value));
}

/**
 * Returns the JSON form of an object with `toJSON`: signatures and results are formatted as they are sent.
 */
function plainForm(value: object): object {
  const toJson: unknown = (value as { toJSON?: unknown }).toJSON;
  if (typeof toJson !== "function") return value;
  try {
    const plain: unknown = toJson.call(value, "");
    return typeof plain === "object" && plain !== null ? plain : { value: plain };
  } catch {
    // An error in `toJSON` must not hide the message that contains the object.
    return value;
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Formats bytes as Celery does: as text if they are UTF-8, else as hex digits. */
function bytesRepr(bytes: Uint8Array, chars: number): string {
  const isCut = chars > 0 && bytes.length > chars;
  const part = isCut ? bytes.subarray(0, chars) : bytes;
  let text: string;
  try {
    text = UTF8.decode(part);
  } catch {
    // Not UTF-8.
    text = part.toHex();
  }
  return `b'${text}${isCut ? "..." : ""}'`;
}

function strictQuote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  let out = mark;
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (char === mark || char === "\\") out += "\\" + char;
    else if (char === "\n") out += "\\n";
    else if (char === "\r") out += "\\r";
    else if (char === "\t") out += "\\t";
    else if (code < 0x20 || code === 0x7f) out += "\\x" + code.toString(16).padStart(2, "0");
    else if (code < 0x7f || /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(char)) out += char;
    else if (code <= 0xff) out += "\\x" + code.toString(16);
    else if (code <= 0xffff) out += "\\u" + code.toString(16).padStart(4, "0");
    else out += "\\U" + code.toString(16).padStart(8, "0");
  }
  return out + mark;
}

function strictBytes(bytes: Uint8Array): string {
  const hasSingle = bytes.includes(0x27);
  const mark = hasSingle && !bytes.includes(0x22) ? '"' : "'";
  let out = "b" + mark;
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    if (char === mark || char === "\\") out += "\\" + char;
    else if (char === "\n") out += "\\n";
    else if (char === "\r") out += "\\r";
    else if (char === "\t") out += "\\t";
    else if (byte < 0x20 || byte >= 0x7f) out += "\\x" + byte.toString(16).padStart(2, "0");
    else out += char;
  }
  return out + mark;
}
