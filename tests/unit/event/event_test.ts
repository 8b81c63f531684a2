import assert from "node:assert/strict";
import fc from "fast-check";
import { App, type Settings } from "../../../lib/app/mod.ts";
import { EventReader, type ReceivedEvent } from "../../../lib/event/mod.ts";
import { EVENT_BODY_MAX } from "../../../lib/event/event.ts";
import type { Note } from "../../../lib/transport/mod.ts";
import { decodeEnvelope, encodeEventText, loadSerializer, serialize } from "../../../lib/wire/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";

interface Rig {
  app: App;
  world: FakeWorld;
  read(text: string, hostname?: string): ReceivedEvent[];
  readNote(note: Note): ReceivedEvent[];
}

function rig(settings: Partial<Settings> = {}): Rig {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://", ...settings }, { world });
  const reader = new EventReader(app);
  return {
    app,
    world,
    readNote: (note) => reader.read(note),
    read(text, hostname = "w1@x") {
      const message = encodeEventText(text, hostname, { bodyEncoding: "none" });
      return reader.read({ message, info: { exchange: "celeryev", routingKey: "x", redelivered: false } });
    },
  };
}

const heartbeat = (fields: Record<string, unknown>): string =>
  JSON.stringify({
    hostname: "w1@x",
    utcoffset: 0,
    pid: 1,
    clock: 5,
    timestamp: 1,
    type: "worker-heartbeat",
    ...fields,
  });

Deno.test("EventReader: clocks are merged, a client's is ignored, a missing one is replaced by ours", () => {
  const { app, read } = rig();
  assert.equal(read(heartbeat({ clock: 41 }))[0]!.clock, 41);
  assert.equal(app.clock.value, 42);
  assert.equal(read(heartbeat({ type: "task-sent", clock: 900 }))[0]!.clock, 41);
  assert.equal(app.clock.value, 43);
  const { clock: _, ...without } = JSON.parse(heartbeat({}));
  assert.equal(read(JSON.stringify(without))[0]!.clock, 44);
  read(heartbeat({ clock: 1e300 }));
  assert.ok(app.clock.value < 100);
});

Deno.test("EventReader: a timestamp is the same in every zone", () => {
  const { world, read } = rig();
  const here = Math.floor(new Date(world.clock.wallMs()).getTimezoneOffset() / 60);
  const [event] = read(heartbeat({ utcoffset: here - 9, timestamp: 1000 }));
  assert.equal(event!.timestamp, 1000);
  assert.equal(event!.local_received, world.clock.wallMs() / 1000);
});

Deno.test("EventReader: messages that are not events are logged in one line a second", async () => {
  const { world, read } = rig();
  const bad = [
    "7",
    "null",
    "{}",
    '{"type": 5}',
    "not json",
    "[".repeat(5000),
    heartbeat({ timestamp: "x", hostname: "" }),
    heartbeat({ timestamp: 1e30 }),
    heartbeat({ timestamp: -253_402_300_800 }),
    heartbeat({ hostname: "w".repeat(256) }),
  ];
  for (const text of bad) assert.deepEqual(read(text, ""), []);
  assert.deepEqual(read(`"${"x".repeat(EVENT_BODY_MAX)}"`), []);
  assert.equal(world.log.messages().join().match(/dropped: /g)?.length, 1);
  await world.clock.advance(1001);
  read("7");
  assert.match(world.log.messages().join(), new RegExp(`\\(and ${bad.length} more like it\\)`));
  assert.deepEqual(read(`[${heartbeat({})}, 7, ${heartbeat({})}]`).length, 2);
});

Deno.test("EventReader: reads JSON and its own serializer; if events are signed, only signed ones", async () => {
  await loadSerializer("msgpack");
  const { body, contentType, contentEncoding } = serialize(JSON.parse(heartbeat({})), "msgpack");
  const plain = encodeEventText(heartbeat({}), "w1@x", { bodyEncoding: "none" });
  const info = { exchange: "celeryev", routingKey: "x", redelivered: false };
  for (
    const [event_serializer, reads] of [
      ["json", [1, 0]],
      ["msgpack", [1, 1]],
      ["auth", [0, 0]],
    ] as const
  ) {
    const { world, readNote } = rig({ event_serializer });
    const packed = { ...plain, body, contentType, contentEncoding };
    const counts = [plain, packed].map((message) => readNote({ message, info }).length);
    assert.deepEqual(counts, reads, event_serializer);
    const isRefused = /Refusing to deserialize untrusted content/.test(world.log.messages().join());
    assert.equal(isRefused, event_serializer !== "msgpack");
  }
});

Deno.test("EventReader: any text at all", () => {
  const { read } = rig();
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void read(text)));
});

Deno.test("EventReader: every event that Celery was recorded to send", async () => {
  const { read } = rig();
  for (const version of ["5.2.6", "5.6.3"]) {
    const path = new URL(`../../golden/redis-events-${version}.json`, import.meta.url);
    const { messages } = JSON.parse(await Deno.readTextFile(path)) as { messages: { raw: string }[] };
    for (const { raw } of messages) {
      const { message } = decodeEnvelope(raw) as Note;
      const text = new TextDecoder().decode(
        Uint8Array.from(atob(String(message.body)), (one) => one.charCodeAt(0)),
      );
      const events = read(text);
      const sent = [JSON.parse(text)].flat() as Record<string, unknown>[];
      assert.deepEqual(
        events.map(({ local_received: _, clock: __, ...rest }) => Object.keys(rest)),
        sent.map(({ clock: _, ...rest }) => Object.keys(rest)),
      );
    }
  }
});
