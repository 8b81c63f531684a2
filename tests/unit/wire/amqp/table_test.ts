import assert from "node:assert/strict";
import fc from "fast-check";
import { Outbox } from "../../../../lib/base/mod.ts";
import { AmqpReader, type AmqpTable, writeShortstr, writeTable } from "../../../../lib/wire/amqp/table.ts";
import { AmqpDecimal, fromJson, fromTypedJson, toJson } from "../../../../lib/wire/mod.ts";

function encoded(table: Record<string, unknown>): Uint8Array {
  const outbox = new Outbox();
  writeTable(outbox, table);
  return outbox.take();
}

function read(bytes: Uint8Array, dialect: "rabbitmq" | "specification" = "rabbitmq"): AmqpTable {
  const reader = new AmqpReader(bytes, dialect);
  const table = reader.table();
  reader.mustBeAtEnd("a table");
  return table;
}

/** One entry "k" of a type letter and its bytes. */
function entry(letter: string, ...bytes: number[]): Uint8Array {
  const item = [1, 107, letter.charCodeAt(0), ...bytes];
  return new Uint8Array([0, 0, 0, item.length, ...item]);
}

// py-amqp 5.1.1: serialization.dumps("F", [...]).
const PYTHON =
  "000000e1046c616e6753000000027079047461736b5300000005742e6164640269645300000008303030303030303006736861" +
  "646f77560365746156077265747269657349000000000974696d656c696d697441000000025656086172677372657072530000000628" +
  "322c203329036269674c0000010000000000036e656749fffffffb0166643ff800000000000001747401016e460000001a0161410000" +
  "00134900000001530000000178460000000301625602c3bc5300000006c5bef09f8cbf03646563440200000096047768656e54000000" +
  "006b02fb9a03726177530000000200ff";

Deno.test("table: what py-amqp writes is read, and written alike but for bytes", () => {
  const bytes = Uint8Array.fromHex(PYTHON);
  const table = read(bytes);
  assert.deepEqual(table, {
    lang: "py",
    task: "t.add",
    id: "00000000",
    shadow: null,
    eta: null,
    retries: 0,
    timelimit: [null, null],
    argsrepr: "(2, 3)",
    big: 2 ** 40,
    neg: -5,
    f: 1.5,
    t: true,
    n: { a: [1, "x", { b: null }] },
    "ü": "ž🌿",
    dec: new AmqpDecimal(2, 150),
    when: new Date("2026-11-22T14:26:34Z"),
    raw: new Uint8Array([0, 255]),
  });
  // Python sends bytes as a string ("S"); ours say what they are ("x").
  const ours = encoded(table).toHex();
  assert.equal(ours, PYTHON.slice(0, -14) + "78" + PYTHON.slice(-12));
  assert.equal(String(table["dec"]), "1.50");
});

Deno.test("table: the letters in which RabbitMQ and the specification differ", () => {
  assert.equal(read(entry("s", 0xff, 0xfe))["k"], -2);
  assert.equal(read(entry("s", 2, 104, 105), "specification")["k"], "hi");
  const ones = new Array(8).fill(255);
  assert.equal(read(entry("l", ...ones))["k"], -1);
  assert.equal(read(entry("l", ...ones), "specification")["k"], 2n ** 64n - 1n);
  assert.equal(read(entry("L", ...ones))["k"], -1);
  assert.deepEqual(read(entry("x", 0, 0, 0, 1, 7))["k"], new Uint8Array([7]));
});

Deno.test("table: every other letter", () => {
  assert.equal(read(entry("b", 0x80))["k"], -128);
  assert.equal(read(entry("B", 0x80))["k"], 128);
  assert.equal(read(entry("U", 0x80, 0))["k"], -32768);
  assert.equal(read(entry("u", 0x80, 0))["k"], 32768);
  assert.equal(read(entry("i", 0x80, 0, 0, 0))["k"], 2 ** 31);
  assert.equal(read(entry("f", 0x3f, 0x80, 0, 0))["k"], 1);
  assert.equal(read(entry("T", 0x7f, ...new Array(7).fill(255)))["k"], 2n ** 63n - 1n);
  assert.equal(read(entry("L", 0x7f, ...new Array(7).fill(255)))["k"], 2n ** 63n - 1n);
});

Deno.test("table: numbers keep their digits", () => {
  const numbers = [
    0,
    -0,
    1,
    -1,
    2 ** 31 - 1,
    2 ** 31,
    -(2 ** 31),
    -(2 ** 31) - 1,
    2 ** 53,
    1.5,
    1e300,
    NaN,
    Infinity,
  ];
  for (const number of numbers) {
    assert.ok(Object.is(read(encoded({ k: number }))["k"], number), String(number));
  }
  for (const number of [2n ** 63n - 1n, -(2n ** 63n)]) {
    assert.equal(read(encoded({ k: number }))["k"], number);
  }
});

