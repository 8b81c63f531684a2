import assert from "node:assert/strict";
import fc from "fast-check";
import {
  DecodeError,
  EncodeError,
  fromCarriedJson,
  fromCarriedJsonList,
  fromExactJson,
  fromJson,
  fromPlainJson,
  headersToJson,
  JSON_DEPTH_MAX,
  loadSerializer,
  pythonRepr,
  rawJson,
  serialize,
  strictRepr,
  toJson,
} from "../../../../lib/wire/mod.ts";
import { golden } from "../golden.ts";
import { cpuMsOf } from "../../../support/cpu_time.ts";

const bySample = new Map(
  golden("serializers-5.6.3").filter((one) => one["serializer"] === "json").map((
    one,
  ) => [one["sample"], one]),
);
const captured = (sample: string): string => bySample.get(sample)!["body"] as string;

Deno.test("typed values of kombu 5.3 and later are read as what they stand for", () => {
  const read = (sample: string): unknown => fromJson(captured(sample));
  assert.deepEqual(read("datetime utc"), new Date("2037-03-04T05:06:07.890Z"));
  assert.deepEqual(read("datetime naive"), new Date("2037-03-04T05:06:07Z"));
  assert.deepEqual(read("datetime +02:00"), new Date("2037-03-04T03:06:07Z"));
  assert.equal(String(read("date")), "2037-03-04");
  assert.equal(String(read("time")), "05:06:07");
  assert.equal(read("uuid"), "00000000-0000-0000-0000-000000000005");
  assert.equal(read("decimal"), "1.50");
  assert.deepEqual(read("bytes text"), new TextEncoder().encode("abc"));
  assert.deepEqual(read("bytes binary"), new Uint8Array([0xff, 0]));
  assert.deepEqual(read("floats"), [1, 1.5, 1e100, 1e-7, Infinity, -Infinity, NaN]);
  assert.equal(read("big int"), 1180591620717411303424n);
});

Deno.test("typed values are written as kombu 5.3 writes them", () => {
  const write = (value: unknown): unknown => fromPlainJson(toJson(value));
  const kombu = (sample: string): unknown => fromPlainJson(captured(sample));
  assert.deepEqual(write(new Date("2037-03-04T05:06:07.890Z")), kombu("datetime utc"));
  assert.deepEqual(write(Temporal.PlainDate.from("2037-03-04")), kombu("date"));
  assert.deepEqual(write(Temporal.PlainTime.from("05:06:07")), kombu("time"));
  assert.deepEqual(write(new TextEncoder().encode("abc")), kombu("bytes text"));
  assert.deepEqual(write(new Uint8Array([0xff, 0])), kombu("bytes binary"));
  assert.equal(toJson(1180591620717411303424n), captured("big int"));
  assert.equal(toJson([NaN, Infinity, -Infinity]), "[NaN,Infinity,-Infinity]");
});

Deno.test("headersToJson: writes what toJson writes, whatever the headers hold", () => {
  const odd: unknown[] = [
    ...[
      "",
      'a "quote"',
      "back\\slash",
      "line\n",
      "\u007f\u2028",
      "h\u00e1\u010dek",
      "\ud800",
      "long ".repeat(50),
    ],
    ...[-0, 1e21, 1e-7, NaN, -Infinity, 2n ** 70n, undefined, null, true, rawJson("2.0")],
    ...[
      new Date(0),
      new Uint8Array([1]),
      {},
      [],
      Object.create(null),
      { toJSON: () => "own" },
      new Number(3),
    ],
    ...[[null, [1, [2, [3, [4, [5]]]]]], { a: { b: { c: { d: { e: 1 } } } } }, { "a key": { "": "x" } }],
  ];
  for (const value of odd) {
    assert.equal(headersToJson({ before: 1, value, after: "x" }), toJson({ before: 1, value, after: "x" }));
  }
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (headers) => {
    assert.equal(headersToJson(headers as Record<string, unknown>), toJson(headers));
  }));
  assert.throws(() => headersToJson({ value: () => 1 }), { message: 'Cannot encode "value": a function' });
  assert.throws(() => headersToJson({ value: Math }), { name: "EncodeError" });
});

