import assert from "node:assert/strict";
import { ConnectionLost, ServerError, UsageError } from "../../../../lib/base/mod.ts";
import { exchange, type Queue, queue } from "../../../../lib/transport/entity.ts";
import { AmqpServer } from "../../../../lib/transport/amqp/server.ts";

const rabbit = (version: string) => new AmqpServer({ product: "RabbitMQ", version });
const LAVIN = new AmqpServer({ product: "LavinMQ", version: "2.4.0" });
const typed = (type: string, more: Record<string, unknown> = {}) =>
  queue("q", { queueArguments: { "x-queue-type": type, ...more } });
const limited = (max: number, more: Record<string, unknown> = {}) =>
  queue("q", { queueArguments: { "x-max-priority": max, ...more } });
const box = (more: Partial<Queue> = {}) =>
  queue("w@h.celery.pidbox", {
    exchange: exchange("celery.pidbox", { type: "fanout", durable: false }),
    durable: false,
    autoDelete: true,
    isPersonal: true,
    ...more,
  });

Deno.test("AmqpServer: which brokers count per consumer and have personal queues exclusive", () => {
  const cases: [AmqpServer, boolean][] = [
    [rabbit("3.10.8"), false],
    [rabbit("3.13.7"), false],
    [rabbit("4.0.0"), true],
    [rabbit("4.3.0+rc.1"), true],
    [rabbit("10.0"), true],
    [LAVIN, true],
    [new AmqpServer({ product: "Qpid", version: "9.0" }), false],
    [new AmqpServer({}), false],
  ];
  for (const [server, isNew] of cases) {
    assert.equal(server.countsPerConsumer, isNew);
    assert.equal(server.shaped(box()).exclusive, isNew);
    assert.equal(server.shaped(box({ durable: true })).exclusive, false);
    assert.equal(server.shaped(box({ isPersonal: false })).exclusive, false);
    assert.equal(server.shaped(box({ isPersonal: false, exclusive: true })).exclusive, true);
  }
});

Deno.test("AmqpServer.mayBeQuorum: by its type, and on RabbitMQ 4 where it names none", () => {
  assert.equal(rabbit("3.10.8").mayBeQuorum(queue("q")), false);
  assert.equal(rabbit("3.10.8").mayBeQuorum(typed("quorum")), true);
  assert.equal(LAVIN.mayBeQuorum(queue("q")), false);
  const four = rabbit("4.2.1");
  assert.equal(four.mayBeQuorum(queue("q")), true);
  assert.equal(four.mayBeQuorum(typed("classic")), false);
  for (const more of [{ durable: false }, { exclusive: true }, { autoDelete: true }]) {
    assert.equal(four.mayBeQuorum(queue("q", more)), false);
  }
});

Deno.test("AmqpServer.deliveryLimit: what the queue says, else 20 from RabbitMQ 4.0 on", () => {
  assert.equal(rabbit("3.13.0").deliveryLimit(typed("quorum")), Infinity);
  assert.equal(rabbit("3.13.0").deliveryLimit(typed("quorum", { "x-delivery-limit": 3 })), 3);
  assert.equal(rabbit("4.0.0").deliveryLimit(queue("q")), 20);
  assert.equal(rabbit("4.0.0").deliveryLimit(typed("quorum", { "x-delivery-limit": -1 })), Infinity);
  assert.equal(rabbit("4.0.0").deliveryLimit(typed("classic")), Infinity);
});

Deno.test("AmqpServer.shaped: priorities as each version takes them", () => {
  const args = (server: AmqpServer, one: Queue) => server.shaped(one).queueArguments;
  assert.deepEqual(args(rabbit("3.10.8"), limited(10)), { "x-max-priority": 10 });
  // A quorum queue has two of its own; a queue without a type would be one in a virtual host of quorum queues.
  assert.deepEqual(args(rabbit("4.2.0"), limited(10, { "x-queue-type": "quorum" })), {
    "x-queue-type": "quorum",
  });
  assert.deepEqual(args(rabbit("4.2.0"), limited(10)), { "x-max-priority": 10, "x-queue-type": "classic" });
  assert.deepEqual(args(rabbit("4.3.0"), limited(10)), { "x-max-priority": 10 });
  const quorum = { "x-queue-type": "quorum" };
  assert.deepEqual(args(rabbit("4.3.0"), limited(10, quorum)), { "x-max-priority": 10, ...quorum });
  assert.deepEqual(args(rabbit("4.3.0"), limited(255, quorum)), { "x-max-priority": 31, ...quorum });
  const plain = queue("q");
  assert.equal(rabbit("4.3.0").shaped(plain), plain);
});

Deno.test("AmqpServer.refused: the broker's words, and what to change", () => {
  const server = rabbit("4.3.0");
  const words =
    "Feature `transient_nonexcl_queues` is deprecated. By default, this feature is not permitted anymore. " +
    "The feature will be removed from a future major RabbitMQ version, regardless of the configuration; To...";
  const closed = new ConnectionLost(`Lost the connection to rabbit:5672: INTERNAL_ERROR - ${words} (541)`);
  const said =
    "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated. By default, this feature is not " +
    "permitted anymore (541)";
  const message = (one: Queue, error: Error) => {
    const told = server.refused(one, error);
    assert.ok(told instanceof UsageError);
    return told.message;
  };
  assert.equal(
    message(box({ isPersonal: false }), closed),
    `Cannot declare queue "w@h.celery.pidbox": ${said}; set control_queue_exclusive to true`,
  );
  const events = queue("celeryev.1", { exchange: exchange("celeryev", { type: "topic" }), durable: false });
  assert.match(message(events, closed), /; set event_queue_exclusive to true$/);
  assert.match(message(queue("mine", { durable: false }), closed), /; let it be durable, or exclusive$/);
  const old = queue("old", {
    queueArguments: { "x-queue-mode": "lazy", "x-queue-version": 1, "x-expires": 1 },
  });
  const invalid = new ServerError('Cannot declare queue "old": PRECONDITION_FAILED - invalid arg (406)', {
    code: "406",
  });
  assert.equal(
    message(old, invalid),
    'Cannot declare queue "old": PRECONDITION_FAILED - invalid arg (406); remove "x-queue-mode" and ' +
      '"x-queue-version": 1 from its queue_arguments',
  );
  // What has nothing to do with it stays as it is.
  for (
    const [one, error] of [
      [queue("q"), invalid],
      [queue("q", { queueArguments: { "x-queue-version": 2 } }), invalid],
      [box(), closed],
      [old, new Error("odd")],
    ] as const
  ) assert.equal(server.refused(one, error), error);
  assert.equal(rabbit("3.10.8").refused(old, invalid), invalid);
});
