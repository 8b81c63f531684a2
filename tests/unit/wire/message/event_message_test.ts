import assert from "node:assert/strict";
import {
  acceptedTypes,
  decodeEnvelope,
  DecodeError,
  decodeEvents,
  encodeEnvelope,
  encodeEvent,
  encodeEvents,
  eventRoutingKey,
  TASK_MULTI,
} from "../../../../lib/wire/mod.ts";
import { golden, VERSIONS } from "../golden.ts";
import { encodedMessage } from "../../../support/messages.ts";

const ACCEPT = acceptedTypes(["json"]);

for (const version of VERSIONS) {
  Deno.test(`every event of Celery ${version}, read and published by us, is the same message`, () => {
    const types = new Set<string>();
    for (const { raw, channel } of golden(`redis-events-${version}`)) {
      const { message, info, deliveryTag } = decodeEnvelope(raw);
      const events = decodeEvents(message, ACCEPT);
      const theirs = JSON.parse(raw);
      const isMany = Array.isArray(JSON.parse(atob(theirs.body)));
      const made = isMany
        ? encodeEvents(events, { bodyEncoding: "base64" })
        : encodeEvent(events[0]!, { bodyEncoding: "base64" });
      const ours = JSON.parse(encodeEnvelope(made, { ...info, deliveryTag: deliveryTag! }));
      const [body, theirBody] = [JSON.parse(atob(ours.body)), JSON.parse(atob(theirs.body))];
      assert.deepEqual(body, theirBody);
      const first = isMany ? 0 : null;
      const keys = (value: Record<string, unknown>): string[] => Object.keys(value);
      assert.deepEqual(
        keys(first === null ? body : body[0]),
        keys(first === null ? theirBody : theirBody[0]),
      );
      assert.deepEqual({ ...ours, body: "" }, { ...theirs, body: "" });
      const key = isMany ? TASK_MULTI : eventRoutingKey(events[0]!.type);
      assert.equal(channel, `/0.celeryev/${key}`);
      for (const event of events) types.add(event.type);
    }
    assert.ok(types.size >= 10, [...types].join());
  });
}

Deno.test("an array keeps its good events; a message without any is refused", () => {
  const events = decodeEvents(
    message('[{"type":"task-sent"},1,{"no":"type"},{"type":"x","pid":"y","a":1}]'),
    ACCEPT,
  );
  assert.deepEqual(events.map((event) => event.type), ["task-sent", "x"]);
  assert.deepEqual(events[1], {
    type: "x",
    hostname: "",
    utcOffset: 0,
    pid: 0,
    clock: 0,
    timestamp: 0,
    fields: { a: 1 },
  });
  assert.deepEqual(decodeEvents(message("[]"), ACCEPT), []);
  for (const body of ["[1]", "{}", "42", "null"]) {
    assert.throws(() => decodeEvents(message(body), ACCEPT), DecodeError);
  }
});

const message = (body: string) => encodedMessage({ body, headers: {} });
