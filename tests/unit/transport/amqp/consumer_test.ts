/** The data lane of AMQP against a scripted server: what is acknowledged, and how much is asked for. */

import assert from "node:assert/strict";
import { connect, type Delivery, type Queue, queue } from "../../../../lib/transport/mod.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";
import { AmqpScript } from "../../../support/amqp_script.ts";
import { fakeWorld } from "../../../support/fake_world.ts";

/** A consumer whose receiving connection is a script; the one for declaring is another. */
async function setUp(
  options: { window?: number; queue?: Queue; properties?: Record<string, unknown>; detects?: boolean } = {},
) {
  const { properties } = options;
  const [control, script] = [0, 1].map(() => new AmqpScript(properties ? { properties } : {})) as [
    AmqpScript,
    AmqpScript,
  ];
  const dialers = [control.dialer(), script.dialer()];
  const world = fakeWorld({ dialer: { dial: (...args) => dialers.shift()!.dial(...args) } });
  const connection = await connect(world, "amqp://host", {
    ...CONNECT_OPTIONS,
    detectQuorumQueues: options.detects ?? true,
  });
  const state = {
    limit: options.window ?? 10,
    got: [] as Delivery[],
    batches: [] as number[],
    undecodable: [] as string[],
    lost: [] as Error[],
  };
  control.onCall = (heard) => {
    if (heard.name.endsWith(".bind") && heard.name !== "queue.bind") {
      control.say(heard.channel, `${heard.name}-ok`);
    } else control.answer(heard);
  };
  const settled = { count: 0 };
  const consumer = await connection.consume({
    queues: [options.queue ?? queue("q")],
    window: () => state.limit - (state.got.length - settled.count),
    owner: "me",
    leaseSeconds: 30,
  }, {
    onDeliveries(batch) {
      state.got.push(...batch);
      state.batches.push(batch.length);
    },
    onUndecodable: ({ reason }) => void state.undecodable.push(reason),
    onLost: (error) => void state.lost.push(error),
  });
  const ack = (...tags: number[]) => {
    for (const tag of tags) consumer.ack(tag);
    settled.count += tags.length;
  };
  const acks = () =>
    script.heard.filter(({ name }) => name === "basic.ack" || name === "basic.reject").map(({ name, args }) =>
      `${name.slice(6)} ${args["delivery-tag"]}${args["multiple"] ? " multiple" : ""}${
        args["requeue"] ? " requeue" : ""
      }`
    );
  return { control, script, world, connection, consumer, state, ack, acks };
}

Deno.test("AmqpConsumer: acks of a turn leave as one `multiple` below the oldest open delivery", async () => {
  const { script, world, connection, state, ack, acks, consumer } = await setUp();
  for (let tag = 1; tag <= 6; tag++) script.deliver(1, { tag }, `m${tag}`);
  await world.clock.settle();
  assert.equal(state.got.length, 6);
  ack(2, 1, 3);
  await world.clock.settle();
  ack(6);
  await world.clock.settle();
  ack(4);
  await world.clock.settle();
  consumer.reject(5, "requeue");
  await world.clock.settle();
  assert.deepEqual(acks(), ["ack 3 multiple", "ack 6", "ack 4", "reject 5 requeue"]);
  assert.throws(() => consumer.ack(4), { name: "AssertionError" });
  assert.equal(consumer.unsettled, 0);
  await connection.close();
});

Deno.test("AmqpConsumer: the prefetch follows the window, what comes beyond it waits unseen", async () => {
  const { script, world, connection, state, ack, consumer } = await setUp({ window: 2 });
  const counts = () => script.calls("basic.qos").map(({ args }) => [args["prefetch-count"], args["global"]]);
  assert.deepEqual(counts(), [[2, true]]);
  for (let tag = 1; tag <= 5; tag++) script.deliver(1, { tag }, `m${tag}`);
  await world.clock.settle();
  assert.deepEqual([state.got.length, consumer.unsettled], [2, 2]);
  ack(1);
  consumer.wake();
  await world.clock.settle();
  assert.deepEqual(state.got.map(({ tag }) => tag), [1, 2, 3]);
  state.limit = 100;
  consumer.wake();
  await world.clock.settle();
  assert.deepEqual(state.got.map(({ tag }) => tag), [1, 2, 3, 4, 5]);
  assert.deepEqual(counts().at(-1), [100, true]);
  await consumer.pause();
  state.limit = 0;
  await connection.close();
});

