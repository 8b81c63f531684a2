import assert from "node:assert/strict";
import fc from "fast-check";
import {
  asciiJson,
  DecodeError,
  EncodeError,
  fromJson,
  fromJsonList,
  fromPlainJson,
  JSON_DEPTH_MAX,
  setJsonDialect,
  strictRepr,
  toJson,
} from "../../../lib/wire/mod.ts";
import { golden } from "./golden.ts";

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

Deno.test("the dialect of kombu 5.2 writes plain texts and refuses bytes", () => {
  setJsonDialect("kombu-5.2");
  try {
    const old = new Map(
      golden("serializers-5.2.6").map((one) => [`${one["serializer"]} ${one["sample"]}`, one]),
    );
    const kombu = (sample: string): string => old.get(`json ${sample}`)!["body"] as string;
    assert.equal(toJson(new Date("2037-03-04T05:06:07.890Z")), kombu("datetime utc"));
    assert.equal(toJson(Temporal.PlainDate.from("2037-03-04")), kombu("date"));
    assert.equal(toJson(Temporal.PlainTime.from("05:06:07")), kombu("time"));
    assert.throws(() => toJson({ a: [new Uint8Array(1)] }), {
      name: "EncodeError",
      message: 'Cannot encode "a[0]": bytes',
    });
  } finally {
    setJsonDialect("kombu-5.3");
  }
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
    assert.deepEqual(fromJsonList(some), some.map(fromJson));
  }));
  // What is JSON only together is none.
  for (const broken of [["1", "["], ["1],[2"], ["1,2"], ["", "1"]]) {
    assert.throws(() => fromJsonList(broken), DecodeError, broken.join(" | "));
  }
  assert.throws(() => fromJsonList(["1", "[".repeat(1001) + "]".repeat(1001)]), /nested deeper/);
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
    [[new Float64Array(1)], 'Cannot encode "[0]": Float64Array (use Uint8Array)'],
  ];
  for (const [value, message] of refusals) {
    assert.throws(() => toJson(value), { name: "EncodeError", message });
  }
  const shared = { a: 1 };
  assert.equal(toJson([shared, shared, undefined]), '[{"a":1},{"a":1},null]');
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

Deno.test("asciiJson escapes all that is not ASCII", () => {
  const text = JSON.stringify("Zoë 😀");
  assert.equal(asciiJson(text), '"Zo\\u00eb \\ud83d\\ude00"');
  assert.equal(JSON.parse(asciiJson(text)), "Zoë 😀");
});
