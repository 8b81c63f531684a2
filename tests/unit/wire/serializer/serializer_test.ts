import assert from "node:assert/strict";
import fc from "fast-check";
import {
  acceptedTypes,
  ContentDisallowed,
  DecodeError,
  decodeTaskBody,
  deserialize,
  EncodeError,
  encodeTaskMessage,
  isSerializerLoaded,
  loadSerializer,
  serialize,
  strictRepr,
} from "../../../../lib/wire/mod.ts";
import { golden, VERSIONS } from "../golden.ts";
import { cpuMsOf } from "../../../support/cpu_time.ts";

const TASK = {
  task: "t",
  id: "i",
  args: [],
  kwargs: {},
  origin: null,
  replyTo: null,
  priority: 0,
  deliveryMode: 2,
} as const;
const NAMES = ["json", "yaml", "msgpack", "cbor", "raw"];
const ALL = acceptedTypes(NAMES);
for (const name of NAMES) await loadSerializer(name);

/** Samples whose value prints otherwise here: Python tells whole floats, offsets and its own types apart. */
const OTHERWISE: Record<string, string> = {
  "floats": "[1, 1.5, 1e+100, 1e-07, inf, -inf, nan]",
  "datetime naive": "datetime.datetime(2037, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc)",
  "datetime +02:00": "datetime.datetime(2037, 3, 4, 3, 6, 7, tzinfo=datetime.timezone.utc)",
  "uuid": "'00000000-0000-0000-0000-000000000005'",
  "decimal": "'1.50'",
  "yaml date": "datetime.datetime(2037, 3, 4, 0, 0, tzinfo=datetime.timezone.utc)",
  "yaml int keys": "{'1': 'a'}",
  "msgpack int keys": "{'1': 'a'}",
  "raw text": "'raw text'",
};

for (const version of VERSIONS) {
  Deno.test(`every captured body of ${version} is read as Python reads it`, () => {
    let read = 0;
    for (const one of golden(`serializers-${version}`)) {
      const { serializer, sample, body_base64: body } = one as Record<string, unknown>;
      if (typeof serializer !== "string" || typeof body !== "string" || serializer === "pickle") continue;
      const bytes = Uint8Array.fromBase64(body);
      const value = deserialize(bytes, one["content_type"] as string, one["content_encoding"] as string, ALL);
      const python = one["decoded_repr"] as string | undefined;
      const isTyped = python === undefined || !python.startsWith("'");
      const other = OTHERWISE[`${serializer} ${sample}`] ??
        (isTyped ? OTHERWISE[sample as string] : undefined);
      assert.equal(strictRepr(value), other ?? python, `${serializer} ${sample}`);
      read++;
    }
    assert.ok(read > 35, `${read} bodies`);
  });
}

Deno.test("content types and encodings are kombu's", () => {
  const of = (name: string, value: unknown): [string, string] => {
    const { contentType, contentEncoding } = serialize(value, name);
    return [contentType, contentEncoding];
  };
  assert.deepEqual(of("json", 1), ["application/json", "utf-8"]);
  assert.deepEqual(of("yaml", 1), ["application/x-yaml", "utf-8"]);
  assert.deepEqual(of("msgpack", 1), ["application/x-msgpack", "binary"]);
  assert.deepEqual(of("raw", "text"), ["application/data", "utf-8"]);
  assert.deepEqual(of("raw", new Uint8Array(1)), ["application/data", "binary"]);
  assert.throws(() => serialize(1, "raw"), EncodeError);
});

Deno.test("a value comes back through every serializer", () => {
  const value = fc.object({
    key: fc.oneof(fc.string(), fc.constant("__proto__")),
    values: [
      fc.string(),
      fc.integer(),
      fc.double({ noNaN: true }),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array(),
    ],
    maxDepth: 3,
  });
  for (const name of ["json", "yaml", "msgpack", "cbor"]) {
    fc.assert(
      fc.property(value, (given) => {
        const { body, contentType, contentEncoding } = serialize(given, name);
        const back = deserialize(body, contentType, contentEncoding, ALL);
        assert.deepEqual(settled(back), settled(given));
      }),
      { numRuns: 60 },
    );
  }
});

