/**
 * Chance with a seed, and what it does to good input: trees of JSON with odd values in odd places, texts and bytes
 * with parts changed. The same seed gives the same input on every machine.
 */

/** A text that stands in JSON as it is, for numbers and shapes that JavaScript's own values cannot hold. */
class Literal {
  constructor(readonly text: string) {}
}

/** Values that have broken parsers: numbers at the edges, kombu's typed values, names with a meaning of their own. */
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -0,
  -1,
  1.5,
  1e308,
  new Literal("1e400"),
  new Literal("18446744073709551616"),
  new Literal("-9223372036854775809"),
  new Literal("9007199254740993"),
  new Literal("NaN"),
  new Literal("-Infinity"),
  "",
  " ",
  "\u0000",
  "\ud800",
  "\u2028",
  "\u001b[2J",
  "💥",
  "None",
  "__proto__",
  "constructor",
  "2026-02-30T25:61:61",
  "2026-11-30T10:00:00+99:99",
  "9999999999-01-01T00:00:00",
  "P1D",
  "%",
  "../../etc/passwd",
  "a".repeat(5000),
  [],
  {},
  [[]],
  [null],
  { "": null },
  { __proto__: null, then: 1 },
  new Literal('{"__proto__": {"x": 1}}'),
  { __type__: "bytes", __value__: "////" },
  { __type__: "datetime", __value__: "never" },
  { __type__: "decimal", __value__: "1e999999" },
  { __type__: "uuid", __value__: { hex: 7 } },
  { __type__: {}, __value__: [] },
  { __type__: "bytes", bytes: true, __value__: 1 },
  new Literal("[".repeat(300) + "]".repeat(300)),
  new Literal('{"a":'.repeat(300) + "1" + "}".repeat(300)),
];

/** Numbers from a seed (mulberry32). */
export class Chance {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 (inclusive) to 1 (exclusive). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number below `bound`. */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  /** One of a list. */
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** True once in `n`. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }
}

/** A JSON value with one to three places changed, as text; sometimes no JSON any more. */
export function oddJson(chance: Chance, value: unknown): string {
  let tree = structuredClone(value);
  for (let times = 1 + chance.below(3); times > 0; times--) tree = changed(chance, tree);
  const text = written(tree);
  return chance.oneIn(12) ? oddText(chance, text) : text;
}

/** A text with parts removed, doubled, replaced or put in. */
export function oddText(chance: Chance, text: string): string {
  const at = chance.below(text.length + 1);
  const length = chance.below(Math.min(40, text.length - at) + 1);
  const part = text.slice(at, at + length);
  const put = chance.of([
    "",
    part + part,
    "\u0000",
    '"',
    "{",
    "]",
    "\\",
    "é",
    "\udc00",
    "9".repeat(400),
    " ".repeat(400),
  ]);
  return text.slice(0, at) + put + text.slice(at + length);
}

/** Bytes with some changed, removed or doubled. */
export function oddBytes(chance: Chance, bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (let times = 1 + chance.below(4); times > 0 && copy.length > 0; times--) {
    copy[chance.below(copy.length)] = chance.oneIn(3)
      ? chance.of([0, 255, 127, 128, 10, 13, 36, 42])
      : chance.below(256);
  }
  if (!chance.oneIn(4)) return copy;
  const at = chance.below(copy.length + 1);
  const end = Math.min(copy.length, at + chance.below(16));
  return chance.oneIn(2)
    ? concat(copy.subarray(0, at), copy.subarray(end))
    : concat(copy.subarray(0, end), copy.subarray(at));
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

/** The tree with one place changed: another value, a member more or less, a key renamed, a value wrapped. */
function changed(chance: Chance, tree: unknown): unknown {
  if (tree === null || typeof tree !== "object" || tree instanceof Literal || chance.oneIn(8)) {
    return chance.oneIn(6) ? [tree] : chance.of(ODD_VALUES);
  }
  if (Array.isArray(tree)) {
    const copy = [...tree];
    const at = chance.below(copy.length + 1);
    if (at === copy.length || chance.oneIn(5)) copy.splice(at, chance.below(2), chance.of(ODD_VALUES));
    else copy[at] = changed(chance, copy[at]);
    return copy;
  }
  const entries = Object.entries(tree);
  const at = chance.below(entries.length + 1);
  const entry = entries[at];
  if (entry === undefined) {
    entries.push([String(chance.of(["__proto__", "", "x", "eta", "chain"])), chance.of(ODD_VALUES)]);
  } else if (chance.oneIn(6)) entries.splice(at, 1);
  else if (chance.oneIn(8)) entry[0] = chance.of(["__proto__", "toString", "", entry[0].toUpperCase()]);
  else entry[1] = changed(chance, entry[1]);
  // An object literal would take "__proto__" for its prototype.
  return new Literal(
    `{${entries.map(([key, value]) => `${JSON.stringify(key)}: ${written(value)}`).join(", ")}}`,
  );
}

function written(value: unknown): string {
  if (value instanceof Literal) return value.text;
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    return `{${
      Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${written(one)}`).join(", ")
    }}`;
  }
  return JSON.stringify(value) ?? "null";
}
