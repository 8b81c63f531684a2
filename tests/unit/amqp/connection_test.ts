import assert from "node:assert/strict";
import { AmqpConnection, type AmqpConnectionOptions } from "../../../lib/amqp/mod.ts";
import { AmqpProperties } from "../../../lib/wire/mod.ts";
import { AmqpScript } from "../../support/amqp_script.ts";
import { fakeWorld } from "../../support/fake_world.ts";

const TARGET = {
  address: { kind: "tcp", host: "rabbit", port: 5672, tls: null } as const,
  virtualHost: "shop",
  username: "us",
  password: "se:cret",
};

function setUp(script = new AmqpScript(), more: Partial<AmqpConnectionOptions> = {}) {
  const world = fakeWorld({ dialer: script.dialer() });
  const open = () =>
    AmqpConnection.open(world, TARGET, {
      timeoutMs: 4000,
      heartbeatSeconds: 0,
      loginMethod: null,
      clientName: "test",
      ...more,
    });
  return { script, world, open };
}

Deno.test("AmqpConnection: logs in by PLAIN, agrees on the smaller limits, opens the virtual host", async () => {
  const { script, world, open } = setUp(new AmqpScript({ heartbeat: 30 }), { heartbeatSeconds: 120 });
  const connection = await open();
  const [startOk] = script.calls("connection.start-ok");
  assert.equal(startOk!.args["mechanism"], "PLAIN");
  assert.deepEqual(startOk!.args["response"], new TextEncoder().encode("\0us\0se:cret"));
  const properties = startOk!.args["client-properties"] as Record<string, unknown>;
  assert.equal(properties["connection_name"], "test");
  assert.equal((properties["capabilities"] as Record<string, unknown>)["consumer_cancel_notify"], true);
  assert.deepEqual(script.calls("connection.tune-ok")[0]!.args, {
    "channel-max": 2047,
    "frame-max": 131_072,
    heartbeat: 30,
  });
  assert.equal(script.calls("connection.open")[0]!.args["virtual-host"], "shop");
  await connection.close();
  await connection.close();
  assert.equal(await connection.lost, null);
  assert.equal(script.calls("connection.close").length, 1);
  world.clock.checkNothingArmed();
});

Deno.test("AmqpConnection: other login methods, and those that cannot be", async () => {
  for (const [method, expected] of [["AMQPLAIN", "054c4f47494e53"], ["external", ""]] as const) {
    const { script, open } = setUp(new AmqpScript(), { loginMethod: method });
    await (await open()).close();
    const { mechanism, response } = script.calls("connection.start-ok")[0]!.args;
    assert.equal(mechanism, method.toUpperCase());
    assert.ok((response as Uint8Array).toHex().startsWith(expected));
  }
  const { open, world } = setUp(new AmqpScript(), { loginMethod: "GSSAPI" });
  await assert.rejects(open(), { name: "UsageError", message: /PLAIN, AMQPLAIN, EXTERNAL/ });
  world.clock.checkNothingArmed();
});

