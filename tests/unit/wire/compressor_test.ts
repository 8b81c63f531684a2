import assert from "node:assert/strict";
import * as zlib from "node:zlib";
import { compress, compressionType, DecodeError, decompress, EncodeError } from "../../../lib/wire/mod.ts";
import { golden } from "./golden.ts";

const text = new TextEncoder().encode("hello hello hello hello");

Deno.test("what kombu compressed is unpacked; bzip2 and lzma are refused in one line", () => {
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
    "application/x-bz2":
      "Cannot decompress body: application/x-bz2 is not supported; send gzip, brotli or zstd",
    "application/x-lzma":
      "Cannot decompress body: application/x-lzma is not supported; send gzip, brotli or zstd",
  });
});

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
