import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { sha1Hex } from "../../../lib/redis/sha1.ts";

Deno.test("sha1Hex names scripts as Redis does", () => {
  assert.equal(sha1Hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  const reference = (text: string) => createHash("sha1").update(text).digest("hex");
  for (const length of [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 5000]) {
    assert.equal(sha1Hex("x".repeat(length)), reference("x".repeat(length)));
  }
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => sha1Hex(text) === reference(text)));
});
