// Goal: any split of any stream gives the same values, and hostile bytes give one clear error.
import assert from "node:assert/strict";
import fc from "fast-check";
import { ProtocolError } from "../../../../lib/base/mod.ts";
import { type Reply, RespDecoder, type RespDecoderOptions, RespError } from "../../../../lib/wire/mod.ts";

const encoder = new TextEncoder();

/** What came, pushes marked. */
function decode(chunks: Uint8Array[], options: RespDecoderOptions = {}): Reply[] {
  const values: Reply[] = [];
  const decoder = new RespDecoder({
    onReply: (value) => void values.push(value),
    onPush: (items) => void values.push(["PUSH", ...items]),
  }, options);
  for (const chunk of chunks) decoder.feed(chunk);
  return values;
}

const STREAM = "+OK\r\n:42\r\n:-7\r\n$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n" +
  "*3\r\n$3\r\na\r\n\r\n:1\r\n*2\r\n$1\r\nx\r\n_\r\n#t\r\n#f\r\n,1.5\r\n,-inf\r\n(3492890328409238509324850943850943825024385\r\n" +
  ">3\r\n$10\r\ninvalidate\r\n*1\r\n$6\r\ncelery\r\n+x\r\n%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n~2\r\n:1\r\n:2\r\n=7\r\ntxt:abc\r\n" +
  "|1\r\n+ttl\r\n:9\r\n:5\r\n-ERR no good\r\n!10\r\nSYNTAX bad\r\n:9223372036854775807\r\n$12\r\nprès des été\r\n"
    .replace("$12", "$15");

const EXPECTED: Reply[] = [
  "OK",
  42,
  -7,
  "hello",
  "",
  null,
  null,
  [],
  ["a\r\n", 1, ["x", null]],
  true,
  false,
  1.5,
  -Infinity,
  3492890328409238509324850943850943825024385n,
  ["PUSH", "invalidate", ["celery"], "x"],
  new Map<Reply, Reply>([["a", 1], ["b", [2]]]),
  [1, 2],
  "abc",
  5,
  new RespError("ERR no good"),
  new RespError("SYNTAX bad"),
  9223372036854775807n,
  "près des été",
];

Deno.test("RespDecoder decodes every kind of value of RESP2 and RESP3", () => {
  assert.deepEqual(decode([encoder.encode(STREAM)]), EXPECTED);
});

Deno.test("RespDecoder gives the same values at every split and byte by byte", () => {
  const bytes = encoder.encode(STREAM);
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(decode([bytes.slice(0, at), bytes.slice(at)]), EXPECTED, `split at ${at}`);
  }
  assert.deepEqual(decode([...bytes].map((byte) => Uint8Array.of(byte))), EXPECTED);
});

Deno.test("RespDecoder reads views with a nonzero offset and leaves no view of the caller's buffer behind", () => {
  const bytes = encoder.encode(STREAM);
  const roomy = new Uint8Array(bytes.length + 37).fill(0x2b);
  roomy.set(bytes, 19);
  assert.deepEqual(decode([roomy.subarray(19, 19 + bytes.length)]), EXPECTED);

  const raw: Reply[] = [];
  const decoder = new RespDecoder({ onReply: (value) => void raw.push(value), onPush: () => {} }, {
    bulk: "bytes",
  });
  const buffer = new Uint8Array(64);
  buffer.set(encoder.encode("$4\r\nabcd\r\n"), 3);
  decoder.feed(buffer.subarray(3, 13));
  buffer.fill(0);
  assert.deepEqual(raw, [Uint8Array.from([97, 98, 99, 100])]);
});

Deno.test("RespDecoder refuses what is no RESP, and lengths beyond its limits, with a ProtocolError", () => {
  const hostile: [string, RegExp][] = [
    ["hello\r\n", /byte 104/],
    ["\r\n", /byte 13/],
    ["\n", /CR LF/],
    ["+OK\n", /CR LF/],
    ["$x\r\n", /length/],
    ["$-2\r\n", /length/],
    ["$99999999999999999999\r\n", /length/],
    ["$999999999999\r\n", /exceeds/],
    ["$3\r\nabcde\r\n", /does not end/],
    ["*99999999999\r\n", /elements/],
    [":1x\r\n", /integer/],
    [":\r\n", /integer/],
    [",abc\r\n", /double/],
    ["(1.5\r\n", /big number/],
    ["*1\r\n>1\r\n+x\r\n", /push/],
    ["*1\r\n".repeat(40), /deeper/],
    ["+" + "a".repeat(70_000), /line exceeds/],
  ];
  for (const [text, why] of hostile) {
    assert.throws(
      () => decode([encoder.encode(text)]),
      (error) => error instanceof ProtocolError && why.test(error.message),
      text.slice(0, 30),
    );
  }
});

Deno.test("RespDecoder: random bytes give values or a ProtocolError, never another error", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, at) => {
    try {
      decode([bytes.slice(0, at), bytes.slice(at)]);
    } catch (error) {
      assert.ok(error instanceof ProtocolError);
    }
  }));
});
