/**
 * The search language: parses the text that a person types into a tree.
 *
 *   one two              both               name:shop.add  worker:web1  args: kwargs: result: exception:  contains
 *   one AND two          both               state:FAILURE  queue:mail  id:6f1c…  root:6f1c…               equals
 *   one OR two           either             kwargs:tenant=5                                               pair
 *                                           name:=shop.add  worker:=…                                     equals
 *   NOT one, -one        not                runtime:>5s  waited:>1m  retries:>2                            numbers
 *   ( … )  "a phrase"                       received:<1h (younger)  started:>2026-11-30T10:00 (later)      times
 *
 * Source: flower utils/search.py of August 2026 (grammar, limits, texts); NOT and the lower two lines are ours.
 */

/** A field that is searched for a substring. */
export type TextField = "name" | "worker" | "args" | "kwargs" | "result" | "exception";
/** A field that is compared as a whole. */
export type ExactField = "state" | "queue" | "id" | "root" | "parent";
/** A numeric field. */
export type NumberField = "runtime" | "waited" | "retries";
/** A field that is a time. */
export type TimeField = "sent" | "received" | "started" | "ended";

/** A parsed search. */
export type Search =
  | { readonly kind: "all" }
  | { readonly kind: "and" | "or"; readonly parts: readonly Search[] }
  | { readonly kind: "not"; readonly part: Search }
  | { readonly kind: "text"; readonly field: TextField | null; readonly value: string }
  | { readonly kind: "pair"; readonly key: string; readonly value: string }
  | { readonly kind: "exact"; readonly field: ExactField; readonly value: string }
  | { readonly kind: "number"; readonly field: NumberField; readonly above: boolean; readonly value: number }
  /** `after`: later than `at` (seconds since 1970), else earlier. */
  | { readonly kind: "time"; readonly field: TimeField; readonly after: boolean; readonly at: number };

/** The error of a search that cannot be parsed; its message says why and where. */
export class SearchError extends Error {
  override name = "SearchError";
  constructor(message: string, position?: number) {
    super(position === undefined ? `${message}.` : `${message} at position ${position}.`);
  }
}

const CHARS_MAX = 2048;
const TOKENS_MAX = 128;
const DEPTH_MAX = 5;
/** Minimum length of a substring: nearly every text contains a shorter one. */
const PART_CHARS_MIN = 3;

const TEXT_FIELDS: ReadonlySet<string> = new Set(["name", "worker", "args", "kwargs", "result", "exception"]);
const EXACT_FIELDS: ReadonlySet<string> = new Set(["state", "queue", "id", "root", "parent"]);
const NUMBER_FIELDS: ReadonlySet<string> = new Set(["runtime", "waited", "retries"]);
const TIME_FIELDS: ReadonlySet<string> = new Set(["sent", "received", "started", "ended"]);
/** Flower's names of fields. */
const ALIASES: Readonly<Record<string, string>> = { uuid: "id", task: "name" };