Deno.test("only objects with exactly the two keys are typed values; an unknown type is refused", () => {
  const other = { "__type__": "datetime", "__value__": "x", more: 1 };
  assert.deepEqual(fromJson(JSON.stringify(other)), other);
  assert.deepEqual(fromJson('{"__type__":"date"}'), { "__type__": "date" });
  assert.throws(() => fromJson('[{"__type__":"secret","__value__":1}]'), {
    name: "DecodeError",
    message: 'Cannot decode JSON: unsupported type "secret" in "__type__"',
  });
  assert.throws(() => fromJson('{"__type__":"datetime","__value__":"soon"}'), DecodeError);
  assert.throws(() => fromJson('{"__type__":"base64","__value__":"%"}'), DecodeError);
  assert.throws(() => fromJson('{"__type__":"uuid","__value__":{"hex":"1"}}'), DecodeError);
  const nested = fromJson('{"a":[{"__value__":"2001-02-03T04:05:06","__type__":"datetime"}]}');
  assert.deepEqual(nested, { a: [new Date("2001-02-03T04:05:06Z")] });
  assert.deepEqual(fromJson('{"\\u005f_type__":"decimal","\\u005f\\u005fvalue__":"1"}'), "1");
});

Deno.test("text that is passed on keeps typed objects, but no integer loses digits", () => {
  const text =
    '{"a":{"__type__":"datetime","__value__":"2001-02-03T04:05:06.123456"},"n":12345678901234567890}';
  assert.equal(toJson(fromPlainJson(text)), text);
});

Deno.test("integers beyond 2^53 survive both ways, smaller ones and floats stay numbers", () => {
  fc.assert(fc.property(fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }), (value) => {
    const back = fromJson(toJson({ v: [value] })) as { v: unknown[] };
    const expected = Number.isSafeInteger(Number(value)) ? Number(value) : value;
    assert.equal(back.v[0], expected);
  }));
  assert.equal(fromJson("9007199254740991"), 9007199254740991);
  assert.equal(fromJson("9007199254740993"), 9007199254740993n);
  assert.equal(fromJson("1763821574.1234567890123456"), 1763821574.1234567890123456);
  assert.equal(fromJson('"12345678901234567890"'), "12345678901234567890");
  assert.deepEqual(fromJson("[1,  12345678901234567890]"), [1, 12345678901234567890n]);
});

Deno.test("decode after encode gives the value back", () => {
  const value = fc.jsonValue({ depthSize: "medium" });
  fc.assert(fc.property(value, (given) => {
    const text = toJson(given);
    assert.equal(text, JSON.stringify(given));
    // Compared as text: beyond 2^53 a whole number comes back as bigint.
    assert.equal(toJson(fromJson(text)), text);
  }));
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => assert.deepEqual(fromJson(toJson({ bytes })), { bytes })),
  );
  fc.assert(fc.property(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(2e14) }), (date) => {
    assert.deepEqual(fromJson(toJson([date])), [date]);
  }));
});

Deno.test("a list of texts is read as each of them by itself", () => {
  const texts = [
    '{"a":1}',
    "NaN",
    "12345678901234567890",
    '{"__type__":"datetime","__value__":"2001-02-03T04:05:06"}',
    "[" + "0,".repeat(2000) + "0]",
  ];
  fc.assert(fc.property(fc.array(fc.oneof(fc.json(), fc.constantFrom(...texts))), (some) => {
    assert.deepEqual(fromCarriedJsonList(some), some.map(fromCarriedJson));
  }));
  // What is JSON only together is none.
  for (const broken of [["1", "["], ["1],[2"], ["1,2"], ["", "1"]]) {
    assert.throws(() => fromCarriedJsonList(broken), DecodeError, broken.join(" | "));
  }
  assert.throws(() => fromCarriedJsonList(["1", "[".repeat(1001) + "]".repeat(1001)]), /nested deeper/);
});

Deno.test("NaN and infinities are read outside of texts only", () => {
  assert.deepEqual(fromJson('{"NaN":NaN,"a":"-Infinity \\" NaN","b":-Infinity}'), {
    NaN: NaN,
    a: '-Infinity " NaN',
    b: -Infinity,
  });
  assert.throws(() => fromJson("NaNa"), DecodeError);
  assert.throws(() => fromJson("[Infinity"), DecodeError);
});

Deno.test("undefined is null, and toJSON is obeyed", () => {
  assert.equal(toJson(undefined), "null");
  assert.equal(toJson({ a: undefined, b: [undefined] }), '{"a":null,"b":[null]}');
  assert.equal(toJson(Array(2)), "[null,null]");
  assert.equal(toJson({ s: { toJSON: () => ({ at: new Date(0) }) } }).includes("datetime"), true);
  class Point {
    x = 1;
    #hidden = 2;
    sum(): number {
      return this.x + this.#hidden;
    }
  }
  assert.equal(toJson([new Point()]), '[{"x":1}]');
  assert.equal(toJson(Object.create(null)), "{}");
});