Deno.test("AmqpConsumer: a quorum queue is counted per consumer, which is started again to be changed", async () => {
  const tasks = queue("q", { queueArguments: { "x-queue-type": "quorum" } });
  const { control, script, world, connection, state, consumer } = await setUp({ window: 4, queue: tasks });
  assert.deepEqual(script.calls("basic.qos").map(({ args }) => [args["prefetch-count"], args["global"]]), [[
    4,
    false,
  ]]);
  // Delays are set up for it: 29 exchanges, 28 queues.
  assert.equal(control.calls("exchange.declare").length, 29);
  assert.equal(control.calls("queue.declare").length, 28);
  state.limit = 7;
  consumer.wake();
  await world.clock.settle();
  assert.equal(script.calls("basic.cancel").length, 0, "not worth it");
  state.limit = 16;
  consumer.wake();
  await world.clock.settle();
  assert.equal(script.calls("basic.cancel").length, 1);
  assert.deepEqual(script.calls("basic.qos").at(-1)!.args["prefetch-count"], 16);
  assert.equal(script.calls("basic.consume").length, 2);
  await connection.close();
});

Deno.test("AmqpConsumer: closing gives back what is open, before the channel goes", async () => {
  const { script, world, connection, ack, consumer } = await setUp();
  for (let tag = 1; tag <= 3; tag++) script.deliver(1, { tag }, `m${tag}`);
  await world.clock.settle();
  ack(1);
  assert.equal(await consumer.close(), 2);
  const [settled, given] = script.heard.slice(-3);
  assert.deepEqual([settled?.name, settled?.args["delivery-tag"]], ["basic.ack", 1]);
  assert.equal(given?.name, "basic.nack");
  // Tag 0 with `multiple`: everything that is open.
  const { "delivery-tag": tag, multiple, requeue } = given.args;
  assert.deepEqual([tag, multiple, requeue], [0, true, true]);
  assert.equal(script.heard.at(-1)?.name, "channel.close");
  await connection.close();
});

Deno.test("AmqpConsumer: headers that cannot be read are one message's trouble", async () => {
  const { script, world, connection, state } = await setUp();
  script.say(1, "basic.deliver", { "consumer-tag": "lovage-1", "delivery-tag": 1, "routing-key": "q" });
  // A header frame whose table holds an unknown type.
  script.raw(
    Uint8Array.fromHex("02000100000015003c00000000000000000001200000000003016b5ace"),
  );
  script.raw(new Uint8Array([3, 0, 1, 0, 0, 0, 1, 65, 0xce]));
  script.deliver(1, { tag: 2 }, "good");
  await world.clock.settle();
  assert.match(state.undecodable[0]!, /unknown type "Z"/);
  assert.deepEqual(state.got.map(({ tag }) => tag), [2]);
  await connection.close();
});

Deno.test("AmqpConsumer: cancelled by the server it declares and consumes anew", async () => {
  const { script, world, connection, state } = await setUp();
  script.say(1, "basic.cancel", { "consumer-tag": "lovage-1" });
  await world.clock.settle();
  assert.equal(script.calls("queue.declare").length, 1);
  assert.deepEqual(script.calls("basic.consume").map(({ args }) => args["consumer-tag"]), [
    "lovage-1",
    "lovage-2",
  ]);
  assert.equal(state.lost.length, 0);
  await connection.close();
});

Deno.test("AmqpConsumer: consumer_timeout loses the channel and says what to do", async () => {
  const { script, world, connection, state } = await setUp();
  script.say(1, "channel.close", {
    "reply-code": 406,
    "reply-text":
      "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms",
  });
  await world.clock.settle();
  assert.equal(state.lost.length, 1);
  assert.ok(world.log.records.some(({ message }) => /consumer_timeout/.test(message)));
  await connection.close();
});

const RABBIT_4 = { product: "RabbitMQ", version: "4.3.0" };

Deno.test("AmqpConsumer: RabbitMQ 4 and LavinMQ are never asked for a count of the channel", async () => {
  for (const properties of [RABBIT_4, { product: "LavinMQ", version: "2.4.0" }]) {
    const { script, world, connection, consumer, state } = await setUp({
      window: 4,
      properties,
      detects: false,
    });
    consumer.setPrefetch(5);
    state.limit = 16;
    consumer.wake();
    await world.clock.settle();
    await consumer.flush();
    await connection.close();
    const counts = script.calls("basic.qos").map(({ args }) => [args["prefetch-count"], args["global"]]);
    assert.deepEqual(counts, [[4, false], [16, false], [16, false]]);
  }
});

