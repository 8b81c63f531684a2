/** Values for people: any value at all gives one line of JSON, and nothing throws. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { fromTypedJson, rawJson, shownJson, toJson } from "../../../../lib/wire/mod.ts";

Deno.test("shownJson keeps every value that the wire brings", () => {
  const shown: [unknown, string][] = [
    [12345678901234567890n, "12345678901234567890"],
    [{ id: 2n ** 63n }, '{"id":9223372036854775808}'],
    [[NaN, Infinity, -Infinity, -0], "[NaN,Infinity,-Infinity,-0.0]"],
    [new Uint8Array([1, 2, 255]), '{"__type__":"base64","__value__":"AQL/"}'],
    [new TextEncoder().encode("abc"), '{"__type__":"bytes","__value__":"abc"}'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    [new Date(NaN), "null"],
    [Temporal.PlainDate.from("2026-01-02"), '"2026-01-02"'],
    [new Set([1, 2n]), "[1,2]"],
    [new Map<unknown, unknown>([["a", 1], [2, "b"]]), '{"a":1,"2":"b"}'],
    [new TypeError("no"), '"TypeError: no"'],
    [/a+/g, '"/a+/g"'],
    [undefined, "null"],
    [{ a: undefined, b: null, c: [undefined] }, '{"b":null,"c":[null]}'],
    [function named() {}, '"<function named>"'],
    [Symbol("s"), '"<Symbol(s)>"'],
    [rawJson("2.0"), "2.0"],
    [{ ["__proto__"]: 1 }, '{"__proto__":1}'],
    ["a\ud800", '"a\\ud800"'],
  ];
  for (const [value, text] of shown) assert.equal(shownJson(value), text);
});

Deno.test("shownJson: what cannot be read, or holds itself, is named and never thrown", () => {
  const loop: Record<string, unknown> = { a: 1 };
  loop["self"] = [loop];
  assert.equal(shownJson(loop), '{"a":1,"self":["<Recursion>"]}');
  const getter = Object.defineProperty({}, "x", {
    enumerable: true,
    get() {
      throw new Error("closed");
    },
  });
  assert.equal(shownJson([getter]), '["<Object: cannot be read: closed>"]');
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  assert.match(shownJson([revoked.proxy]), /^\["<object: cannot be read: /);
  class Odd {
    static get name(): string {
      throw new Error("no");
    }
  }
  assert.equal(shownJson(Odd), '"<function anonymous>"');
  const error = Object.defineProperty(new Error(), "message", {
    get() {
      throw new Error("no");
    },
  });
  assert.match(shownJson(error), /cannot be read/);
  let deep: unknown = 1;
  for (let n = 0; n < 100_000; n++) deep = [deep];
  assert.match(shownJson(deep), /^\[+"\.\.\."\]+$/);
});

Deno.test("shownJson: what holds the same thing a million times ends at the limit", () => {
  let shared: unknown = "x";
  for (let n = 0; n < 60; n++) shared = [shared, shared];
  assert.ok(shownJson(shared, { charsMax: 10_000 }).length < 100_000);
  assert.equal(shownJson("y".repeat(100), { charsMax: 10 }), `"${"y".repeat(10)}..."`);
  assert.ok(shownJson(Array(1e6).fill(1), { charsMax: 100 }).length < 300);
});

Deno.test("shownJson is one line without control characters, and JSON of the same value", () => {
  assert.equal(shownJson("\u001b\n\u007f\u009b\u2028"), '"\\u001b\\n\\u007f\\u009b\\u2028"');
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = shownJson(value);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(text, /[\0-\x1f\x7f-\x9f\u2028\u2029]/);
    assert.equal(JSON.stringify(JSON.parse(text)), JSON.stringify(value));
  }));
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true }), (value) => {
      shownJson(value);
    }),
  );
});

Deno.test("shownJson as Python lays it out", () => {
  assert.equal(
    shownJson({ b: [1, "é"], a: {} }, { isSpaced: true, isAscii: true }),
    '{"b": [1, "\\u00e9"], "a": {}}',
  );
  assert.equal(
    shownJson({ b: [1, []], a: { c: 2n } }, { indent: 4, isAscii: true }),
    '{\n    "a": {\n        "c": 2\n    },\n    "b": [\n        1,\n        []\n    ]\n}',
  );
});

Deno.test("toJson and fromTypedJson carry every value between our own processes", () => {
  const value = {
    big: 2n ** 64n,
    at: new Date(5),
    bytes: new Uint8Array([0, 255]),
    list: [NaN, Infinity],
    // Only looks like a typed value: what a task made by itself stays what it is.
    odd: { __type__: "nonsense", __value__: 1 },
  };
  assert.deepEqual(fromTypedJson(toJson(value)), value);
});

Deno.test("a number in a form of its own is written as it is, alone and beside what JSON has no form for", () => {
  assert.equal(toJson([rawJson("2.0"), { x: rawJson("-0.0") }]), '[2.0,{"x":-0.0}]');
  assert.equal(toJson([rawJson("1e16"), 2n ** 64n]), "[1e16,18446744073709551616]");
});
