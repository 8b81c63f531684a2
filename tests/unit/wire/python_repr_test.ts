import assert from "node:assert/strict";
import {
  argsRepr,
  kwargsRepr,
  pythonFloat,
  pythonRepr,
  pythonText,
  strictRepr,
} from "../../../lib/wire/mod.ts";
import { golden } from "./golden.ts";

const tuple = { tuple: true } as const;
const alphabet = Array.from({ length: 400 }, (_, n) => n);
/** The captured labels whose value JavaScript can tell as Python does (a whole float is an int here). */
const VALUES: Record<string, { value: unknown; tuple?: boolean }> = {
  "(2, 3)": { value: [2, 3], tuple: true },
  "(1,)": { value: [1], tuple: true },
  "()": { value: [], tuple: true },
  "[]": { value: [] },
  "{}": { value: {} },
  "str": { value: ["it's", 'say "x"', "bo'th\""], tuple: true },
  "unicode": { value: ["Zoë", "\n\t\\", "\x00\x7f", "😀"], tuple: true },
  "bytes": { value: [new Uint8Array([0x61, 0x62, 0xff])], tuple: true },
  "set": { value: new Set([1]) },
  "empty set": { value: new Set() },
  "bigint": { value: 1180591620717411303424n },
  "deep": { value: [[[[[1]]]]] },
  "datetime": { value: new Date("2020-01-02T03:04:05Z") },
};

Deno.test("pythonRepr prints what Celery prints, by the captured pairs", () => {
  let compared = 0;
  for (const message of golden("saferepr-5.6.3")) {
    const known = VALUES[message["label"] as string];
    if (!known) continue;
    const text = pythonRepr(known.value, { tuple: known.tuple ?? false });
    assert.equal(text, message["saferepr_maxlen_1024"], message["label"] as string);
    compared++;
  }
  assert.equal(compared, Object.keys(VALUES).length);
});

Deno.test("pythonRepr cuts long values where Celery cuts them", () => {
  const by = new Map(golden("saferepr-5.6.3").map((message) => [message["label"], message]));
  const list = by.get("long list")!;
  assert.equal(pythonRepr(alphabet, { maxChars: 46 }), list["saferepr_maxlen_46"]);
  assert.equal(pythonRepr(alphabet), list["saferepr_maxlen_1024"]);
  const text = by.get("long str")!;
  assert.equal(pythonRepr("x".repeat(5000)), text["saferepr_maxlen_1024"]);
  assert.equal(pythonRepr("x".repeat(5000), { maxChars: 46 }), text["saferepr_maxlen_46"]);
  const strings = by.get("many strings")!;
  assert.equal(pythonRepr(Array(500).fill("abc"), { maxChars: 46 }), strings["saferepr_maxlen_46"]);
  assert.equal(pythonRepr(Array(500).fill("abc")), strings["saferepr_maxlen_1024"]);
});

Deno.test("pythonRepr cuts at a space, never inside a surrogate pair, and closes what it opened", () => {
  assert.equal(pythonRepr("hello world foo", { maxChars: 10 }), "'hello...'");
  assert.ok(pythonRepr("ab😀", { maxChars: 3 }).isWellFormed());
  assert.equal(pythonRepr(["a".repeat(15), {}], { maxChars: 20 }), `['${"a".repeat(15)}', , ...}]`);
});

Deno.test("pythonRepr survives cycles, depth and objects with a JSON form", () => {
  const loop: unknown[] = [1];
  loop.push(loop);
  assert.equal(pythonRepr(loop), "[1, <Recursion>]");
  let deep: unknown = 1;
  for (let n = 0; n < 100_000; n++) deep = [deep];
  assert.equal(pythonRepr(deep), "[[[[...]]]]");
  assert.equal(pythonRepr({ toJSON: () => ({ task: "t.add" }) }), "{'task': 't.add'}");
  assert.match(pythonRepr({ toJSON: () => assert.fail("no form") }), /^\{/);
  assert.equal(pythonRepr([() => 1, undefined, Symbol("s")], { maxChars: 100 }).split(", ").at(1), "None");
});

Deno.test("a value that throws when it is read prints as Celery's word for that", () => {
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const getter = {
    get a(): never {
      throw new Error("no");
    },
  };
  for (const value of [revoked.proxy, [revoked.proxy], getter, { b: getter }]) {
    assert.equal(pythonRepr(value), "<Unrepresentable>");
    assert.equal(strictRepr(value), "<Unrepresentable>");
    assert.equal(argsRepr([value]), "<Unrepresentable>");
  }
});

Deno.test("argsRepr and kwargsRepr equal the long way for what takes the short one", () => {
  for (const args of [[], [1], [1, 2], ["it's"], [1.5, -0, 1e-7], [[1]], [null, true], ["x".repeat(2000)]]) {
    assert.equal(argsRepr(args), pythonRepr(args, tuple));
  }
  assert.equal(argsRepr(alphabet), pythonRepr(alphabet, tuple));
  assert.equal(kwargsRepr({}), "{}");
  assert.equal(kwargsRepr({ a: 1, b: "x" }), "{'a': 1, 'b': 'x'}");
});

Deno.test("numbers print as Python prints them", () => {
  const pairs: [number, string][] = [
    [1, "1"],
    [1.5, "1.5"],
    [-0, "-0.0"],
    [1e16, "10000000000000000"],
    [0.0001, "0.0001"],
    [0.00001, "1e-05"],
    [1.25e-7, "1.25e-07"],
    [1.5e-10, "1.5e-10"],
    [Infinity, "inf"],
    [-Infinity, "-inf"],
    [NaN, "nan"],
  ];
  for (const [value, text] of pairs) assert.equal(pythonRepr(value), text);
});

Deno.test("strictRepr is Python's repr", () => {
  assert.equal(strictRepr("it's"), `"it's"`);
  assert.equal(strictRepr(`bo'th"`), `'bo\\'th"'`);
  assert.equal(
    strictRepr("\n\t\\\x00\x7f\u00a0é😀\u200b\ud800"),
    "'\\n\\t\\\\\\x00\\x7f\\xa0é😀\\u200b\\ud800'",
  );
  assert.equal(strictRepr(new Uint8Array([0x61, 0x27, 0xff])), `b"a'\\xff"`);
  assert.equal(strictRepr([1, { a: [null, true] }]), "[1, {'a': [None, True]}]");
  assert.equal(pythonText("plain"), "plain");
  assert.equal(pythonText(["a"]), "['a']");
});

Deno.test("pythonFloat: as Python's repr writes floats", () => {
  const cases: [number, string][] = [
    [0.005611812000097416, "0.005611812000097416"],
    [3, "3.0"],
    [0, "0.0"],
    [-0, "-0.0"],
    [0.0001, "0.0001"],
    [0.00001, "1e-05"],
    [1.5e-7, "1.5e-07"],
    [1e16, "1e+16"],
    [123456789012345680, "1.2345678901234568e+17"],
    [1e100, "1e+100"],
    [-2.5, "-2.5"],
    [Infinity, "inf"],
    [NaN, "nan"],
  ];
  for (const [value, text] of cases) assert.equal(pythonFloat(value), text);
});
