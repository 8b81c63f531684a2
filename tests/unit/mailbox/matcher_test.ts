import assert from "node:assert/strict";
import fc from "fast-check";
import { isFor, matches } from "../../../lib/mailbox/mod.ts";
import { cpuMsOf } from "../../support/cpu_time.ts";

Deno.test("isFor: destination, else pattern with matcher, else all nodes", () => {
  const all = { destination: null, pattern: null, matcher: null };
  assert.ok(isFor("w1@a", all));
  assert.ok(isFor("w1@a", { ...all, destination: ["w2@a", "w1@a"] }));
  assert.ok(!isFor("w1@a", { ...all, destination: ["w2@a"], pattern: "*", matcher: "glob" }));
  assert.ok(isFor("w1@a", { ...all, destination: [] }));
  assert.ok(!isFor("w1@a", { ...all, pattern: "x*", matcher: "glob" }));
  // Celery has no default matcher: a pattern alone selects all nodes.
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
    ["feed.*", "feed.a.b", true],
    ["feed.*", "feedXa", false],
    ["a+b(*)", "a+b(c)", true],
    ["x[", "x[", true],
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
  const tookMs = cpuMsOf(() => {
    assert.equal(matches("a".repeat(200), `${"a*".repeat(400)}b`, "glob"), false);
  });
  assert.ok(tookMs < 1000, `${tookMs} ms`);
});

Deno.test("matches: regular expressions are anchored at the start, and read as Python and JavaScript read them", () => {
  const cases: [pattern: string, name: string, expected: boolean][] = [
    ["w\\d", "w1@a", true],
    ["w\\d", "xw1@a", false],
    [".*w\\d", "xw1@a", true],
    ["w\\d$", "w1@a", false],
    ["w(1|2)@a$", "w2@a", true],
    ["(?:w|v){2,3}@", "wvw@a", true],
    ["(?:w|v){2,3}@", "wvwv@a", false],
    ["(?P<kind>w)\\d+?@", "w123@a", true],
    ["[^@]+@[a-c]\\Z", "w1@c", true],
    ["\\bw1\\b", "w1@a", true],
    ["w1\\B", "w1@a", false],
    ["(?i)W1@A", "w1@a", true],
    ["celery@shop\\-1", "celery@shop-1", true],
    ["\\p{L}\\u{31}", "é1", true],
    ["\\p{L}\\x31", "é1", true],
    ["w{1", "w{1", true],
    ["(a*)*b", "aaab", true],
    ["(|a)+b", "aab", true],
    ["", "anything", true],
  ];
  for (const [pattern, name, expected] of cases) {
    assert.equal(matches(name, pattern, "pcre"), expected, `${pattern} on ${name}`);
  }
});

Deno.test("matches: any pattern matches as JavaScript's own matcher does", () => {
  const atom = fc.constantFrom(
    "a",
    "b",
    ".",
    "[ab]",
    "[^a]",
    "\\w",
    "(a|b)",
    "(?:ab)",
    "(?:a*b)",
    "^",
    "$",
    "\\b",
    "(a|)",
  );
  const repeat = fc.constantFrom("", "", "*", "+", "?", "{2}", "{1,2}", "{0,}", "*?");
  const quantified = fc.tuple(atom, repeat).map(([one, how]) => /^[\^$]|^\\b/.test(one) ? one : one + how);
  const pattern = fc.array(fc.oneof(quantified, fc.constant("|")), { maxLength: 6 }).map((parts) =>
    parts.join("")
  );
  fc.assert(
    fc.property(pattern, fc.string({ unit: fc.constantFrom(..."ab@"), maxLength: 8 }), (text, name) => {
      return matches(name, text, "pcre") === new RegExp(`^(?:${text})`, "u").test(name);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("matches: no pattern takes long", () => {
  const name = `celery@${"a".repeat(250)}`;
  const patterns = [
    "((.+))+!",
    "(.+)+!",
    "(.*)*!",
    "(.|.)*!",
    "(.*.*)*!",
    "(a|a|b?)+!",
    ".*".repeat(400) + "!",
    "(".repeat(400) + ".*" + ")*".repeat(400) + "!",
    "((((.{1,9}){1,9}){1,9}){1,9})!",
    "(((){99999}){99999}){99999}!",
    "((?:.?){900})!",
  ];
  for (const pattern of patterns) {
    const tookMs = cpuMsOf(() => {
      try {
        assert.equal(matches(name, pattern, "pcre"), false, pattern);
      } catch (error) {
        assert.ok(error instanceof RangeError, `${pattern}: ${error}`);
      }
    });
    assert.ok(tookMs < 1000, `${pattern}: ${tookMs} ms`);
  }
});

Deno.test("matches: an invalid or refused pattern is an error with the reason", () => {
  const refused: [pattern: string, kind: typeof RangeError | typeof SyntaxError, reason: RegExp][] = [
    ["(", SyntaxError, /not closed/],
    ["a)", SyntaxError, /is closed/],
    ["[a", SyntaxError, /not closed/],
    ["*a", SyntaxError, /nothing to repeat/],
    ["a**", SyntaxError, /is repeated/],
    ["a{3,2}", SyntaxError, /wrong way round/],
    ["a\\", SyntaxError, /backslash/],
    ["[z-a]", SyntaxError, /neither a letter/],
    ["(a)\\1", RangeError, /refer/],
    ["(?=a)", RangeError, /ahead or behind/],
    ["(?<!a)", RangeError, /ahead or behind/],
    ["(.{1000}){1000}", RangeError, /at most 5000 steps/],
    ["x".repeat(1001), RangeError, /at most 1000 characters/],
  ];
  for (const [pattern, kind, reason] of refused) {
    assert.throws(() => matches("w1@a", pattern, "pcre"), (error) => {
      return error instanceof kind && reason.test(error.message);
    }, pattern);
  }
  assert.throws(() => matches("w1@a", "x".repeat(1001), "glob"), RangeError);
});
