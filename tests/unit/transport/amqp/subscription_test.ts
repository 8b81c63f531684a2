/** Subscriptions on scripted brokers: what is acknowledged, what stays, and what becomes of one whose channel is closed. */

import assert from "node:assert/strict";
import { AccessRefused, ConnectionLost, type Dialer } from "../../../../lib/base/mod.ts";
import { connect, queue } from "../../../../lib/transport/mod.ts";
import { bodyText } from "../../../../lib/transport/amqp/message.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";
import { AmqpScript } from "../../../support/amqp_script.ts";
import { fakeWorld } from "../../../support/fake_world.ts";

const REFUSED = { "reply-code": 403, "reply-text": "ACCESS_REFUSED - the token has expired" };
const QUEUE_DECLARE = { "class-id": 50, "method-id": 10 };

/** Two connections, one for sending and one for receiving; `results` is a queue of the kind that lasts. */
async function setUp(transportOptions: Record<string, unknown> = {}) {
  const [main, receiving] = [new AmqpScript(), new AmqpScript()];
  const dialers = [main.dialer(), receiving.dialer()];
  const dialer: Dialer = { dial: (...args) => dialers.shift()!.dial(...args) };
  const world = fakeWorld({ dialer });
  const connection = await connect(world, "amqp://host", { ...CONNECT_OPTIONS, transportOptions });
  const results = queue("results", {
    exchange: { name: "", type: "direct", durable: true, autoDelete: false, arguments: {} },
    autoDelete: true,
    queueArguments: { "x-expires": 60_000 },
  });
  receiving.onCall = (heard) => {
    receiving.answer(heard);
    if (heard.name === "queue.delete") {
      receiving.say(heard.channel, "queue.delete-ok", { "message-count": 0 });
    }
  };
  return { main, receiving, world, connection, results };
}

Deno.test("AmqpSubscription: with acknowledgements the queue outlives the connection, and goes on close", async () => {
  const { receiving, world, connection, results } = await setUp();
  const told: string[] = [];
  const subscription = await connection.subscribe(results, ({ message }) => {
    // Acknowledged before it was heard, it would be lost with us.
    assert.deepEqual(receiving.calls("basic.ack").slice(told.length), []);
    told.push(bodyText(message.body as Uint8Array));
  });
  const { args } = receiving.calls("queue.declare")[0]!;
  assert.deepEqual(
    [args["auto-delete"], args["arguments"]],
    [false, { "x-expires": 60_000, "x-queue-type": "classic" }],
  );
  const { channel, args: { "consumer-tag": consumer, "no-ack": noAck } } = receiving.calls(
    "basic.consume",
  )[0]!;
  assert.equal(noAck, false);
  receiving.deliver(channel, { tag: 1, consumer: consumer as string }, "one");
  await world.clock.settle();
  receiving.deliver(channel, { tag: 2, consumer: consumer as string }, "two");
  await world.clock.settle();
  assert.deepEqual(told, ["one", "two"]);
  assert.deepEqual(receiving.calls("basic.ack").map((call) => call.args["delivery-tag"]), [1, 2]);
  await subscription.close();
  assert.deepEqual(receiving.calls("queue.delete").map((call) => call.args["queue"]), ["results"]);
  await connection.close();
});

Deno.test("AmqpSubscription: without, the broker forgets what it has sent, and the queue with its consumer", async () => {
  const { receiving, connection, results } = await setUp();
  const subscription = await connection.subscribe({ ...results, noAck: true }, () => {});
  assert.equal(receiving.calls("queue.declare")[0]!.args["auto-delete"], true);
  assert.equal(receiving.calls("basic.consume")[0]!.args["no-ack"], true);
  await subscription.close();
  assert.deepEqual(receiving.calls("queue.delete"), []);
  await connection.close();
});

Deno.test("AmqpSubscription: a channel that the broker closes is the end of the connection, not of hearing", async () => {
  const { receiving, world, connection, results } = await setUp();
  await connection.subscribe(results, () => {});
  receiving.say(receiving.calls("basic.consume")[0]!.channel, "channel.close", {
    ...REFUSED,
    "class-id": 0,
    "method-id": 0,
  });
  const lost = await connection.lost;
  assert.ok(lost instanceof ConnectionLost && lost.isRetryable);
  assert.match(lost.message, /Lost the subscription to queue "results": .*the token has expired/);
  await world.clock.settle();
  await assert.rejects(connection.subscribe(results, () => {}), (error) => error === lost);
});

Deno.test("AmqpSubscription: refused when its queue was deleted under it, it ends the connection too", async () => {
  const { receiving, connection, results } = await setUp();
  await connection.subscribe(results, () => {});
  const { channel, args } = receiving.calls("basic.consume")[0]!;
  receiving.onCall = (heard) =>
    heard.name === "queue.declare"
      ? receiving.say(channel, "channel.close", { ...REFUSED, ...QUEUE_DECLARE })
      : receiving.answer(heard);
  receiving.say(channel, "basic.cancel", { "consumer-tag": args["consumer-tag"], nowait: true });
  assert.match((await connection.lost)!.message, /Lost the subscription/);
});

Deno.test("connectAmqp: lost while its second socket was dialled, it does not open it: nobody would hear of its end", async () => {
  const [main, receiving] = [new AmqpScript(), new AmqpScript()];
  const dialled = Promise.withResolvers<void>();
  const dialers = [main.dialer(), receiving.dialer()];
  const dialer: Dialer = {
    dial: async (...args) => {
      if (dialers.length === 1) await dialled.promise;
      return await dialers.shift()!.dial(...args);
    },
  };
  const world = fakeWorld({ dialer });
  const connection = await connect(world, "amqp://host", CONNECT_OPTIONS);
  const subscribing = assert.rejects(connection.subscribe(queue("q"), () => {}), ConnectionLost);
  main.hangUp();
  await connection.lost;
  dialled.resolve();
  await subscribing;
  await world.clock.settle();
  assert.deepEqual([receiving.calls("channel.open"), receiving.isClosed], [[], true]);
});

Deno.test("connectAmqp: what an expired token could not do is done with the next one; once", async () => {
  let asked = 0;
  const credentials = () => Promise.resolve({ username: "us", password: `token-${++asked}` });
  const { receiving, connection, results } = await setUp({ credentials });
  let refusals = 1;
  const { onCall } = receiving;
  receiving.onCall = (heard) => {
    if (heard.name !== "queue.declare" || refusals-- <= 0) return onCall(heard);
    receiving.say(heard.channel, "channel.close", { ...REFUSED, ...QUEUE_DECLARE });
  };
  await connection.subscribe(results, () => {});
  assert.equal(receiving.calls("queue.declare").length, 2);
  refusals = 9;
  await assert.rejects(connection.subscribe(results, () => {}), AccessRefused);
  assert.equal(receiving.calls("queue.declare").length, 4);
  await connection.close();
});
