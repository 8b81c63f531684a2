import assert from "node:assert/strict";
import fc from "fast-check";
import { Outbox } from "../../../../lib/base/mod.ts";
import { AMQP_CLASSES, type AmqpField, type AmqpMethod } from "../../../../lib/wire/amqp/spec.ts";
import { decodeMethod, encodeMethod } from "../../../../lib/wire/amqp/method.ts";

const methods = AMQP_CLASSES.flatMap((one) => one.methods);

/** The payload of a method frame. */
function payload(method: AmqpMethod | string, args: Record<string, unknown> = {}, channel = 1): Uint8Array {
  const outbox = new Outbox();
  encodeMethod(outbox, channel, method, args);
  const frame = outbox.take();
  assert.equal(frame[0], 1);
  assert.equal(frame[1]! * 256 + frame[2]!, channel);
  assert.equal(frame.at(-1), 0xce);
  assert.equal(new DataView(frame.buffer, frame.byteOffset).getUint32(3), frame.length - 8);
  return frame.subarray(7, -1);
}

function valueOf(field: AmqpField): fc.Arbitrary<unknown> {
  switch (field.domain) {
    case "bit":
      return fc.boolean();
    case "octet":
      return fc.nat(255);
    case "short":
      return fc.nat(65_535);
    case "long":
      return fc.nat(2 ** 32 - 1);
    case "longlong":
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((n) => n < 2n ** 53n ? Number(n) : n);
    case "shortstr":
      return fc.string({ maxLength: 60, unit: "grapheme" }).filter((text) =>
        new TextEncoder().encode(text).length < 256
      );
    case "longstr":
      return fc.uint8Array();
    case "table":
      return fc.dictionary(fc.string({ maxLength: 10 }), fc.oneof(fc.integer(), fc.string(), fc.boolean()), {
        noNullPrototype: true,
      });
    case "timestamp":
      return fc.nat().map((seconds) => new Date(seconds * 1000));
  }
}

Deno.test("method: the table is whole and names no number twice", () => {
  assert.equal(methods.length, 66);
  assert.equal(new Set(methods.map(({ id }) => id)).size, methods.length);
  const names = new Set(methods.map(({ name }) => name));
  for (const method of methods) {
    for (const reply of method.replies) assert.ok(names.has(reply), reply);
    assert.equal(method.id, method.classId * 65536 + method.methodId);
  }
  assert.deepEqual(methods.filter((one) => one.hasContent).map(({ name }) => name), [
    "basic.publish",
    "basic.return",
    "basic.deliver",
    "basic.get-ok",
  ]);
});

Deno.test("method: each one, decode undoes encode, and every other length is refused", () => {
  for (const method of methods) {
    const args = fc.record(Object.fromEntries(method.fields.map((field) => [field.name, valueOf(field)])), {
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(args, (args) => {
        const bytes = payload(method, args, 513);
        const call = decodeMethod(bytes);
        assert.equal(call.method, method);
        assert.deepEqual(call.args, args);
        for (let cut = 0; cut < bytes.length; cut += Math.max(1, bytes.length >> 4)) {
          assert.throws(() => decodeMethod(bytes.subarray(0, cut)), { name: "ProtocolError" });
        }
        const longer = new Uint8Array(bytes.length + 1);
        longer.set(bytes);
        assert.throws(() => decodeMethod(longer), /1 bytes too many/);
      }),
      { numRuns: 15 },
    );
  }
});

Deno.test("method: the bytes that py-amqp sends", () => {
  const bytes = payload("queue.declare", {
    queue: "celery",
    durable: true,
    arguments: { "x-max-priority": 10 },
  });
  // py-amqp 5.1.1: dumps("BsbbbbbF", [0, "celery", False, True, False, False, False, {"x-max-priority": 10}]).
  assert.equal(
    bytes.toHex(),
    "0032000a" + "0000" + "0663656c657279" + "02" + "00000014" + "0e782d6d61782d7072696f72697479490000000a",
  );
});

Deno.test("method: what does not fit is refused, and the outbox holds whole frames only", () => {
  const outbox = new Outbox();
  encodeMethod(outbox, 1, "basic.ack", { "delivery-tag": 7 });
  const before = outbox.length;
  const refused: [string, Record<string, unknown>, RegExp][] = [
    ["queue.declare", { queue: "q".repeat(256) }, /queue: it has 256 bytes/],
    ["queue.declare", { queue: "ü".repeat(128) }, /queue: it has 256 bytes/],
    ["basic.qos", { "prefetch-count": 65_536 }, /prefetch-count 65536/],
    ["basic.qos", { "prefetch-count": -1 }, /prefetch-count -1/],
    ["basic.qos", { "prefetch-count": 1.5 }, /prefetch-count 1.5/],
    ["queue.declare", { arguments: { "x-ttl": () => 0 } }, /"x-ttl"/],
  ];
  for (const [name, args, pattern] of refused) {
    assert.throws(() => encodeMethod(outbox, 1, name, args), (error: Error) => {
      assert.match(error.message, pattern);
      return error.name === "EncodeError";
    });
    assert.equal(outbox.length, before);
  }
  assert.throws(() => encodeMethod(outbox, 1, "queue.declare", { qeue: "" }), TypeError);
  assert.throws(() => encodeMethod(outbox, 1, "queue.declair"), TypeError);
});

Deno.test("method: unknown methods and any bytes at all are a ProtocolError", () => {
  assert.throws(() => decodeMethod(new Uint8Array([0, 60, 0, 1])), /unknown class 60, method 1/);
  assert.throws(() => decodeMethod(new Uint8Array([0, 99, 0, 10])), /unknown class 99, method 10/);
  assert.throws(() => decodeMethod(new Uint8Array([0, 60])), { name: "ProtocolError" });
  fc.assert(
    fc.property(fc.constantFrom(...methods), fc.uint8Array({ maxLength: 100 }), (method, rest) => {
      const bytes = new Uint8Array([0, method.classId, 0, method.methodId, ...rest]);
      try {
        decodeMethod(bytes);
      } catch (error) {
        assert.equal((error as Error).name, "ProtocolError");
      }
    }),
    { numRuns: 500 },
  );
});
