import assert from "node:assert/strict";
import * as zlib from "node:zlib";
import {
  acceptedTypes,
  compress,
  compressionType,
  CONTROL_BYTES_MAX,
  decodeControlPayload,
  DecodeError,
  decodePayload,
  decodeProtocol1,
  decodeTaskBody,
  decompress,
  type EncodedMessage,
  EncodeError,
} from "../../../../lib/wire/mod.ts";
import { golden } from "../golden.ts";
import { encodedMessage } from "../../../support/messages.ts";

const text = new TextEncoder().encode("hello hello hello hello");

Deno.test("what kombu compressed is unpacked", () => {
  const outcomes: Record<string, string> = {};
  for (const one of golden("serializers-5.6.3")) {
    const type = one["compression_header"];
    if (typeof type !== "string") continue;
    try {
      const bytes = decompress(Uint8Array.fromBase64(one["base64"] as string), type);
      outcomes[type] = new TextDecoder().decode(bytes);
      assert.equal(outcomes[type], one["input"]);
    } catch (error) {
      assert.ok(error instanceof DecodeError);
      outcomes[type] = error.message;
    }
  }
  assert.deepEqual(outcomes, {
    "application/x-gzip": "hello hello hello hello",
    "application/x-bz2": "hello hello hello hello",
    "application/x-lzma": "hello hello hello hello",
  });
});

/** The bytes that `packed-3.11` was made of: runs of each length around the ones that bzip2 spells in two ways. */
function runs(): Uint8Array {
  const bytes: number[] = [];
  for (let n = 0; n < 700; n++) {
    const count = 1 + (n * 7) % 13 + (n % 97 === 0 ? 260 : 0);
    for (let of = 0; of < count; of++) bytes.push((n * n >> 4) % 11 + 97);
  }
  return Uint8Array.from(bytes);
}

Deno.test("bzip2 and xz of Python's own library are read: levels, streams, checks, contexts, stored chunks", () => {
  const stored = Uint8Array.from({ length: 90 }, (_, n) => n * n * n * 7 + (n >> 3) * n);
  for (const { scenario, compression, base64 } of golden("packed-3.11")) {
    const bytes = decompress(Uint8Array.fromBase64(base64 as string), compression as string);
    assert.deepEqual(bytes, scenario === "xz, stored" ? stored : runs(), scenario);
  }
});

Deno.test("bzip2 and xz: wrong bytes and early ends are told in one line", () => {
  for (const { scenario, compression, base64 } of golden("packed-3.11")) {
    const whole = Uint8Array.fromBase64(base64 as string);
    const type = compression as string;
    const refused = { name: "DecodeError", message: `Cannot decompress body: broken ${type} data` };
    for (let at = 0; at < whole.length; at += 7) {
      // The first of two streams is a whole, as Python's library has it for what is no stream behind one.
      if (!scenario.includes("two")) assert.throws(() => decompress(whole.subarray(0, at), type), refused);
      const changed = whole.slice();
      changed[at]! ^= 1 << at % 3;
      // A stream without a check cannot know.
      if (!/no check|stored/.test(scenario)) isRefusedOrSame(changed, type);
    }
  }
});

/** A byte that nothing reads (a dictionary's size, padding bits) may be anything: the data is the same then. */
function isRefusedOrSame(bytes: Uint8Array, type: string): void {
  let made: Uint8Array;
  try {
    made = decompress(bytes, type, { bytesMax: 100_000 });
  } catch (error) {
    return assert.ok(error instanceof DecodeError, String(error));
  }
  assert.deepEqual(made, runs());
}

Deno.test("every compressor gives back what it took, under the type of its header", () => {
  const types = {
    gzip: "application/x-gzip",
    zlib: "application/x-gzip",
    brotli: "application/x-brotli",
    zstd: "application/zstd",
  };
  for (const [name, type] of Object.entries(types)) {
    const packed = compress(text, name);
    assert.equal(packed.type, type);
    assert.deepEqual(decompress(packed.body, type), text);
    assert.deepEqual(decompress(packed.body, name), text);
  }
  assert.equal(compress(text, "gzip").body[0], 0x78, "a zlib stream, as Celery's gzip is");
  assert.deepEqual(decompress(new Uint8Array(zlib.gzipSync(text)), "application/x-gzip"), text);
});

Deno.test("a bomb is stopped at the bound", () => {
  const zeros = new Uint8Array(4_000_000);
  for (const name of ["gzip", "brotli", "zstd"]) {
    const { body, type } = compress(zeros, name);
    assert.throws(() => decompress(body, type, { bytesMax: 100_000 }), {
      name: "DecodeError",
      message: "Cannot decompress body: more than 100000 bytes unpacked",
    });
  }
  for (const { compression, base64 } of golden("packed-3.11")) {
    const bytes = Uint8Array.fromBase64(base64 as string);
    assert.throws(() => decompress(bytes, compression as string, { bytesMax: 89 }), {
      message: "Cannot decompress body: more than 89 bytes unpacked",
    });
  }
});

Deno.test("broken data and unknown names give one line", () => {
  for (const type of ["application/x-gzip", "application/x-brotli", "application/zstd"]) {
    for (
      const bytes of [new Uint8Array(0), new Uint8Array([1, 2, 3]), compress(text, type).body.subarray(0, 5)]
    ) {
      assert.throws(() => decompress(bytes, type), {
        name: "DecodeError",
        message: `Cannot decompress body: broken ${type} data`,
      });
    }
  }
  assert.throws(() => decompress(text, "application/x-own"), DecodeError);
  assert.throws(() => compress(text, "lzma"), { name: "EncodeError", message: /use gzip, brotli or zstd/ });
  assert.throws(() => compressionType("gzp"), EncodeError);
});

function packed(body: Uint8Array, given: Partial<EncodedMessage> = {}): EncodedMessage {
  return encodedMessage({ body, headers: { compression: "application/x-gzip" }, ...given });
}

Deno.test("what is refused by its type, encoding or size is not unpacked", () => {
  const accept = acceptedTypes(["json"]);
  // Broken, so that whoever unpacks it says so.
  const broken = new Uint8Array([1, 2, 3]);
  const pickle = packed(broken, { contentType: "application/x-python-serialize" });
  const klingon = packed(broken, { contentType: "application/data", contentEncoding: "klingon" });
  for (const decode of [decodePayload, decodeControlPayload, decodeTaskBody, decodeProtocol1]) {
    assert.throws(() => decode(pickle, accept), { name: "ContentDisallowed" }, decode.name);
    assert.throws(
      () => decode(klingon, accept),
      { message: /unknown content encoding "klingon"/ },
      decode.name,
    );
    assert.throws(
      () => decode(packed(broken), accept),
      { message: /broken application\/x-gzip data/ },
      decode.name,
    );
  }
  const long = packed(new Uint8Array(CONTROL_BYTES_MAX + 1));
  assert.throws(() => decodeControlPayload(long, accept), { message: /16777217 bytes are too many/ });
  const bomb = packed(compress(new Uint8Array(CONTROL_BYTES_MAX + 1).fill(0x20), "gzip").body);
  assert.throws(() => decodeControlPayload(bomb, accept), { message: /more than 16777216 bytes unpacked/ });
  assert.throws(() => decodeTaskBody(bomb, accept, { unpackedMax: 1000 }), {
    message: /more than 1000 bytes unpacked/,
  });
});
