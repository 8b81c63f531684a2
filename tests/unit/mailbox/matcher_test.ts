import assert from "node:assert/strict";
import fc from "fast-check";
import { isFor, matches } from "../../../lib/mailbox/mod.ts";

Deno.test("isFor: destination, else pattern with matcher, else everybody", () => {
  const all = { destination: null, pattern: null, matcher: null };
  assert.ok(isFor("w1@a", all));
  assert.ok(isFor("w1@a", { ...all, destination: ["w2@a", "w1@a"] }));
  assert.ok(!isFor("w1@a", { ...all, destination: ["w2@a"], pattern: "*", matcher: "glob" }));
  assert.ok(isFor("w1@a", { ...all, destination: [] }));
  assert.ok(!isFor("w1@a", { ...all, pattern: "x*", matcher: "glob" }));
  // Celery has no default matcher: a pattern alone selects everybody.
  assert.ok(isFor("w1@a", { ...all, pattern: "x*" }));
});

Deno.test("matches: shell style on the whole name, as Python's fnmatch", () => {
  const cases: [pattern: string, name: string, expected: boolean][] = [
    ["w*@a", "w17@a", true],
    ["w*", "aw1", false],
    ["*@b", "w1@a", false],
    ["w?@a", "w1@a", true],
    ["w?@a", "w12@a", false],
    ["w[1-3]@a", "w2@a", true],
    ["w[!1-3]@a", "w2@a", false],
    ["w[!1-3]@a", "w4@a", true],
    ["w[]]@a", "w]@a", true],
    ["w[1@a", "w[1@a", true],
    ["*a*b*", "xxaxxbxx", true],
    ["*a*b*", "xxbxxaxx", false],
    ["W1@a", "w1@a", false],
    ["w.1@a", "wx1@a", false],
    ["", "", true],
    ["**", "x", true],
  ];
  for (const [pattern, name, expected] of cases) {
    assert.equal(matches(name, pattern, "glob"), expected, `${pattern} on ${name}`);
  }
});

Deno.test("matches: a name matches itself and its own beginning with a star, and no pattern takes long", () => {
  const name = fc.string({ unit: fc.constantFrom(..."abc@.-1") });
  fc.assert(fc.property(name, fc.nat(8), (text, cut) => {
    return matches(text, text, "glob") && matches(text, `${text.slice(0, cut)}*`, "glob");
  }));
  const begin = performance.now();
  assert.equal(matches("a".repeat(200), `${"a*".repeat(400)}b`, "glob"), false);
  assert.ok(performance.now() - begin < 1000);
});

Deno.test("matches: regular expressions are anchored at the start; hostile ones are refused", () => {
  assert.ok(matches("w1@a", "w\\d", "pcre"));
  assert.ok(!matches("xw1@a", "w\\d", "pcre"));
  assert.throws(() => matches("w1@a", "(", "pcre"), SyntaxError);
  assert.throws(() => matches("w1@a", "(a+)+$", "pcre"), RangeError);
  assert.throws(() => matches("w1@a", "x".repeat(1001), "glob"), RangeError);
});