Deno.test("a key or a text that a format cannot carry is refused at the call, never changed", () => {
  const odd: Record<string, unknown> = JSON.parse('{"__proto__":1,"a":{"__proto__":[2]}}');
  for (const name of ["json", "yaml", "msgpack", "cbor"]) {
    const { body, contentType, contentEncoding } = serialize(odd, name);
    const back = deserialize(body, contentType, contentEncoding, ALL);
    assert.equal(JSON.stringify(back), JSON.stringify(odd), name);
    assert.equal(Object.getPrototypeOf(back), Object.prototype, name);
    for (const value of [["a\ud800b"], { "\udc00": 1 }]) {
      if (name === "msgpack" || name === "cbor") {
        const message = new RegExp(`^Cannot encode ${name}: half of a surrogate pair`);
        assert.throws(() => serialize(value, name), { name: "EncodeError", message });
        continue;
      }
      const { body, contentType, contentEncoding } = serialize(value, name);
      assert.deepEqual(deserialize(body, contentType, contentEncoding, ALL), value, name);
    }
  }
});

Deno.test("what may be written may be read: nesting is refused at the call, not at the worker", () => {
  const nested = (levels: number): unknown => levels === 0 ? 1 : [nested(levels - 1)];
  for (const serializer of ["json", "msgpack", "cbor"]) {
    const encoding = { serializer, compression: null, protocol: 2, bodyEncoding: "base64" } as const;
    const send = (levels: number) =>
      encodeTaskMessage(
        {
          ...TASK,
          args: [nested(levels)],
          embed: { chord: { task: "t", args: [nested(levels - 100)] } as never },
        },
        encoding,
      );
    for (let levels = 970; levels <= 1005; levels++) {
      let message;
      try {
        message = send(levels);
      } catch (error) {
        assert.ok(error instanceof EncodeError && levels > 970, `${serializer} ${levels}`);
        continue;
      }
      assert.doesNotThrow(() => decodeTaskBody(message, ALL), `${serializer} ${levels}`);
    }
    assert.throws(() => send(1005), { name: "EncodeError", message: /nested deeper than 980/ });
  }
});

Deno.test("what a body announces is not believed before it is there", () => {
  const bodies: [string, number[]][] = [
    // A list of 2^32 - 1 items, again and again; texts and bytes of 4 GiB; maps.
    ["application/x-msgpack", Array(50_000).fill([0xdd, 0xff, 0xff, 0xff, 0xff]).flat()],
    ["application/x-msgpack", Array(500).fill([0xdd, 0x01, 0xff, 0xff, 0xff]).flat()],
    ["application/x-msgpack", [0xdb, 0xff, 0xff, 0xff, 0xff, 0x61]],
    ["application/x-msgpack", [0xc6, 0xff, 0xff, 0xff, 0xff, 0x61]],
    ["application/x-msgpack", Array(500).fill([0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 0x61]).flat()],
    ["application/cbor", Array(500).fill([0x9a, 0x01, 0xff, 0xff, 0xff]).flat()],
    ["application/cbor", [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x61]],
    ["application/cbor", [0x7f, 0x61, 0x61]],
    ["application/cbor", Array(100_000).fill(0x9f)],
    ["application/cbor", Array(100_000).fill(0xc1)],
  ];
  for (const [type, body] of bodies) {
    assert.throws(() => deserialize(new Uint8Array(body), type, "binary", ALL), DecodeError);
  }
});