Deno.test("table: what has no type in AMQP is refused by its name", () => {
  const refused = (value: unknown, pattern: RegExp) =>
    assert.throws(() => encoded({ mine: value }), (error: Error) => {
      assert.equal(error.name, "EncodeError");
      assert.match(error.message, pattern);
      return true;
    });
  refused(() => 0, /"mine".*function/);
  refused(2n ** 63n, /"mine".*64 bits/);
  refused(new Map(), /"mine".*Map/);
  assert.throws(() => encoded({ ["k".repeat(256)]: 1 }), /256 bytes, more than 255/);
  let deep: unknown = 1;
  for (let i = 0; i < 40; i++) deep = i % 2 ? [deep] : { d: deep };
  refused(deep, /levels deep/);
  assert.deepEqual(read(encoded({ a: undefined, b: [undefined] })), { b: [null] });
});

Deno.test("table: hostile bytes are an error of the protocol, never a crash", () => {
  const hostile: [Uint8Array, RegExp][] = [
    [new Uint8Array([0, 0, 0, 9, 1]), /claims 9 bytes of 1/],
    [new Uint8Array([255, 255, 255, 255]), /claims 4294967295 bytes/],
    [entry("Z"), /unknown type "Z"/],
    [entry("\u0001"), /unknown type 1/],
    [entry("S", 0, 0, 0, 9, 1), /needed/],
    [entry("A", 0, 0, 0, 9, 1), /claims/],
    [entry("I", 0, 0), /needed/],
    [new Uint8Array([0, 0, 0, 2, 1, 107]), /needed/],
  ];
  for (const [bytes, pattern] of hostile) {
    assert.throws(
      () => read(bytes),
      (error: Error) => error.name === "ProtocolError" && pattern.test(error.message),
    );
  }
  // Tables in tables in tables, each claiming the whole rest.
  let deep = new Uint8Array(0);
  for (let i = 0; i < 100; i++) {
    const size = deep.length;
    deep = new Uint8Array([1, 107, 70, size >> 24, size >> 16 & 255, size >> 8 & 255, size & 255, ...deep]);
  }
  const size = deep.length;
  assert.throws(() => read(new Uint8Array([0, 0, size >> 8, size & 255, ...deep])), /more than 32 levels/);
  // A key of Object's own stays data.
  const table = read(encoded(JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}')));
  assert.equal(Object.getPrototypeOf(table), Object.prototype);
  assert.deepEqual(Object.keys(table).sort(), ["__proto__", "constructor"]);
});

const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) =>
    Number.isSafeInteger(Number(n)) ? Number(n) : n
  ),
  fc.string({ unit: "grapheme" }),
  fc.uint8Array(),
  fc.integer({ min: 0, max: 4e9 }).map((seconds) => new Date(seconds * 1000)),
  fc.tuple(fc.nat(255), fc.nat()).map(([scale, value]) => new AmqpDecimal(scale, value)),
);
const { table: anyTable } = fc.letrec<{ table: Record<string, unknown>; value: unknown }>((tie) => ({
  table: fc.dictionary(fc.string({ maxLength: 60 }), tie("value"), {
    noNullPrototype: true,
  }),
  value: fc.oneof({ depthSize: "small" }, leaf, fc.array(tie("value")), tie("table")),
}));

Deno.test("table: decode undoes encode, at any offset, and every truncation is refused", () => {
  fc.assert(
    fc.property(anyTable, fc.nat(7), (table, offset) => {
      const bytes = encoded(table);
      const padded = new Uint8Array(offset + bytes.length + 3);
      padded.set(bytes, offset);
      assert.deepEqual(read(padded.subarray(offset, offset + bytes.length)), table);
      const cut = Math.floor(bytes.length * (offset / 8));
      if (cut < bytes.length) assert.throws(() => read(bytes.subarray(0, cut)), { name: "ProtocolError" });
    }),
    { numRuns: 200 },
  );
});

Deno.test("table: any bytes at all are a table or a ProtocolError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const framed = new Uint8Array([0, 0, 0, bytes.length, ...bytes]);
      try {
        read(framed);
      } catch (error) {
        assert.equal((error as Error).name, "ProtocolError");
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("table: texts of every length around the short ways of reading them, ASCII and not", () => {
  for (let length = 0; length <= 70; length++) {
    const plain = Array.from({ length }, (_, n) => String.fromCharCode(33 + (n * 7) % 90)).join("");
    const texts = [plain];
    for (let at = 0; at < length; at++) texts.push(`${plain.slice(0, at)}é${plain.slice(at + 1)}`);
    for (const text of texts) {
      const outbox = new Outbox();
      writeTable(outbox, { text });
      writeShortstr(outbox, text, "text");
      const reader = new AmqpReader(outbox.take());
      assert.deepEqual([reader.table()["text"], reader.shortstr()], [text, text]);
    }
  }
});

Deno.test("AmqpDecimal: a typed decimal in JSON, and itself again between our own processes", () => {
  const headers = { price: new AmqpDecimal(2, 250), list: [new AmqpDecimal(0, 7)] };
  const text = toJson(headers);
  assert.equal(
    text,
    '{"price":{"__type__":"decimal","__value__":"2.50"},"list":[{"__type__":"decimal","__value__":"7"}]}',
  );
  assert.deepEqual(fromTypedJson(text), headers);
  assert.deepEqual(fromJson(text), { price: "2.50", list: ["7"] });
  for (const none of ["-1.5", "1e5", "NaN", "4294967296", ""]) assert.equal(AmqpDecimal.of(none), null);
});
