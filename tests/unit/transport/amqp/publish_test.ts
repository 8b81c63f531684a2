/** Publishing to a scripted broker that has no room: LavinMQ closes the channel of a publish when its disk is full. */

import assert from "node:assert/strict";
import { connect, type OutgoingMessage } from "../../../../lib/transport/mod.ts";
import { CONNECT_OPTIONS, textMessage } from "../../../conformance/transport.ts";
import { AmqpScript } from "../../../support/amqp_script.ts";
import { fakeWorld } from "../../../support/fake_world.ts";

const LAVIN = { product: "LavinMQ", version: "2.4.0" };

async function setUp(transportOptions: Record<string, unknown> = {}) {
  const script = new AmqpScript({ properties: LAVIN });
  const world = fakeWorld({ dialer: script.dialer() });
  const connection = await connect(world, "amqp://host", { ...CONNECT_OPTIONS, transportOptions });
  /** Closes a channel as a server low on disk space does; `tags` were confirmed before. */
  const refuse = (channel: number, ...tags: number[]) => {
    for (const tag of tags) script.say(channel, "basic.ack", { "delivery-tag": tag });
    script.say(channel, "channel.close", {
      "reply-code": 406,
      "reply-text": "PRECONDITION_FAILED - Server low on disk space",
      "class-id": 60,
      "method-id": 40,
    });
  };
  const messages = (...texts: string[]): OutgoingMessage[] =>
    texts.map((text) => ({ exchange: "", routingKey: "q", message: textMessage(text) }));
  return { script, world, connection, refuse, messages };
}

Deno.test("AmqpPublisher: a broker low on disk space is waited for; what it had taken is not sent again", async () => {
  const { script, world, connection, refuse, messages } = await setUp();
  const first = connection.publish(messages("a", "b", "c"));
  await world.clock.settle();
  const { channel } = script.calls("basic.publish")[0]!;
  refuse(channel, 1);
  await world.clock.settle();
  // Others wait with it.
  const second = connection.publish(messages("d"));
  await world.clock.settle();
  assert.deepEqual(script.bodies.splice(0), ["a", "b", "c"]);
  await world.clock.advance(1000);
  assert.deepEqual(script.bodies.splice(0), ["b", "c"]);
  refuse(channel);
  await world.clock.advance(1000);
  assert.deepEqual(script.bodies.splice(0), ["d"]);
  script.say(channel, "basic.ack", { "delivery-tag": 1 });
  await second;
  await world.clock.settle();
  assert.deepEqual(script.bodies.splice(0), ["b", "c"]);
  script.say(channel, "basic.ack", { "delivery-tag": 3, multiple: true });
  await first;
  assert.deepEqual(script.bodies, []);
  assert.deepEqual(world.log.messages(), [
    "The broker takes no messages for now: low on disk space",
    "The broker takes messages again",
  ]);
  await connection.close();
  world.clock.checkNothingArmed();
});

Deno.test("AmqpPublisher: closed while it waits for room, it says so to its callers", async () => {
  const { script, world, connection, refuse, messages } = await setUp();
  const waiting = assert.rejects(connection.publish(messages("a")));
  await world.clock.settle();
  refuse(script.calls("basic.publish")[0]!.channel);
  await world.clock.settle();
  await connection.close();
  await waiting;
  world.clock.checkNothingArmed();
});

Deno.test("AmqpPublisher: without confirms the next messages wait, and the log has the broker's words", async () => {
  const { script, world, connection, refuse, messages } = await setUp({ confirm_publish: false });
  await connection.publish(messages("a"));
  refuse(script.calls("basic.publish")[0]!.channel);
  await world.clock.settle();
  const next = connection.publish(messages("b"));
  await world.clock.settle();
  assert.deepEqual(script.bodies, ["a"]);
  await world.clock.advance(1000);
  await next;
  assert.deepEqual(script.bodies, ["a", "b"]);
  assert.match(
    world.log.messages("ERROR").join(),
    /Cannot publish: PRECONDITION_FAILED - Server low on disk space/,
  );
  await connection.close();
  world.clock.checkNothingArmed();
});