Deno.test("what JSON cannot carry is refused with its place", () => {
  const loop: Record<string, unknown> = { a: 1 };
  loop["self"] = { again: loop };
  const refusals: [unknown, string][] = [
    [{ args: [1, { callback: () => 1 }] }, 'Cannot encode "args[1].callback": a function'],
    [[Symbol("x")], 'Cannot encode "[0]": a symbol'],
    [loop, 'Cannot encode "self.again": it contains itself'],
    [{ m: new Map() }, 'Cannot encode "m": a Map (use a plain object)'],
    [{ s: new Set() }, 'Cannot encode "s": a Set (use an array)'],
    [new Error("x"), "Cannot encode value: an error (Error)"],
    [[Promise.resolve(1)], 'Cannot encode "[0]": a Promise (await it)'],
    [[new Date(NaN)], 'Cannot encode "[0]": an invalid Date'],
    [[new Date(8.64e15)], 'Cannot encode "[0]": a Date outside of the years 1 to 9999'],
    [Temporal.PlainDate.from("+010000-01-01"), "Cannot encode value: a date outside of the years 1 to 9999"],
    [Temporal.PlainDate.from("0000-12-31"), "Cannot encode value: a date outside of the years 1 to 9999"],
    [[new Float64Array(1)], 'Cannot encode "[0]": Float64Array (use Uint8Array)'],
  ];
  for (const [value, message] of refusals) {
    assert.throws(() => toJson(value), { name: "EncodeError", message });
  }
  const shared = { a: 1 };
  assert.equal(toJson([shared, shared, undefined]), '[{"a":1},{"a":1},null]');
});

Deno.test("an object of which nothing would be left is refused by name, in every serializer", async () => {
  class Hollow {
    #secret = 1;
    get secret(): number {
      return this.#secret;
    }
  }
  function* few(): Generator<number> {
    yield 1;
  }
  async function* late(): AsyncGenerator<number> {
    yield 1;
  }
  const values: [unknown, string][] = [
    [new Response("x"), "a Response (await its json() or text())"],
    [new Request("http://h"), "a Request (await its json() or text())"],
    [new Blob(["abc"]), "a Blob (await its bytes())"],
    [new File(["abc"], "f"), "a File (await its bytes())"],
    [new URLSearchParams("a=1"), "a URLSearchParams (use Object.fromEntries)"],
    [new Headers({ a: "1" }), "a Headers (use Object.fromEntries)"],
    [new FormData(), "a FormData (use Object.fromEntries)"],
    [few(), "a Generator (use an array)"],
    [late(), "an AsyncGenerator (use an array)"],
    [[1].values(), "an Array Iterator (use an array)"],
    [new Map([[1, 2]]).keys(), "a Map Iterator (use an array)"],
    [few().map((x) => x), "an Iterator Helper (use an array)"],
    [new Map([[1, 2]]), "a Map (use a plain object)"],
    [new Set([1]), "a Set (use an array)"],
    [new WeakMap(), "a WeakMap (it has no JSON form)"],
    [new ReadableStream(), "a ReadableStream (it has no JSON form)"],
    [new AbortController().signal, "an AbortSignal (it has no JSON form)"],
    [Object.assign(new EventTarget(), { a: 1 }), "an EventTarget (it has no JSON form)"],
    [new Intl.Collator(), "an Intl.Collator (it has no JSON form)"],
    [Math, "a Math (it has no JSON form)"],
    [Object(Symbol("s")), "a Symbol (it has no JSON form)"],
    [new Hollow(), "an instance of Hollow that has no enumerable fields and no toJSON()"],
    [new Proxy(new Hollow(), {}), "an instance of Hollow that has no enumerable fields and no toJSON()"],
  ];
  for (const name of ["yaml", "msgpack", "cbor"]) await loadSerializer(name);
  for (const [value, what] of values) {
    assert.throws(() => toJson(value), { name: "EncodeError", message: `Cannot encode value: ${what}` });
    const message = `Cannot encode "a[1]": ${what}`;
    assert.throws(() => toJson({ a: [1, value] }), { name: "EncodeError", message });
    for (const name of ["yaml", "msgpack", "cbor"]) {
      if (value instanceof Set && name !== "msgpack") continue; // YAML and CBOR have sets
      assert.throws(() => serialize({ a: [1, value] }, name), { name: "EncodeError" }, `${what} in ${name}`);
    }
  }
});

