import assert from "node:assert/strict";
import fc from "fast-check";
import { Outbox } from "../../../../lib/base/mod.ts";
import {
  encodeCommand,
  numberedArgs,
  type Reply,
  type RespArg,
  RespDecoder,
} from "../../../../lib/wire/mod.ts";

function bytesOf(...commands: RespArg[][]): Uint8Array {
  const outbox = new Outbox();
  for (const command of commands) encodeCommand(outbox, command);
  return outbox.take();
}

Deno.test("encodeCommand writes RESP arrays whose lengths count bytes", () => {
  const text = new TextDecoder().decode(bytesOf(["SET", "ключ", 12.5, Uint8Array.of(65, 66)], ["PING"]));
  assert.equal(text, "*4\r\n$3\r\nSET\r\n$8\r\nключ\r\n$4\r\n12.5\r\n$2\r\nAB\r\n*1\r\n$4\r\nPING\r\n");
});

Deno.test("encodeCommand moves a text by a digit where its bytes need a longer length", () => {
  const accents = "é".repeat(60); // 60 units, 120 bytes: two digits guessed, three needed
  const text = new TextDecoder().decode(bytesOf(["ECHO", accents, "x"]));
  assert.equal(text, `*3\r\n$4\r\nECHO\r\n$120\r\n${accents}\r\n$1\r\nx\r\n`);
});

Deno.test("what encodeCommand writes decodes to the same texts, whatever they are", () => {
  const args = fc.array(
    fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme", maxLength: 300 })),
    {
      minLength: 1,
    },
  );
  fc.assert(fc.property(args, (texts) => {
    const values: Reply[] = [];
    new RespDecoder({ onReply: (value) => void values.push(value), onPush: () => {} }).feed(bytesOf(texts));
    // A lone surrogate has no UTF-8; it becomes the replacement character, as everywhere on the platform.
    assert.deepEqual(values, [texts.map((text) => text.toWellFormed())]);
  }));
});

Deno.test("numberedArgs are the arguments that the same texts would be", () => {
  const prefix = fc.stringMatching(/^[!-~]{0,12}$/);
  fc.assert(fc.property(prefix, fc.array(fc.maxSafeNat()), (start, numbers) => {
    const texts = numbers.map((number) => start + number);
    assert.deepEqual(
      bytesOf(["HDEL", numberedArgs(start, numbers), "x"]),
      bytesOf(["HDEL", ...texts, "x"]),
    );
  }));
});