Deno.test("AmqpConsumer: what is held for long leaves room for more, also per consumer", async () => {
  const { script, world, connection, consumer, state } = await setUp({
    window: 4,
    properties: RABBIT_4,
    detects: false,
  });
  const counts = () => script.calls("basic.qos").map(({ args }) => args["prefetch-count"]);
  // Three tasks that are not due: the owner asks for as many more, but only one would come.
  for (let tag = 1; tag <= 3; tag++) script.deliver(1, { tag }, `m${tag}`);
  state.limit = 7;
  await world.clock.settle();
  assert.deepEqual(counts(), [4, 7]);
  // All are used up: the next is asked for soon, not at once.
  for (let tag = 4; tag <= 7; tag++) script.deliver(1, { tag, consumer: "lovage-2" }, `m${tag}`);
  state.limit = 8;
  await world.clock.settle();
  assert.deepEqual(counts(), [4, 7]);
  await world.clock.advance(50);
  assert.deepEqual(counts(), [4, 7, 8]);
  void consumer;
  await connection.close();
  world.clock.checkNothingArmed();
});

Deno.test("AmqpConsumer: what is given back does not reach the limit of its deliveries", async () => {
  const { control, script, world, connection, consumer, state, acks } = await setUp({
    properties: RABBIT_4,
    detects: true,
  });
  const delivered = (tag: number, count: number) =>
    script.deliver(1, { tag, redelivered: true }, `m${tag}`, { task: "t", "x-delivery-count": count });
  delivered(1, 18);
  delivered(2, 19);
  delivered(3, 20);
  script.deliver(1, { tag: 4 }, "m4", { "x-delivery-count": 99 });
  await world.clock.settle();
  // The last that its broker gives out is known to have been tried too often.
  assert.deepEqual(state.got.map(({ attempts }) => attempts), [0, 0, 20, 0]);
  consumer.reject(1, "restore");
  consumer.reject(4, "requeue");
  consumer.reject(2, "requeue");
  await world.clock.settle();
  assert.deepEqual(acks(), ["reject 4 requeue"]);
  assert.deepEqual(script.calls("basic.nack").map(({ args }) => args["delivery-tag"]), [1]);
  // A copy goes into the queue; what it was a copy of is acknowledged when the broker has it.
  const [copy] = control.calls("basic.publish");
  assert.deepEqual([copy!.args["exchange"], copy!.args["routing-key"], copy!.args["mandatory"]], [
    "",
    "q",
    true,
  ]);
  assert.equal(control.bodies.at(-1), "m2");
  control.say(copy!.channel, "basic.ack", { "delivery-tag": 1 });
  await world.clock.settle();
  assert.deepEqual(acks().at(-1), "ack 2");
  // Closing gives back too.
  const closing = consumer.close();
  await world.clock.settle();
  assert.equal(control.calls("basic.publish").length, 2);
  control.say(copy!.channel, "basic.ack", { "delivery-tag": 2 });
  assert.equal(await closing, 0);
  assert.deepEqual(acks().at(-1), "ack 3");
  await connection.close();
});

Deno.test("AmqpConsumer: a queue that deletes itself is never left without a consumer, but by a pause", async () => {
  const copies = queue("bcast.1", { durable: false, autoDelete: true });
  const { script, world, connection, consumer, state } = await setUp({
    window: 4,
    queue: copies,
    properties: { product: "LavinMQ" },
  });
  const heard = () =>
    script.heard.filter(({ name }) => /^(basic.consume|basic.cancel|queue.declare)$/.test(name)).map((
      { name },
    ) => name);
  state.limit = 16;
  consumer.wake();
  await world.clock.settle();
  assert.deepEqual(heard(), ["basic.consume", "basic.consume", "basic.cancel"]);
  // What was on its way to the old one is taken.
  await consumer.pause();
  consumer.resume();
  await world.clock.settle();
  assert.deepEqual(heard().slice(3), ["basic.cancel", "queue.declare", "basic.consume"]);
  await connection.close();
});