Deno.test("what has fields or a form of its own keeps it", () => {
  class Row {
    id = 1;
    #hidden = 2;
    get hidden(): number {
      return this.#hidden;
    }
  }
  class Money {
    #cents = 5;
    toJSON(): unknown {
      return { cents: this.#cents };
    }
  }
  const url = new URL("https://example.org/a");
  const span = Temporal.Duration.from({ hours: 1 });
  assert.equal(toJson({}), "{}");
  assert.equal(toJson([{}, { a: {} }]), '[{},{"a":{}}]');
  assert.equal(
    toJson([new Row(), new Money(), url, span]),
    '[{"id":1},{"cents":5},"https://example.org/a","PT1H"]',
  );
  assert.equal(
    toJson([Object(1), Object("s"), Object(false), Object(2n ** 70n)]),
    `[1,"s",false,${2n ** 70n}]`,
  );
  assert.equal(toJson(Object.assign(Object.create({ inherited: 1 }), { own: 2 })), '{"own":2}');
});

Deno.test("text that is no JSON is refused in time that grows with its length only", () => {
  const texts = [
    'NaN"' + '\\"'.repeat(1_000_000),
    "NaN" + '"'.repeat(1_000_001),
    "Infinity".repeat(200_000) + '"',
    "-".repeat(1_000_000) + "Infinity",
    "[NaN," + "1,".repeat(1_000_000),
  ];
  for (const text of texts) {
    const tookMs = cpuMsOf(() => assert.throws(() => fromJson(text), DecodeError));
    assert.ok(tookMs < 1000, `${text.slice(0, 20)}: ${tookMs} ms`);
  }
});

Deno.test("an integer has as many digits as Python reads", () => {
  const longest = "9".repeat(4300);
  assert.ok(fromJson(longest) === BigInt(longest));
  assert.throws(() => fromJson(`[1, ${longest}9]`), {
    message: "Cannot decode JSON: an integer of more than 4300 digits",
  });
  assert.throws(() => fromJson(`[NaN, ${longest}9]`), DecodeError);
});

Deno.test("fromExactJson keeps the form of every number", () => {
  for (
    const text of [
      "[2.0,1e16,-0.0,0.5,1e-7]",
      "[12345678901234567890,9007199254740993,1]",
      '{"a":[1E+2,1.50]}',
    ]
  ) {
    const back = toJson(fromExactJson(text));
    assert.equal(back, text.replace("1.50", "1.5"));
  }
  assert.deepEqual(fromJson("[2.0,-0.0]"), [2, -0]);
  assert.equal(strictRepr(fromExactJson("[2.0,1e16,-0.0,3]")), "[2.0, 1e+16, -0.0, 3]");
  assert.equal(pythonRepr(fromExactJson('{"x":2.0}')), "{'x': 2.0}");
});

Deno.test("nesting is bounded both ways", () => {
  let deep: unknown = 1;
  for (let n = 0; n < 200_000; n++) deep = [deep];
  assert.throws(() => toJson(deep), EncodeError);
  for (
    const text of ["[".repeat(200_000) + "]".repeat(200_000), '{"a":'.repeat(5000) + "1" + "}".repeat(5000)]
  ) {
    assert.throws(() => fromJson(text), {
      message: `Cannot decode JSON: nested deeper than ${JSON_DEPTH_MAX}`,
    });
  }
  const fine = "[".repeat(900) + "]".repeat(900) + " ".repeat(2000);
  assert.ok(Array.isArray(fromJson(fine)));
  const text = JSON.stringify({ a: "[{".repeat(5000), b: Array(3000).fill({}) });
  assert.equal(JSON.stringify(fromJson(text)), text);
});

Deno.test("broken JSON gives one short line that quotes nothing of it", () => {
  for (
    const text of [
      "",
      "  ",
      "{",
      '{"a":',
      "[1,",
      "nul",
      "secret-password",
      '{"a":1}}',
      '"\u0000"',
      "\ufeff1",
      "'a'",
    ]
  ) {
    assert.throws(() => fromJson(text), (error: Error) => {
      assert.ok(error instanceof DecodeError, strictRepr(text));
      assert.match(error.message, /^Cannot decode JSON: [^\n]{5,80}$/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});

Deno.test("any text is a value or a DecodeError", () => {
  const pieces = fc.constantFrom(
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "1",
    "NaN",
    "-",
    "Infinity",
    '"__type__"',
    "9".repeat(20),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
      try {
        fromJson(parts.join(""));
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("a key named __proto__ is a key", () => {
  const back = fromJson('{"__proto__":{"__type__":"decimal","__value__":"1"}}') as Record<string, unknown>;
  assert.deepEqual(Object.keys(back), ["__proto__"]);
  assert.equal(toJson(back), '{"__proto__":"1"}');
  assert.equal(Object.getPrototypeOf(back), Object.prototype);
});
