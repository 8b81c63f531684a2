import assert from "node:assert/strict";
import fc from "fast-check";
import { Outbox } from "../../../../lib/base/mod.ts";
import { AmqpFrameDecoder, encodeHeartbeat } from "../../../../lib/wire/amqp/frame.ts";
import { encodeMethod } from "../../../../lib/wire/amqp/method.ts";
import { AmqpProperties, encodeContent } from "../../../../lib/wire/amqp/properties.ts";

type Frame = [type: number, channel: number, payload: string];

function recorder(): { decoder: AmqpFrameDecoder; frames: Frame[] } {
  const frames: Frame[] = [];
  const decoder = new AmqpFrameDecoder({
    onFrame: (type, channel, payload) => frames.push([type, channel, payload.toHex()]),
  });
  return { decoder, frames };
}

/** A stream with every kind of frame in it. */
function stream(): Uint8Array {
  const outbox = new Outbox();
  encodeMethod(outbox, 0, "connection.tune", { "channel-max": 2047, "frame-max": 131072, heartbeat: 60 });
  encodeHeartbeat(outbox);
  encodeMethod(outbox, 258, "basic.deliver", {
    "consumer-tag": "c",
    "delivery-tag": 1,
    exchange: "",
    "routing-key": "q",
  });
  const properties = new AmqpProperties();
  properties.headers = { task: "t.add" };
  encodeContent(outbox, 258, properties, "body".repeat(40), 64);
  encodeMethod(outbox, 1, "channel.close-ok");
  return outbox.take();
}

Deno.test("frame: the same frames at every split in two, and byte by byte", () => {
  const bytes = stream();
  const whole = recorder();
  whole.decoder.feed(bytes);
  assert.ok(whole.frames.length > 5);
  for (let split = 0; split <= bytes.length; split++) {
    const { decoder, frames } = recorder();
    // A view with an offset of its own, freed at once: nothing may be kept that lies in it.
    for (const part of [bytes.subarray(0, split), bytes.subarray(split)]) {
      const buffer = new Uint8Array(part.length + 5);
      buffer.set(part, 5);
      decoder.feed(buffer.subarray(5));
      buffer.fill(0xaa);
    }
    assert.deepEqual(frames, whole.frames, `split at ${split}`);
  }
  const single = recorder();
  for (const byte of bytes) single.decoder.feed(new Uint8Array([byte]));
  assert.deepEqual(single.frames, whole.frames);
});

Deno.test("frame: any frames in any chunks", () => {
  const anyFrame = fc.tuple(fc.constantFrom(1, 2, 3, 8), fc.nat(65_535), fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(
      fc.array(anyFrame),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (all, sizes) => {
        const bytes: number[] = [];
        for (const [type, channel, payload] of all) {
          const n = payload.length;
          bytes.push(type, channel >> 8, channel & 255, 0, 0, n >> 8, n & 255, ...payload, 0xce);
        }
        const { decoder, frames } = recorder();
        const stream = new Uint8Array(bytes);
        for (let at = 0, k = 0; at < stream.length; k++) {
          const size = sizes[k % sizes.length]!;
          decoder.feed(stream.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(frames, all.map(([type, channel, payload]) => [type, channel, payload.toHex()]));
      },
    ),
  );
});

Deno.test("frame: a frame that lies is refused as soon as that shows", () => {
  const refused = (bytes: number[], pattern: RegExp) => {
    for (const step of [1, bytes.length]) {
      const { decoder } = recorder();
      assert.throws(() => {
        for (let at = 0; at < bytes.length; at += step) {
          decoder.feed(new Uint8Array(bytes.slice(at, at + step)));
        }
      }, (error: Error) => {
        assert.match(error.message, pattern);
        return error.name === "ProtocolError";
      });
    }
  };
  refused([1, 0, 0, 255, 255, 255, 255], /claims 4294967295 bytes, and at most 131072/);
  refused([1, 0, 0, 0, 2, 0, 0], /claims 131072 bytes/);
  refused([4], /unknown type 4/);
  refused([72, 84, 84, 80], /unknown type 72/);
  refused([21, 3, 3, 0, 2, 2, 70], /speaks TLS/);
  refused([8, 0, 0, 0, 0, 0, 0, 0], /does not end where it says/);
  refused([65, 77, 81, 80, 0, 0, 9, 1], /asks for version 0-9/);
  refused([65, 77, 81, 80, 3, 1, 0, 0], /asks for version 1.0 \(protocol id 3\)/);
  refused([65, 83, 75, 32, 111, 110, 101, 10], /another protocol/);
});

Deno.test("frame: the agreed size is the limit, to the byte", () => {
  const { decoder, frames } = recorder();
  decoder.setFrameMax(4096);
  const frame = new Uint8Array(4096);
  frame.set([3, 0, 1, 0, 0, (4096 - 8) >> 8, (4096 - 8) & 255]);
  frame[4095] = 0xce;
  decoder.feed(frame);
  assert.equal(frames.length, 1);
  assert.throws(
    () => decoder.feed(new Uint8Array([3, 0, 1, 0, 0, (4096 - 7) >> 8, (4096 - 7) & 255])),
    /claims 4089/,
  );
});
