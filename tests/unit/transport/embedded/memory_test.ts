import assert from "node:assert/strict";
import { connect, exchange, queue } from "../../../../lib/transport/mod.ts";
import { textMessage, textOf } from "../../../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";
import { fakeWorld } from "../../../support/fake_world.ts";

Deno.test("memory: connections to one URL share a broker, others do not", async () => {
  const world = fakeWorld();
  await using one = await connect(world, "memory://shared", CONNECT_OPTIONS);
  await using two = await connect(world, "memory://shared", CONNECT_OPTIONS);
  await using other = await connect(world, "memory://other", CONNECT_OPTIONS);
  await one.declare(queue("celery"));
  await one.publish([{ exchange: "", routingKey: "celery", message: textMessage("a") }]);
  assert.equal(await two.queueLength("celery"), 1);
  assert.equal(await other.queueLength("celery"), null);
});

Deno.test("memory: parked messages wait on the clock alone; closing leaves no timer", async () => {
  const world = fakeWorld();
  const connection = await connect(world, "memory://parked", CONNECT_OPTIONS);
  const celery = queue("celery");
  await connection.declare(celery);
  await connection.publish(["a", "b", "c"].map((text) => ({
    exchange: "",
    routingKey: "celery",
    message: textMessage(text),
  })));
  const seen: string[] = [];
  const consumer = await connection.consume({
    queues: [celery],
    window: () => 10,
    owner: "w",
    leaseSeconds: 30,
  }, {
    onDeliveries(batch) {
      for (const delivery of batch) {
        seen.push(textOf(delivery));
        if (seen.length > 3) consumer.ack(delivery.tag);
        else consumer.park(delivery.tag, world.clock.wallMs() + [86_400_000, 1000, 5000][seen.length - 1]!);
      }
    },
    onUndecodable: () => assert.fail("all are messages"),
    onLost: () => assert.fail("not lost"),
  });
  await world.clock.settle();
  assert.deepEqual(seen, ["a", "b", "c"]);
  await world.clock.advance(999);
  assert.equal(seen.length, 3);
  await world.clock.advance(3);
  assert.deepEqual(seen.slice(3), ["b"]);
  await world.clock.advance(4000);
  assert.deepEqual(seen.slice(3), ["b", "c"]);
  await world.clock.advance(86_400_000);
  assert.deepEqual(seen.slice(3), ["b", "c", "a"]);
  assert.equal(consumer.unsettled, 0);
  await connection.close();
  world.clock.checkNothingArmed();
});

Deno.test("memory: a queue bound to a fanout gets its copy, a headers exchange is refused", async () => {
  await using connection = await connect(fakeWorld(), "memory://fanout", CONNECT_OPTIONS);
  const all = exchange("all", { type: "fanout" });
  await connection.declare(queue("one", { exchange: all }));
  await connection.declare(queue("two", { exchange: all }));
  await connection.publish([{ exchange: "all", routingKey: "", message: textMessage("x") }]);
  assert.equal(textOf((await connection.take("one"))!), "x");
  assert.equal(textOf((await connection.take("two"))!), "x");
  const headers = queue("h", { exchange: exchange("h", { type: "headers" }) });
  await assert.rejects(connection.declare(headers), /needs an AMQP broker/);
});