/** A text as one phrase of a search, whatever is in it. */
export function phrase(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

interface Token {
  readonly kind: "(" | ")" | "AND" | "OR" | "NOT" | "term" | "end";
  readonly value: string;
  readonly position: number;
}

/**
 * Parses a search; an empty one matches all tasks. `nowSeconds` is the reference of relative times. Throws
 * SearchError.
 */
export function readSearch(text: string, nowSeconds: number): Search {
  const query = text.trim();
  if (query.length > CHARS_MAX) throw new SearchError(`Query exceeds ${CHARS_MAX} characters`);
  return new Reader(tokensOf(query), nowSeconds).read();
}

function tokensOf(query: string): Token[] {
  const tokens: Token[] = [];
  const add = (kind: Token["kind"], value: string, position: number) => {
    tokens.push({ kind, value, position });
    if (tokens.length > TOKENS_MAX) throw new SearchError(`Query exceeds ${TOKENS_MAX} tokens`);
  };
  for (let at = 0; at < query.length;) {
    const letter = query[at]!;
    if (/\s/.test(letter)) {
      at++;
      continue;
    }
    if (letter === "(" || letter === ")") {
      add(letter, letter, at++);
      continue;
    }
    const position = at;
    let value = "", isQuoted = false, isInside = false;
    for (; at < query.length; at++) {
      const one = query[at]!;
      const next = query[at + 1];
      if (one === "\\" && (next === '"' || next === "\\")) {
        value += next;
        at++;
      } else if (one === '"') {
        isQuoted = true;
        isInside = !isInside;
      } else if (!isInside && /[\s()]/.test(one)) break;
      else value += one;
    }
    if (isInside) throw new SearchError("Unterminated quoted phrase", position);
    if (value === "") throw new SearchError("Empty search term", position);
    const isWord = !isQuoted && (value === "AND" || value === "OR" || value === "NOT");
    if (!isQuoted && value.length > 1 && value.startsWith("-")) {
      add("NOT", "-", position);
      value = value.slice(1);
    }
    add(isWord ? value as "AND" : "term", value, position);
  }
  tokens.push({ kind: "end", value: "", position: query.length });
  return tokens;
}

class Reader {
  readonly #tokens: readonly Token[];
  readonly #now: number;
  #at = 0;

  constructor(tokens: readonly Token[], now: number) {
    this.#tokens = tokens;
    this.#now = now;
  }

  read(): Search {
    if (this.#peek().kind === "end") return { kind: "all" };
    const search = this.#either(0);
    if (this.#peek().kind !== "end") {
      throw new SearchError(`Unexpected '${this.#peek().value}'`, this.#peek().position);
    }
    return search;
  }

  #peek(): Token {
    return this.#tokens[this.#at]!;
  }

  #either(depth: number): Search {
    const parts = [this.#both(depth)];
    while (this.#peek().kind === "OR") {
      this.#operator("OR");
      parts.push(this.#both(depth));
    }
    return parts.length === 1 ? parts[0]! : { kind: "or", parts };
  }

  #both(depth: number): Search {
    const parts = [this.#one(depth)];
    while (!["end", ")", "OR"].includes(this.#peek().kind)) {
      if (this.#peek().kind === "AND") this.#operator("AND");
      parts.push(this.#one(depth));
    }
    return parts.length === 1 ? parts[0]! : { kind: "and", parts };
  }

  /** Consumes an operator, which must be followed by a term. */
  #operator(name: "AND" | "OR" | "NOT"): void {
    const { position } = this.#peek();
    this.#at++;
    if (["end", ")", "AND", "OR"].includes(this.#peek().kind)) {
      throw new SearchError(`${name} must be followed by a search term`, position);
    }
  }

  #one(depth: number): Search {
    const token = this.#peek();
    if (token.kind === "NOT") {
      if (depth >= DEPTH_MAX) this.#tooDeep(token);
      this.#operator("NOT");
      return { kind: "not", part: this.#one(depth + 1) };
    }
    if (token.kind === "(") {
      if (depth >= DEPTH_MAX) this.#tooDeep(token);
      this.#at++;
      if (this.#peek().kind === ")") throw new SearchError("Empty group", token.position);
      const search = this.#either(depth + 1);
      if (this.#peek().kind !== ")") throw new SearchError("Missing closing parenthesis", token.position);
      this.#at++;
      return search;
    }
    if (token.kind !== "term") throw new SearchError("Expected a search term", token.position);
    this.#at++;
    return termOf(token, this.#now);
  }

  #tooDeep({ position }: Token): never {
    throw new SearchError(`Query nesting exceeds ${DEPTH_MAX} levels`, position);
  }
}

function termOf({ value: text, position }: Token, now: number): Search {
  const colon = text.indexOf(":");
  const named = colon < 0 ? "" : text.slice(0, colon).toLowerCase();
  const field = ALIASES[named] ?? named;
  const value = text.slice(colon + 1);
  const isField = [TEXT_FIELDS, EXACT_FIELDS, NUMBER_FIELDS, TIME_FIELDS].some((all) => all.has(field));
  if (isField && value.trim() === "") throw new SearchError("Search qualifier requires a value", position);
  if (EXACT_FIELDS.has(field)) return { kind: "exact", field: field as ExactField, value };
  if (NUMBER_FIELDS.has(field)) return numberOf(field as NumberField, value, position);
  if (TIME_FIELDS.has(field)) return timeOf(field as TimeField, { value, position, now });
  const equals = value.indexOf("=");
  if (field === "kwargs" && equals > 0) {
    return { kind: "pair", key: value.slice(0, equals).trim(), value: value.slice(equals + 1).trim() };
  }
  const part = isField ? value : text;
  if (part.trim().length < PART_CHARS_MIN) {
    throw new SearchError(
      `Substring search terms must contain at least ${PART_CHARS_MIN} characters`,
      position,
    );
  }
  return { kind: "text", field: isField ? field as TextField : null, value: part };
}

function numberOf(field: NumberField, text: string, position: number): Search {
  const [, sign, rest] = /^([<>]?)=?(.*)$/.exec(text)!;
  const value = field === "retries" ? Number(rest) : durationOf(rest!) ?? NaN;
  if (rest === "" || !Number.isFinite(value) || value < 0) {
    const example = field === "retries" ? ">2" : ">5s";
    throw new SearchError(`Cannot read '${text}': ${field}: takes a number such as ${example}`, position);
  }
  return { kind: "number", field, above: sign !== "<", value };
}

function timeOf(
  field: TimeField,
  { value: text, position, now }: { value: string; position: number; now: number },
): Search {
  const [, sign, rest] = /^([<>]?)=?(.*)$/.exec(text)!;
  const age = durationOf(rest!, true);
  // A smaller age is a later time.
  if (age !== null) return { kind: "time", field, after: sign !== ">", at: now - age };
  const at = /^\d{4}-\d\d(-\d\d)?/.test(rest!) ? Date.parse(zoned(rest!)) / 1000 : NaN;
  if (!Number.isFinite(at)) {
    throw new SearchError(
      `Cannot read '${text}': ${field}: takes an age such as <1h, or a time such as >2026-11-30T10:00`,
      position,
    );
  }
  return { kind: "time", field, after: sign !== "<", at };
}

/** Adds UTC to a time without a zone, since all times of the API are in UTC. */
function zoned(text: string): string {
  return /T.*(Z|[+-]\d\d:?\d\d)$/.test(text) || !text.includes("T") ? text : `${text}Z`;
}

const UNITS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  m: 60,
  min: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

/**
 * Parses "5s", "1h", "250ms" to seconds; a bare number is seconds, unless a unit is needed. Null: not a
 * duration.
 */
function durationOf(text: string, isUnitNeeded = false): number | null {
  const found = /^(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)?$/i.exec(text.trim());
  if (found === null || isUnitNeeded && found[2] === undefined) return null;
  return Number(found[1]) * UNITS[(found[2] ?? "s").toLowerCase()]!;
}
