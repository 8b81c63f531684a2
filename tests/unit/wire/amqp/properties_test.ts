import assert from "node:assert/strict";
import fc from "fast-check";
import { Outbox } from "../../../../lib/base/mod.ts";
import { AmqpFrameDecoder } from "../../../../lib/wire/amqp/frame.ts";
import {
  AmqpProperties,
  encodeContent,
  readContentHead,
  readProperties,
} from "../../../../lib/wire/amqp/properties.ts";
import { AmqpReader } from "../../../../lib/wire/amqp/table.ts";

/** Encodes and takes apart again: the header's payload, and the payloads of the body frames. */
function sent(properties: AmqpProperties, body: Uint8Array | string, frameMax: number) {
  const outbox = new Outbox();
  encodeContent(outbox, 7, properties, body, frameMax);
  const frames: { type: number; channel: number; payload: Uint8Array }[] = [];
  new AmqpFrameDecoder({
    onFrame: (type, channel, payload) => frames.push({ type, channel, payload: payload.slice() }),
  }).feed(outbox.take());
  assert.ok(frames.every(({ channel }) => channel === 7));
  return { head: frames[0]!, parts: frames.slice(1) };
}

function propertiesOf(values: Partial<AmqpProperties>): AmqpProperties {
  return Object.assign(new AmqpProperties(), values);
}

Deno.test("properties: the bytes of py-amqp, both ways", () => {
  const hex =
    "ff00106170706c69636174696f6e2f6a736f6e057574662d3800000015046c616e675300000002707902696453000000017802" +
    "0303636964027274053630303030";
  const properties = propertiesOf({
    contentType: "application/json",
    contentEncoding: "utf-8",
    headers: { lang: "py", id: "x" },
    deliveryMode: 2,
    priority: 3,
    correlationId: "cid",
    replyTo: "rt",
    expiration: "60000",
  });
  assert.deepEqual(readProperties(new AmqpReader(Uint8Array.fromHex(hex))), properties);
  const { head } = sent(properties, "", 4096);
  assert.equal(head.payload.toHex(), "003c0000" + "0000000000000000" + hex);
});

const text = fc.string({ maxLength: 40, unit: "grapheme" }).filter((one) =>
  new TextEncoder().encode(one).length < 256
);
const anyProperties = fc.record({
  contentType: fc.option(text),
  contentEncoding: fc.option(text),
  headers: fc.option(fc.dictionary(text, fc.oneof(fc.integer(), text, fc.boolean(), fc.constant(null)), {
    noNullPrototype: true,
  })),
  deliveryMode: fc.option(fc.nat(255)),
  priority: fc.option(fc.nat(255)),
  correlationId: fc.option(text),
  replyTo: fc.option(text),
  expiration: fc.option(text),
  messageId: fc.option(text),
  timestamp: fc.option(fc.nat().map((seconds) => new Date(seconds * 1000))),
  type: fc.option(text),
  userId: fc.option(text),
  appId: fc.option(text),
  clusterId: fc.option(text),
}).map(propertiesOf);

Deno.test("content: decode undoes encode at any frame-max, bytes and text", () => {
  const body = fc.oneof(fc.uint8Array({ maxLength: 5000 }), fc.string({ maxLength: 2000, unit: "grapheme" }));
  // Properties must fit one frame: a small one holds none.
  const way = fc.oneof(
    fc.tuple(fc.constant(new AmqpProperties()), fc.integer({ min: 22, max: 4096 })),
    fc.tuple(anyProperties, fc.constantFrom(0, 16_384, 131_072)),
  );
  fc.assert(
    fc.property(way, body, ([properties, frameMax], body) => {
      const { head, parts } = sent(properties, body, frameMax);
      assert.equal(head.type, 2);
      const { bodySize, reader } = readContentHead(head.payload);
      assert.deepEqual(readProperties(reader), properties);
      const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
      assert.equal(bodySize, bytes.length);
      for (const part of parts) {
        assert.equal(part.type, 3);
        assert.ok(part.payload.length > 0);
        if (frameMax > 0) assert.ok(part.payload.length + 8 <= frameMax);
      }
      const joined = new Uint8Array(parts.flatMap(({ payload }) => [...payload]));
      assert.deepEqual(joined, bytes);
    }),
    { numRuns: 200 },
  );
});

Deno.test("content: headers that no frame holds are refused here, not by the server", () => {
  assert.throws(() => sent(propertiesOf({ headers: { text: "x".repeat(4096) } }), "", 4096), {
    name: "EncodeError",
    message: /headers of \d+ bytes: at most 4088 fit/,
  });
});

Deno.test("content: what cannot be sent leaves nothing in the outbox", () => {
  const outbox = new Outbox();
  outbox.byte(1);
  for (
    const properties of [{ headers: { a: Symbol() } }, { correlationId: "x".repeat(300) }, { priority: 256 }]
  ) {
    assert.throws(
      () => encodeContent(outbox, 1, propertiesOf(properties as Partial<AmqpProperties>), "body", 4096),
      { name: "EncodeError" },
    );
    assert.equal(outbox.length, 1);
  }
});

Deno.test("properties: hostile bytes are a ProtocolError", () => {
  const refused = (hex: string, pattern: RegExp) =>
    assert.throws(() => readProperties(new AmqpReader(Uint8Array.fromHex(hex))), (error: Error) => {
      assert.match(error.message, pattern);
      return error.name === "ProtocolError";
    });
  refused("8000", /needed/);
  refused("800005616263", /needed/);
  refused("00018000", /beyond the 14th/);
  refused("000000", /1 bytes too many/);
  assert.throws(
    () => readContentHead(Uint8Array.fromHex("003d0000" + "0000000000000000" + "0000")),
    /class 61/,
  );
  assert.throws(
    () => readContentHead(Uint8Array.fromHex("003c0000" + "ffffffffffffffff" + "0000")),
    /content of/,
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      try {
        readProperties(new AmqpReader(bytes));
      } catch (error) {
        assert.equal((error as Error).name, "ProtocolError");
      }
    }),
    { numRuns: 500 },
  );
});
