import assert from "node:assert/strict";
import { readSearch, SearchError } from "../../../lib/console/history/search.ts";

const NOW = 1_800_000_000;
const read = (text: string) => readSearch(text, NOW);

Deno.test("search: words, phrases, fields and their operators", () => {
  assert.deepEqual(read("  "), { kind: "all" });
  assert.deepEqual(read("shop"), { kind: "text", field: null, value: "shop" });
  assert.deepEqual(read("shop mail"), read("shop AND mail"));
  assert.deepEqual(read("name:shop.add"), { kind: "text", field: "name", value: "shop.add" });
  assert.deepEqual(read('args:"a b"'), { kind: "text", field: "args", value: "a b" });
  assert.deepEqual(read("STATE:failure"), { kind: "exact", field: "state", value: "failure" });
  assert.deepEqual(read("uuid:6f1c"), { kind: "exact", field: "id", value: "6f1c" });
  assert.deepEqual(read("kwargs:tenant=5"), { kind: "pair", key: "tenant", value: "5" });
  assert.deepEqual(read("kwargs:tenant"), { kind: "text", field: "kwargs", value: "tenant" });
  assert.deepEqual(read("one1 OR two2 AND (three OR -four)"), {
    kind: "or",
    parts: [
      { kind: "text", field: null, value: "one1" },
      {
        kind: "and",
        parts: [
          { kind: "text", field: null, value: "two2" },
          {
            kind: "or",
            parts: [
              { kind: "text", field: null, value: "three" },
              { kind: "not", part: { kind: "text", field: null, value: "four" } },
            ],
          },
        ],
      },
    ],
  });
  assert.deepEqual(read('"OR"x NOT state:A'), {
    kind: "and",
    parts: [{ kind: "text", field: null, value: "ORx" }, {
      kind: "not",
      part: { kind: "exact", field: "state", value: "A" },
    }],
  });
});

Deno.test("search: figures and times, relative and absolute", () => {
  assert.deepEqual(read("runtime:>5s"), { kind: "number", field: "runtime", above: true, value: 5 });
  assert.deepEqual(read("waited:<250ms"), { kind: "number", field: "waited", above: false, value: 0.25 });
  assert.deepEqual(read("retries:>2"), { kind: "number", field: "retries", above: true, value: 2 });
  // An age below an hour is a moment after an hour ago.
  assert.deepEqual(read("received:<1h"), { kind: "time", field: "received", after: true, at: NOW - 3600 });
  assert.deepEqual(read("started:>2d"), { kind: "time", field: "started", after: false, at: NOW - 172_800 });
  const at = Date.UTC(2026, 10, 30, 10) / 1000;
  assert.deepEqual(read("ended:>2026-11-30T10:00"), { kind: "time", field: "ended", after: true, at });
  assert.deepEqual(read("ended:<2026-11-30T11:00+01:00"), { kind: "time", field: "ended", after: false, at });
});

Deno.test("search: what cannot be read is told with its place, in Flower's words", () => {
  const wrong: [string, string][] = [
    ["(", "Expected a search term at position 1."],
    ["()", "Empty group at position 0."],
    ["(abc", "Missing closing parenthesis at position 0."],
    ["abc)", "Unexpected ')' at position 3."],
    ["abc AND", "AND must be followed by a search term at position 4."],
    ["OR abc", "Expected a search term at position 0."],
    ['"abc', "Unterminated quoted phrase at position 0."],
    ["ab", "Substring search terms must contain at least 3 characters at position 0."],
    ["name:", "Search qualifier requires a value at position 0."],
    ["((((((abc))))))", "Query nesting exceeds 5 levels at position 5."],
    ["x".repeat(3000), "Query exceeds 2048 characters."],
    ["runtime:fast", "Cannot read 'fast': runtime: takes a number such as >5s at position 0."],
  ];
  for (const [text, message] of wrong) {
    assert.throws(
      () => read(text),
      (error: Error) => error instanceof SearchError && error.message === message,
      text,
    );
  }
});