Deno.test("cbor makes nothing but plain values: no cycles, no sharing, no classes", () => {
  const refused: [number[], RegExp][] = [
    [[0xd8, 28, 0x82, 0xd8, 29, 0x00, 0xd8, 29, 0x00], /unsupported tag/], // a list that holds itself
    [[0xd8, 27, 0x82, 0x66, 82, 101, 103, 69, 120, 112, 0x61, 97], /unsupported tag/], // new RegExp("a")
    [[0xd9, 0x01, 0x02, 0x81, 0x01], /unsupported tag 258/], // a set
    [[0xd8, 51, 0x84, 0x80, 0x80, 0x80, 0x80], /unsupported tag 51/], // packed values
    [[0xd8, 64, 0x41, 0x01], /unsupported tag 64/], // a typed array
    [[0xa1, 0x80, 0x01], /a key is neither/],
    [[0xc1, 0x61, 97], /a broken date/],
    [[0xc1, 0xf9, 0x7e, 0x00], /a broken date/],
    [[0xc0, 0x61, 97], /a broken date/],
    [[0xc0, 0x01], /a broken date/],
    [[0xc2, 0x01], /a broken integer/],
    [[0x7f, 0x61, 97, 0x61, 98, 0xff], /a string or bytes in pieces/],
    [[0x5f, 0x41, 1, 0x41, 2, 0xff], /a string or bytes in pieces/],
    [[0x01, 0x01], /something follows the value/],
    [[0xf8, 0x20], /unknown simple value/],
    [[0x61, 0xff], /not UTF-8/],
    [[0xc2, 0x5a, 0, 0, 8, 0, ...Array(2048).fill(0xff)], /a broken integer/],
  ];
  for (const [body, message] of refused) {
    const decode = () => deserialize(new Uint8Array(body), "application/cbor", "binary", ALL);
    assert.throws(decode, { name: "DecodeError", message });
  }
  // As RFC 8949 has them.
  const read: [number[], unknown][] = [
    [[0x9f, 0x01, 0x82, 0x02, 0x03, 0xff], [1, [2, 3]]],
    [[0xbf, 0x61, 97, 0x01, 0xff], { a: 1 }],
    [[0xb9, 0x00, 0x01, 0x61, 97, 0xf7], { a: null }],
    [[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0], 2n ** 64n],
    [[0xc3, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0], -(2n ** 64n) - 1n],
    [[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -(2n ** 64n)],
    [[0xf9, 0x3c, 0x00], 1],
    [[0xfa, 0x47, 0xc3, 0x50, 0x00], 100000],
    [[0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a], 1.1],
    [[0xc1, 0xfb, 0x40, 0x14, 0, 0, 0, 0, 0, 0], new Date(5000)],
    [[0xc0, 0x74, ...new TextEncoder().encode("2013-03-21T20:04:00Z")], new Date("2013-03-21T20:04:00Z")],
    [[0xd9, 0xd9, 0xf7, 0x01], 1],
  ];
  for (const [body, value] of read) {
    assert.deepEqual(deserialize(new Uint8Array(body), "application/cbor", "binary", ALL), value);
  }
});

Deno.test("YAML: what aliases make is bounded by its size, not by their number", () => {
  const read = (text: string): unknown => deserialize(text, "application/x-yaml", "utf-8", ALL);
  const cycle = { name: "DecodeError", message: "Cannot decode body: a value contains itself" };
  assert.throws(() => read("&a [*a, *a]"), cycle);
  assert.throws(() => read("&a {b: [1, *a]}"), cycle);
  // PyYAML writes an alias for each time that a value holds the same list again.
  const many = read(`a: &a [1]\nb: [${Array(500).fill("*a").join(", ")}]`) as { b: unknown[] };
  assert.equal(many.b.length, 500);
  assert.throws(() => read(billionLaughs()), { message: "Cannot decode body: more than 1000000 values" });
  assert.deepEqual(read("a: 1\na: 2"), { a: 2 });
});

Deno.test("YAML is read in time that grows with its length", () => {
  const n = 4000;
  const keys = Array.from({ length: n }, (_, i) => `k${i}: 1`);
  const texts = [
    keys.join("\n"),
    `{${keys.join(", ")}}`,
    `!!set {${Array.from({ length: n }, (_, i) => `k${i}`).join(", ")}}`,
    keys.map((_, i) => `- &a${i} 1\n- *a${i}`).join("\n"),
    "- ".repeat(n),
    "&a ".repeat(n),
  ];
  for (const text of texts) {
    const tookMs = cpuMsOf(() => {
      try {
        deserialize(text, "application/x-yaml", "utf-8", ALL);
      } catch (error) {
        assert.ok(error instanceof DecodeError);
      }
    });
    assert.ok(tookMs < 1500, `${text.slice(0, 20)}: ${tookMs} ms`);
  }
});

Deno.test("large integers come back through every serializer that has them", () => {
  for (const name of ["json", "yaml", "msgpack", "cbor"]) {
    for (
      const value of [2 ** 32, 2 ** 40, -(2 ** 40), 2 ** 53 - 1, 2n ** 63n, -(2n ** 63n), 2n ** 64n - 1n]
    ) {
      const { body, contentType } = serialize([value], name);
      assert.deepEqual(deserialize(body, contentType, "", ALL), [value], `${name} ${value}`);
    }
  }
  assert.throws(() => serialize(2n ** 70n, "msgpack"), EncodeError);
});

Deno.test("texts that look like something else stay texts in YAML", () => {
  const texts = [
    "yes",
    "y",
    "1e3",
    "09",
    "1_0",
    "12:30:00",
    "=",
    "<<",
    "~",
    "",
    "null",
    "2001-01-01",
    "- a",
    "\u0085x",
  ];
  const { body } = serialize(Object.fromEntries(texts.map((text) => [text, text])), "yaml");
  const back = deserialize(body, "application/x-yaml", "utf-8", ALL) as Record<string, unknown>;
  for (const text of texts) assert.equal(back[text], text);
  const python = "n: n\ny: y\na: 1e3\nb: 09\nc: 1.0e+3\nd: 0o17\ne: on\n";
  const read = deserialize(python, "application/x-yaml", "utf-8", ALL);
  assert.deepEqual(deserialize("!!set\n1: null\n", "application/x-yaml", "utf-8", ALL), new Set([1]));
  assert.deepEqual(read, { n: "n", y: "y", a: "1e3", b: "09", c: 1000, d: "0o17", e: true });
});

Deno.test("what is not accepted is refused before it is looked at", () => {
  const json = acceptedTypes(["json"]);
  assert.throws(() => deserialize("!!!", "application/x-yaml", "utf-8", json), {
    name: "ContentDisallowed",
    message: "Refusing to deserialize untrusted content of type yaml (application/x-yaml)",
  });
  assert.throws(() => deserialize("x", "application/x-unheard-of", "utf-8", json), {
    name: "ContentDisallowed",
    message: "Refusing to deserialize untrusted content of type application/x-unheard-of",
  });
  const pickle = acceptedTypes(["json", "pickle"]);
  assert.throws(
    () => deserialize("x", "application/x-python-serialize", "binary", pickle),
    ContentDisallowed,
  );
  assert.equal(deserialize("as it is", "application/data", "utf-8", json), "as it is");
  assert.equal(deserialize(new Uint8Array([0xe9]), "application/data", "latin1", json), "é");
  assert.equal(deserialize(new Uint8Array([0x61]), "", "", json), "a");
  assert.throws(() => deserialize(new Uint8Array([1]), "application/data", "klingon", json), DecodeError);
});

Deno.test("names are known or refused with the nearest one", async () => {
  assert.deepEqual([...acceptedTypes(["json", "application/x-own"])], [
    "application/json",
    "application/x-own",
  ]);
  assert.throws(() => acceptedTypes(["jsn"]), { name: "UsageError", message: /did you mean "json"/ });
  await assert.rejects(() => loadSerializer("pickle"), { name: "UsageError", message: /pickle/ });
  await assert.rejects(() => loadSerializer("msgpak"), { message: /did you mean "msgpack"/ });
  assert.throws(() => serialize(1, "msgpak"), EncodeError);
  assert.ok(isSerializerLoaded("application/x-yaml"));
  assert.ok(!isSerializerLoaded("pickle"));
});

Deno.test("broken bodies give one line, whatever the serializer", () => {
  const hostile: [string, Uint8Array | string][] = [
    ["application/json", new Uint8Array([0xff, 0xfe])],
    ["application/x-yaml", "!!python/object/apply:os.system ['ls']"],
    ["application/x-yaml", "a: *unknown"],
    ["application/x-yaml", "a: [1"],
    ["application/x-yaml", "[".repeat(20_000)],
    ["application/x-yaml", billionLaughs()],
    ["application/x-yaml", new Uint8Array([0xff])],
    ["application/x-msgpack", new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ["application/x-msgpack", new Uint8Array([0xc1])],
    ["application/x-msgpack", new Uint8Array(0)],
    ["application/cbor", new Uint8Array([0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
    ["application/cbor", new Uint8Array([0x5f])],
  ];
  for (const [type, body] of hostile) {
    assert.throws(() => deserialize(body, type, "binary", ALL), (error: Error) => {
      assert.ok(error instanceof DecodeError, `${type}: ${error}`);
      assert.doesNotMatch(error.message, /\n/);
      assert.ok(error.message.length < 300);
      return true;
    }, `${type} ${typeof body === "string" ? body.slice(0, 20) : body}`);
  }
});

Deno.test("random bytes never break out of DecodeError", () => {
  for (
    const type of ["application/json", "application/x-msgpack", "application/cbor", "application/x-yaml"]
  ) {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          deserialize(bytes, type, "binary", ALL);
        } catch (error) {
          assert.ok(error instanceof DecodeError, `${type} ${error}`);
        }
      }),
      { numRuns: 300 },
    );
  }
});

function billionLaughs(): string {
  let text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (let n = 1; n < 10; n++) text += `a${n}: &a${n} [${Array(10).fill(`*a${n - 1}`).join(", ")}]\n`;
  return text;
}

/**
 * JSON keeps no -0, whole numbers beyond 2^53 may come back as bigint, and prototypes are no part of a value.
 */
function settled(value: unknown): unknown {
  if (typeof value === "number" || typeof value === "bigint") return Number(value) + 0;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(settled);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, settled(item)]));
}