Deno.test("AmqpConnection: a server that refuses says so in words, and never shows the password", async () => {
  for (
    const [code, text, name] of [
      [403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN", "AccessRefused"],
      [530, "NOT_ALLOWED - vhost shop not found", "AccessRefused"],
      [320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", "ConnectionLost"],
      [541, "", "ConnectionLost"],
    ] as const
  ) {
    const script = new AmqpScript();
    script.onCall = (heard) => {
      if (heard.name !== "connection.open") return script.answer(heard);
      script.say(0, "connection.close", { "reply-code": code, "reply-text": text });
    };
    await assert.rejects(setUp(script).open(), (error: Error) => {
      assert.equal(error.name, name);
      assert.match(error.message, new RegExp(`\\(${code}\\)`));
      assert.ok(!error.message.includes("cret"));
      return true;
    });
    assert.equal(script.calls("connection.close-ok").length, 1);
  }
});

Deno.test("AmqpConnection: a silent server, and one that hangs up, end the login", async () => {
  const silent = new AmqpScript();
  silent.onCall = () => {};
  const first = setUp(silent);
  const opening = assert.rejects(first.open(), { name: "ConnectionLost", message: /no answer in 4 s/ });
  await first.world.clock.advance(4000);
  await opening;
  first.world.clock.checkNothingArmed();
  const rude = new AmqpScript();
  rude.onCall = () => rude.hangUp();
  await assert.rejects(setUp(rude).open(), { name: "ConnectionLost", message: /the server closed it/ });
});

Deno.test("AmqpConnection: heartbeats both ways; silence of two intervals is death", async () => {
  const { script, world, open } = setUp(new AmqpScript({ heartbeat: 10 }), { heartbeatSeconds: 10 });
  const connection = await open();
  for (let second = 0; second < 60; second += 5) {
    await world.clock.advance(5000);
    script.beat();
  }
  await world.clock.settle();
  assert.equal(connection.isLost, false);
  assert.ok(script.heartbeats >= 10, `${script.heartbeats} heartbeats`);
  await world.clock.advance(25_000);
  const error = await connection.lost;
  assert.match(error!.message, /no heartbeat in 20 s/);
  world.clock.checkNothingArmed();
});

Deno.test("AmqpConnection: without heartbeats an open answer has its time", async () => {
  const { script, world, open } = setUp(undefined, { replyTimeoutMs: 8000 });
  const connection = await open();
  const channel = await connection.openChannel();
  await world.clock.advance(100_000);
  assert.equal(connection.isLost, false, "nothing was asked");
  script.onCall = () => {};
  const asked = channel.call("queue.declare", { queue: "q" }, "declare").catch((error: Error) =>
    error.message
  );
  await world.clock.advance(12_000);
  assert.match(String(await asked), /no answer in 8 s/);
  world.clock.checkNothingArmed();
});

Deno.test("AmqpConnection: blocked holds publishers and is told; unblocked lets them go", async () => {
  const told: (string | null)[] = [];
  const { script, world, open } = setUp(undefined, { onBlocked: (reason) => told.push(reason) });
  const connection = await open();
  script.say(0, "connection.blocked", { reason: "low on memory" });
  await world.clock.settle();
  assert.equal(connection.blockedReason, "low on memory");
  let isFree = false;
  const waiting = connection.unblocked().then(() => isFree = true);
  await world.clock.settle();
  assert.equal(isFree, false);
  script.say(0, "connection.unblocked");
  await waiting;
  assert.deepEqual(told, ["low on memory", null]);
  script.say(0, "connection.blocked", { reason: "again" });
  await world.clock.settle();
  const refused = assert.rejects(connection.unblocked(), { name: "ConnectionLost" });
  await connection.close();
  await refused;
});

Deno.test("AmqpChannel: an error ends the channel, not the connection, and blames the right call", async () => {
  const { script, open } = setUp();
  const connection = await open();
  const [bad, good] = [await connection.openChannel(), await connection.openChannel()];
  script.onCall = (heard) => {
    if (heard.name !== "queue.declare" || heard.channel !== bad.id) return script.answer(heard);
    script.say(bad.id, "channel.close", {
      "reply-code": 406,
      "reply-text": "PRECONDITION_FAILED - inequivalent arg 'durable'",
      "class-id": 50,
      "method-id": 10,
    });
  };
  const lost: Error[] = [];
  bad.onLost = (error) => lost.push(error);
  const doing = 'declare queue "q"';
  await assert.rejects(bad.call("queue.declare", { queue: "q" }, doing), {
    name: "ServerError",
    code: "406",
    message: `Cannot declare queue "q": PRECONDITION_FAILED - inequivalent arg 'durable' (406)`,
  });
  assert.equal(lost.length, 1);
  assert.equal(bad.isLost, true);
  assert.throws(
    () => bad.publish({ exchange: "", routingKey: "q", mandatory: false }, new AmqpProperties(), "x"),
    { name: "ServerError" },
  );
  await good.call("queue.declare", { queue: "q" }, doing);
  const again = await connection.openChannel();
  assert.equal(again.id, bad.id, "its number is free");
  await connection.close();
});

Deno.test("AmqpChannel: of several calls that wait, the one whose queue the server names is to blame", async () => {
  const { script, open } = setUp();
  const channel = await (await open()).openChannel();
  script.onCall = (heard) => {
    if (heard.name !== "basic.consume") return script.answer(heard);
    if (heard.args["queue"] !== "b") return;
    script.say(channel.id, "channel.close", {
      "reply-code": 403,
      "reply-text": "ACCESS_REFUSED - access to queue 'b' in vhost '/' refused for user 'kim'",
      "class-id": 60,
      "method-id": 20,
    });
  };
  const sink = { onMessage() {}, onCancelled() {} };
  const message = /^Cannot consume from queue "b": ACCESS_REFUSED/;
  const refused = ["a", "b"].map((name) => assert.rejects(channel.consume(name, {}, sink), { message }));
  await Promise.all(refused);
});

Deno.test("AmqpChannel: confirms settle by range; a nack and a lost channel reach the batch", async () => {
  const { script, world, open } = setUp();
  const connection = await open();
  const channel = await connection.openChannel();
  await channel.selectConfirms();
  const ended: string[] = [];
  const expect = (count: number) => {
    const first = channel.confirms.next;
    for (let n = 0; n < count; n++) {
      channel.publish(
        { exchange: "", routingKey: "q", mandatory: false },
        new AmqpProperties(),
        `m${first + n}`,
      );
    }
    const refused: number[] = [];
    channel.confirms.expect({
      first,
      last: first + count - 1,
      refused,
      onSettled: () => ended.push(`${first}-${first + count - 1} ${refused}`),
      onLost: (error) => ended.push(`${first} ${error.message}`),
    });
  };
  expect(3);
  expect(2);
  expect(4);
  await world.clock.settle();
  assert.deepEqual(script.bodies, ["m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"]);
  script.say(channel.id, "basic.ack", { "delivery-tag": 3 });
  script.say(channel.id, "basic.ack", { "delivery-tag": 1 });
  script.say(channel.id, "basic.nack", { "delivery-tag": 4 });
  await world.clock.settle();
  assert.deepEqual(ended, []);
  assert.equal(channel.confirms.open, 6);
  script.say(channel.id, "basic.ack", { "delivery-tag": 5, multiple: true });
  await world.clock.settle();
  assert.deepEqual(ended, ["1-3 ", "4-5 4"]);
  script.say(channel.id, "channel.close", { "reply-code": 404, "reply-text": "NOT_FOUND - no exchange 'x'" });
  await world.clock.settle();
  assert.match(ended[2]!, /^6 .*NOT_FOUND - no exchange 'x' \(404\)$/);
  await connection.close();
});

Deno.test("AmqpChannel: the server's cancel reaches the consumer; messages of any frame size arrive whole", async () => {
  const { script, world, open } = setUp();
  const connection = await open();
  const channel = await connection.openChannel();
  const got: string[] = [];
  let cancelled = 0;
  const tag = await channel.consume("q", {}, {
    onMessage: ({ body }) => got.push(typeof body === "string" ? body : new TextDecoder().decode(body)),
    onCancelled: () => cancelled++,
  });
  const large = "ü".repeat(10_000);
  script.deliver(channel.id, { tag: 1, consumer: tag }, large);
  script.deliver(channel.id, { tag: 2, consumer: tag }, "");
  script.deliver(channel.id, { tag: 3, consumer: tag }, "three");
  script.say(channel.id, "basic.cancel", { "consumer-tag": tag });
  await world.clock.settle();
  assert.deepEqual(got, [large, "", "three"]);
  assert.equal(cancelled, 1);
  assert.equal(script.calls("basic.cancel-ok").length, 1);
  await channel.cancel(tag);
  assert.equal(script.calls("basic.cancel").length, 0, "there is nothing left to cancel");
  await connection.close();
});

Deno.test("AmqpChannel: short JSON in ASCII comes as its text, everything else as its bytes", async () => {
  const { script, world, open } = setUp();
  const connection = await open();
  const channel = await connection.openChannel();
  const got: (Uint8Array | string)[] = [];
  await channel.consume("q", { tag: "c" }, {
    onMessage: ({ body }) => got.push(body),
    onCancelled: () => {},
  });
  const json = { contentType: "application/json", contentEncoding: "utf-8" };
  const sent: [body: string, properties: Partial<AmqpProperties>][] = [
    ['[[1], {}, {"chord": null}]', json],
    ["{not JSON, but ASCII", json],
    ['["ü"]', json],
    [`["${"x".repeat(300)}"]`, json],
    ["[1]", { ...json, contentEncoding: "binary" }],
    ["[1]", { ...json, contentEncoding: null }],
    ["[1]", { ...json, contentType: "application/data" }],
    ["[1]", {}],
  ];
  sent.forEach(([body, properties], n) =>
    script.deliver(channel.id, { tag: n + 1, consumer: "c" }, body, {}, properties)
  );
  await world.clock.settle();
  assert.deepEqual(got, sent.map(([body], n) => n < 2 ? body : new TextEncoder().encode(body)));
  await connection.close();
});

Deno.test("AmqpConnection: what breaks the protocol ends the connection with one line", async () => {
  const hostile: [string, (script: AmqpScript, channel: number) => void, RegExp][] = [
    ["garbage", (script) => script.raw(new Uint8Array([71, 69, 84])), /unknown type 71/],
    [
      "a lying size",
      (script) => script.raw(new Uint8Array([1, 0, 1, 255, 255, 255, 255])),
      /claims 4294967295/,
    ],
    ["an unknown channel", (script) => script.say(9, "basic.qos-ok"), /channel 9: it is not open/],
    ["an answer to nothing", (script, id) => script.say(id, "queue.purge-ok"), /answers no open request/],
    [
      "an unknown method",
      (script) => script.raw(new Uint8Array([1, 0, 0, 0, 0, 0, 4, 0, 99, 0, 9, 206])),
      /class 99/,
    ],
    [
      "a body out of turn",
      (script, id) => script.raw(new Uint8Array([3, 0, id, 0, 0, 0, 1, 65, 206])),
      /out of turn/,
    ],
    [
      "a method within a message",
      (script, id) => {
        script.say(id, "basic.deliver", { "consumer-tag": "c", "delivery-tag": 1 });
        script.say(id, "basic.qos-ok");
      },
      /content of a message was expected/,
    ],
  ];
  for (const [what, attack, pattern] of hostile) {
    const { script, world, open } = setUp();
    const connection = await open();
    const channel = await connection.openChannel();
    attack(script, channel.id);
    await world.clock.settle();
    const error = await connection.lost;
    assert.equal(error?.name, "ProtocolError", what);
    assert.match(error!.message, pattern);
    await assert.rejects(connection.openChannel(), { name: "ProtocolError" });
    world.clock.checkNothingArmed();
  }
});

Deno.test("AmqpConnection.updateSecret: a new password on the open connection, where the server knows that", async () => {
  const taking = setUp(new AmqpScript({ properties: { product: "RabbitMQ", version: "3.10.8" } }));
  const connection = await taking.open();
  await connection.updateSecret("n\u00e9w");
  const [told] = taking.script.calls("connection.update-secret");
  assert.deepEqual(told!.args["new-secret"], new TextEncoder().encode("n\u00e9w"));
  // A server that refuses it ends the connection, and the waiting with it.
  taking.script.onCall = ({ name }) => {
    if (name !== "connection.update-secret") return;
    taking.script.say(0, "connection.close", {
      "reply-code": 530,
      "reply-text": "NOT_ALLOWED - New secret was refused",
    });
  };
  await assert.rejects(connection.updateSecret("worse"), {
    name: "AccessRefused",
    message: /was refused \(530\)/,
  });
  await assert.rejects(connection.updateSecret("worse"), { name: "AccessRefused" });
  for (
    const properties of [{ product: "RabbitMQ", version: "3.7.28" }, { product: "LavinMQ", version: "2.4.0" }]
  ) {
    const { script, open } = setUp(new AmqpScript({ properties }));
    await using ignoring = await open();
    await ignoring.updateSecret("new");
    assert.equal(script.calls("connection.update-secret").length, 0);
  }
  // LavinMQ takes tokens, and would end the connection of a user with a password.
  const lavin = setUp(new AmqpScript({ properties: { product: "LavinMQ", version: "2.4.0" } }));
  await using tokened = await lavin.open();
  await tokened.updateSecret("e30.e30.c2ln");
  assert.equal(lavin.script.calls("connection.update-secret").length, 1);
  // Closed while the answer is waited for.
  const closing = setUp(new AmqpScript({ properties: { product: "RabbitMQ", version: "4.3.0" } }));
  const closed = await closing.open();
  closing.script.onCall = (heard) => heard.name.endsWith("secret") ? undefined : closing.script.answer(heard);
  const waiting = assert.rejects(closed.updateSecret("new"), { name: "ConnectionLost" });
  await closed.close();
  await waiting;
  closing.world.clock.checkNothingArmed();
});
