import assert from "node:assert/strict";
import fc from "fast-check";
import { asciiText, KnownTexts } from "../../../lib/wire/known_texts.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const looseUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

Deno.test("known texts: whatever was read before, a text is that of its bytes", () => {
  // Few letters, so that texts come again, and begin and end alike. More than 32 bytes are not kept.
  const word = fc.array(fc.constantFrom(0x61, 0x62, 0x5f, 0xc3, 0xbc, 0xff), { maxLength: 40 });
  fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), word), { maxLength: 200 }), (reads) => {
    const known = new KnownTexts();
    for (const [isName, letters] of reads) {
      const bytes = new Uint8Array([9, ...letters, 9]);
      const text = isName ? known.name(bytes, 1, letters.length) : known.text(bytes, 1, letters.length);
      assert.equal(text, looseUtf8.decode(bytes.subarray(1, 1 + letters.length)));
      const isAscii = letters.every((letter) => letter < 128);
      assert.equal(known.ascii(bytes, 1, letters.length), isAscii ? text : null);
    }
  }));
});

Deno.test("known texts: more names than there is room for, in any order, three times over", () => {
  const known = new KnownTexts();
  const names = Array.from({ length: 5000 }, (_, n) => `header-${n * 7919 % 5000}`);
  for (let round = 0; round < 3; round++) {
    for (const name of names) {
      const bytes = bytesOf(name);
      assert.equal(known.name(bytes, 0, bytes.length), name);
    }
    names.reverse();
  }
});

Deno.test("asciiText: short ASCII of any length; null for longer and other text, which KnownTexts reads", () => {
  for (let length = 0; length <= 256; length++) {
    const text = Array.from({ length }, (_, n) => String.fromCharCode((n * 31 + length) % 128)).join("");
    assert.equal(asciiText(bytesOf(`x${text}x`), 1, length), text);
  }
  assert.equal(asciiText(bytesOf("a".repeat(257)), 0, 257), null);
  for (const text of ["ü", "twelve lettersü", "🐢", "a".repeat(300), "\ufefftext"]) {
    const bytes = bytesOf(text);
    if (text.length < 300) assert.equal(asciiText(bytes, 0, bytes.length), null);
    assert.equal(new KnownTexts().text(bytes, 0, bytes.length), text);
  }
});
