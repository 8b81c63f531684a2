import assert from "node:assert/strict";
import fc from "fast-check";
import {
  bodyBytes,
  bodyData,
  decodeEnvelope,
  DecodeError,
  encodeBody,
  type EncodedMessage,
  encodeEnvelope,
  envelopePriority,
  fromTypedJson,
  markRedelivered,
} from "../../../../lib/wire/mod.ts";
import { golden, VERSIONS } from "../golden.ts";
import { encodedMessage, PROPERTIES } from "../../../support/messages.ts";

type Wire = { properties: Record<string, unknown>; headers: Record<string, unknown>; [key: string]: unknown };

function message(change: Partial<EncodedMessage> = {}): EncodedMessage {
  return encodedMessage({
    body: "W10=",
    bodyEncoding: "base64",
    headers: { task: "t.add" },
    properties: { ...PROPERTIES, correlationId: "c", replyTo: "r" },
    ...change,
  });
}

const route = { exchange: "", routingKey: "celery", deliveryTag: "tag" };

for (const version of VERSIONS) {
  Deno.test(`a captured envelope of ${version}, taken apart and put together, is what it was`, () => {
    const all = [
      ...golden(`redis-publish-${version}`),
      ...golden(`redis-events-${version}`),
      ...golden(`redis-pidbox-${version}`),
    ];
    for (const { raw, scenario } of all) {
      const { message, info, deliveryTag } = decodeEnvelope(raw);
      const again = encodeEnvelope(message, {
        exchange: info.exchange,
        routingKey: info.routingKey,
        deliveryTag: deliveryTag!,
      });
      assert.deepEqual(JSON.parse(again), JSON.parse(raw), scenario);
      const order = (wire: Wire): string[] => Object.keys(wire.properties).filter((key) => !EXTRA.has(key));
      assert.deepEqual(order(JSON.parse(again)), order(JSON.parse(raw)), scenario);
      assert.equal(info.redelivered, false);
    }
    assert.ok(all.length > 90);
  });
}

/** Properties that a publisher added of its own; we write them last. */
const EXTRA = new Set(["origin", "replaced_task_nesting", "hostname"]);

Deno.test("bytes go as base64, text without encoding as it is", () => {
  const bytes = new Uint8Array([0, 255, 1]);
  const packed = decodeEnvelope(encodeEnvelope(message({ body: bytes, bodyEncoding: "none" }), route));
  assert.equal(packed.message.bodyEncoding, "base64");
  assert.deepEqual(bodyBytes(packed.message), bytes);
  const text = encodeEnvelope(message({ body: '["é"]', bodyEncoding: "none" }), route);
  assert.equal((JSON.parse(text) as Wire).properties["body_encoding"], null);
  assert.equal(new TextDecoder().decode(bodyBytes(decodeEnvelope(text).message)), '["é"]');
});

Deno.test("text through base64 is UTF-8, ASCII or not", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()), (text) => {
    const made = message({ body: encodeBody(text, "base64") });
    assert.equal(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bodyBytes(made)), text);
    const data = bodyData(made);
    assert.equal(
      typeof data === "string" ? data : new TextDecoder("utf-8", { ignoreBOM: true }).decode(data),
      text,
    );
  }));
});

Deno.test("what a body claims to be cannot break the envelope", () => {
  const evil = 'x","headers":{"task":"evil"},"y":"';
  const text = encodeEnvelope(message({ body: evil }), route);
  assert.equal((JSON.parse(text) as Wire)["body"], evil);
  assert.throws(() => bodyBytes(decodeEnvelope(text).message), {
    name: "DecodeError",
    message: "Cannot decode body: invalid base64",
  });
});

Deno.test("what is missing gets kombu's defaults", () => {
  const { message, info, deliveryTag } = decodeEnvelope('{"body":"x","headers":null,"properties":{}}');
  assert.deepEqual(message, {
    body: "x",
    bodyEncoding: "none",
    contentType: "application/data",
    contentEncoding: "utf-8",
    headers: {},
    properties: PROPERTIES,
  });
  assert.deepEqual(info, { exchange: "", routingKey: "", redelivered: false });
  assert.equal(deliveryTag, null);
  const odd =
    '{"body":"","headers":[],"properties":{"delivery_info":"x","priority":"9","delivery_tag":7,"x":1}}';
  const decoded = decodeEnvelope(odd);
  assert.equal(decoded.message.properties.priority, 0);
  assert.equal(decoded.deliveryTag, "7");
  assert.deepEqual(decoded.message.properties.rest, { x: 1 });
});

Deno.test("what is no envelope gives one line", () => {
  const whole = golden("redis-publish-5.6.3")[0]!.raw;
  const bad = [
    "this is not json",
    whole.slice(0, whole.length / 2),
    "[]",
    "42",
    "null",
    '"x"',
    "",
    '{"headers":{}}',
  ];
  for (const text of bad.concat('{"body":1}', '{"body":null}', "[".repeat(100_000))) {
    for (
      const read of [
        decodeEnvelope,
        text.includes("body") || text.includes("headers") ? decodeEnvelope : markRedelivered,
      ]
    ) {
      assert.throws(() => read(text), (error: Error) => {
        assert.ok(error instanceof DecodeError, text.slice(0, 40));
        assert.match(error.message, /^Cannot decode [^\n]{5,100}$/);
        return true;
      });
    }
    assert.equal(envelopePriority(text), 0);
  }
});

Deno.test("markRedelivered sets both marks and keeps the rest to the digit", () => {
  for (const { raw } of golden("redis-publish-5.6.3")) {
    const marked = JSON.parse(markRedelivered(raw)) as Wire;
    const expected = JSON.parse(raw) as Wire;
    expected.headers["redelivered"] = true;
    (expected.properties["delivery_info"] as Record<string, unknown>)["redelivered"] = true;
    assert.deepEqual(marked, expected);
    assert.equal(decodeEnvelope(markRedelivered(raw)).info.redelivered, true);
  }
  const text = '{"body":"","headers":{"n":12345678901234567890,"d":{"__type__":"datetime","__value__":"x"}}}';
  assert.ok(
    markRedelivered(text).includes('"n":12345678901234567890,"d":{"__type__":"datetime","__value__":"x"}'),
  );
  assert.ok(markRedelivered('{"body":"","headers":null}').includes('"redelivered":true'));
});

Deno.test("envelopePriority reads the property, not a header of that name", () => {
  const made = message({ headers: { priority: 3 } });
  made.properties.priority = 9;
  assert.equal(envelopePriority(encodeEnvelope(made, route)), 9);
  assert.equal(envelopePriority('{"body":"","properties":{}}'), 0);
});

Deno.test("any header that JSON can carry comes back", () => {
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), (headers, routingKey) => {
    const text = encodeEnvelope(message({ headers }), { exchange: "x", routingKey, deliveryTag: "t" });
    assert.deepEqual(JSON.parse(text).headers, JSON.parse(JSON.stringify(headers)));
    assert.equal(decodeEnvelope(text).info.routingKey, routingKey);
  }));
});

Deno.test("an envelope of our own is read whatever its headers look like: AMQP carries any table", () => {
  const headers = { odd: { __type__: "nonsense", __value__: 1 }, at: new Date(0), big: 2n ** 63n };
  const text = encodeEnvelope(message({ headers }), route);
  assert.throws(() => decodeEnvelope(text), DecodeError);
  assert.deepEqual(decodeEnvelope(text, fromTypedJson).message.headers, headers);
});
