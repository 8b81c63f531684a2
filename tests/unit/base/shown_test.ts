import assert from "node:assert/strict";
import fc from "fast-check";
import { errorText, shown, shownLine, withoutStyles } from "../../../lib/base/mod.ts";

Deno.test("shown: what drives a terminal is escaped, ordinary text of every script stays", () => {
  const cases: [string, string][] = [
    ["\x1b[2J\x07", "\\x1b[2J\\x07"],
    ["a\x00b\x08c", "a\\x00b\\x08c"],
    ["\x7f\x9b2J\x85", "\\u007f\\u009b2J\\u0085"],
    ["a\u202eb\u2066c\u200fd\u061ce", "a\\u202eb\\u2066c\\u200fd\\u061ce"],
    ["a\u2028b\u2029c", "a\\u2028b\\u2029c"],
    ["over\rwritten", "over\\rwritten"],
    ["kept\r\nand\n\ttabs", "kept\r\nand\n\ttabs"],
    ["Grüße, 日本語, العربية, 👩‍👩‍👧, e\u0301", "Grüße, 日本語, العربية, 👩‍👩‍👧, e\u0301"],
  ];
  for (const [text, expected] of cases) assert.equal(shown(text), expected);
});

Deno.test("shownLine: no line end and no tab gets through, and a length is kept", () => {
  assert.equal(shownLine("a\nb\r\nc\td"), "a\\nb\\r\\nc\\td");
  assert.equal(shownLine("abcdef", 4), "abc…");
  assert.equal(shownLine("abcd", 4), "abcd");
});

Deno.test("shown: JSON stays the same JSON, whatever is in it", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const line = shown(JSON.stringify({ text }));
    assert.deepEqual(JSON.parse(line), { text });
    // deno-lint-ignore no-control-regex -- control characters are what must not be there
    assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/);
  }));
});

Deno.test("errorText: an error of several addresses has the text of the first", () => {
  const refused = [new Error("connect ECONNREFUSED ::1:1"), new Error("connect ECONNREFUSED 127.0.0.1:1")];
  assert.equal(errorText(new AggregateError(refused)), "connect ECONNREFUSED ::1:1");
  assert.equal(errorText(new AggregateError(refused, "two failed")), "two failed");
});

Deno.test("errorText: the runtime's colours are taken out", () => {
  const error = new TypeError('Import "\x1b[36mnope\x1b[39m" not a dependency');
  assert.equal(errorText(error), 'Import "nope" not a dependency');
  assert.equal(withoutStyles("\x1b[0m\x1b[1mbold\x1b[0m\x1b[2J"), "bold\x1b[2J");
});
