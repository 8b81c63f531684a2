/**
 * Publishing to a scripted broker that refuses: one that has no room (LavinMQ closes the channel of a publish when its
 * disk is full), and one that no longer takes the token.
 */

import assert from "node:assert/strict";
import { AccessRefused } from "../../../../lib/base/mod.ts";
import { connect, type OutgoingMessage } from "../../../../lib/transport/mod.ts";
import { textMessage } from "../../../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";
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
    "The broker accepts no messages for now: low on disk space",
    "The broker accepts messages again",
  ]);
  await connection.close();
  world.clock.checkNothingArmed();
});

Deno.test("AmqpPublisher: closed while it waits for room, it says so to its callers", async () => {
  const { script, world, connection, refuse, messages } = await setUp();
  const waiting = assert.rejects(connection.publish(messages("a")), { name: "ConnectionLost" });
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

/** A broker that takes updated secrets, and credentials that are another token each time. */
async function setUpTokens(credentials: () => Promise<unknown>) {
  const script = new AmqpScript({ properties: { product: "RabbitMQ", version: "3.12.0" } });
  const world = fakeWorld({ dialer: script.dialer() });
  const connection = await connect(world, "amqp://host", {
    ...CONNECT_OPTIONS,
    transportOptions: { credentials },
  });
  const expire = (channel: number) =>
    script.say(channel, "channel.close", {
      "reply-code": 403,
      "reply-text": "ACCESS_REFUSED - the token has expired",
      "class-id": 60,
      "method-id": 40,
    });
  const message = (text: string): OutgoingMessage => ({
    exchange: "",
    routingKey: "q",
    message: textMessage(text),
  });
  return { script, world, connection, expire, message };
}

Deno.test("AmqpPublisher: what was refused since the token had expired is sent with the next one", async () => {
  let asked = 0;
  const tokens = await setUpTokens(() => Promise.resolve({ username: "us", password: `token-${++asked}` }));
  const { script, world, connection, expire, message } = tokens;
  const publishing = connection.publish([message("a"), message("b")]);
  await world.clock.settle();
  const { channel } = script.calls("basic.publish")[0]!;
  script.say(channel, "basic.ack", { "delivery-tag": 1 });
  expire(channel);
  await world.clock.settle();
  assert.deepEqual(script.calls("connection.update-secret").map(({ args }) => args["new-secret"] + ""), [
    new TextEncoder().encode("token-2") + "",
  ]);
  // What the broker had taken is not sent again.
  assert.deepEqual(script.bodies.splice(0), ["a", "b", "b"]);
  script.say(channel, "basic.ack", { "delivery-tag": 1 });
  await publishing;
  // Refused with a token that has just been made, it may not.
  const refused = assert.rejects(connection.publish([message("c")]), AccessRefused);
  for (let time = 0; time < 2; time++) {
    await world.clock.settle();
    expire(channel);
  }
  await refused;
  assert.deepEqual(script.bodies, ["c", "c"]);
  await connection.close();
});

Deno.test("AmqpPublisher: without a new token the refusal is one that passes", async () => {
  let isAway = false;
  const tokens = await setUpTokens(() =>
    isAway ? Promise.reject(new Error("the vault is away")) : Promise.resolve({ password: "token" })
  );
  const { script, world, connection, expire, message } = tokens;
  isAway = true;
  const refused = assert.rejects(
    connection.publish([message("a")]),
    (error: Error & { isRetryable?: boolean }) =>
      error.isRetryable === true && /the vault is away/.test(error.message),
  );
  await world.clock.settle();
  expire(script.calls("basic.publish")[0]!.channel);
  await refused;
  await connection.close();
});

Deno.test("AmqpLedger: a change that was refused since the token had expired is written with the next one", async () => {
  let asked = 0;
  const tokens = await setUpTokens(() => Promise.resolve({ username: "us", password: `token-${++asked}` }));
  const { script, connection, expire } = tokens;
  let refusals = 1;
  script.onCall = (heard) => {
    const { channel, name } = heard;
    if (name === "basic.get") script.say(channel, "basic.get-empty");
    else if (name === "tx.select") script.say(channel, "tx.select-ok");
    else if (name !== "tx.commit") script.answer(heard);
    else if (refusals-- > 0) expire(channel);
    else script.say(channel, "tx.commit-ok");
  };
  const ledger = connection.ledger!;
  const { token } = await ledger.lease("beat", "us", 1000, 0);
  const entry = { key: "entry", expected: null, value: "1", message: null };
  const scope = { lease: "beat", token, namespace: "beat", leaseMs: 1000 };
  assert.deepEqual(await ledger.commit(scope, [entry]), [null]);
  assert.equal(script.calls("tx.commit").length, 2);
  assert.equal(script.calls("connection.update-secret").length, 1);
  await connection.close();
});
