// Goal: what conformance cannot see: the keys as kombu writes them, waking without polling, what happens on old or
// restricted servers, and what of Python's we restore.
import assert from "node:assert/strict";
import type { World } from "../../../../lib/base/mod.ts";
import { realDialer } from "../../../../lib/net/mod.ts";
import {
  type Connection,
  type Consumer,
  type Delivery,
  exchange,
  type Queue,
  queue,
} from "../../../../lib/transport/mod.ts";
import { connectRedis } from "../../../../lib/transport/redis/redis.ts";
import { readUnacked } from "../../../../lib/transport/redis/envelope.ts";
import { serverStartMs } from "../../../../lib/transport/redis/lease.ts";
import { markReported } from "../../../../lib/wire/mod.ts";
import { eventually } from "../../../support/ports.ts";
import { type RealTestWorld, realTestWorld } from "../../../support/real_test_world.ts";
import { type RedisServer, startRedis } from "../../../support/servers.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";

const SEP = "\x06\x16";

interface Bench extends AsyncDisposable {
  server: RedisServer;
  world: RealTestWorld;
  connect(options?: Record<string, unknown>, url?: string): Promise<Connection>;
}

/** A server and connections to it; `args` for redis-server. */
async function bench(args: string[] = []): Promise<Bench> {
  const server = await startRedis({ args });
  const world: RealTestWorld = { ...realTestWorld(), dialer: realDialer() };
  const open: Connection[] = [];
  return {
    server,
    world,
    async connect(transportOptions = {}, url = server.url()) {
      const connection = await connectRedis(world as World, url, { ...CONNECT_OPTIONS, transportOptions });
      open.push(connection);
      return connection;
    },
    async [Symbol.asyncDispose]() {
      for (const connection of open) await connection.close();
      await server.stop();
    },
  };
}

interface Receiver {
  consumer: Consumer;
  got: Delivery[];
  restored: number;
  lost: Error[];
}

async function receive(
  connection: Connection,
  queues: Queue[],
  options: { window?: () => number; leaseSeconds?: number } = {},
): Promise<Receiver> {
  const receiver: Receiver = { consumer: null as unknown as Consumer, got: [], restored: 0, lost: [] };
  for (const one of queues) await connection.declare(one);
  receiver.consumer = await connection.consume({
    queues,
    window: options.window ?? (() => Infinity),
    owner: "test@here",
    leaseSeconds: options.leaseSeconds ?? 30,
  }, {
    onDeliveries: (batch) => void receiver.got.push(...batch),
    onUndecodable: (message) => receiver.consumer.deadLetter(message.tag, message.reason),
    onLost: (error) => void receiver.lost.push(error),
    onRestored: (count) => void (receiver.restored += count),
  });
  return receiver;
}

/** An envelope as Python writes it, spaces and all. */
function pythonEnvelope(
  id: string,
  more: { priority?: number; exchange?: string; routingKey?: string } = {},
): string {
  return `{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json", ` +
    `"headers": {"task": "t", "id": "${id}", "empty": []}, "properties": {"correlation_id": "${id}", ` +
    `"delivery_mode": 2, "delivery_info": {"exchange": "${more.exchange ?? ""}", "routing_key": "${
      more.routingKey ?? "celery"
    }"}, ` +
    `"priority": ${more.priority ?? 0}, "body_encoding": "base64", "delivery_tag": "tag-${id}"}}`;
}

const ids = (got: Delivery[]) => got.map(({ message }) => message.headers["id"]);

Deno.test("redis: declaring writes the bindings that kombu writes", async () => {
  await using lab = await bench();
  const connection = await lab.connect();
  await connection.declare(queue("celery"));
  const topic = exchange("news", { type: "topic" });
  await connection.declare(queue("euro", { exchange: topic, routingKey: "eu-*.sport_1.#" }));
  const box = exchange("celery.pidbox", { type: "fanout" });
  await connection.declare(queue("n.celery.pidbox", { exchange: box, routingKey: "" }));
  await connection.declare(queue("plain", { exchange: exchange(""), routingKey: "plain" }));
  const members = async (name: string) =>
    (await lab.server.cli("--raw", "smembers", `_kombu.binding.${name}`)).split("\n");
  assert.deepEqual(await members("celery"), [["celery", "", "celery"].join(SEP)]);
  // What kombu.transport.virtual.exchange.TopicExchange.key_to_pattern gives for this key: each word by itself is
  // a wildcard or a text, and every letter that is not alphanumeric is escaped.
  assert.deepEqual(await members("news"), [
    ["eu-*.sport_1.#", "^eu\\-*\\.sport\\_1\\..*?$", "euro"].join(SEP),
  ]);
  assert.deepEqual(await members("celery.pidbox"), [["", "", "n.celery.pidbox"].join(SEP)]);
  assert.deepEqual((await lab.server.cli("keys", "*")).split("\n").sort(), [
    "_kombu.binding.celery",
    "_kombu.binding.celery.pidbox",
    "_kombu.binding.news",
  ]);
});

Deno.test("redis: what is held stands in kombu's keys, to the byte, and goes with the ack", async () => {
  await using lab = await bench();
  const connection = await lab.connect({ global_keyprefix: "p:" });
  const text = pythonEnvelope("a", { priority: 7 });
  await lab.server.cli("lpush", `p:celery${SEP}6`, text);
  const { got, consumer } = await receive(connection, [queue("celery")]);
  await eventually(() => got.length === 1, "the message");
  assert.equal(got[0]!.envelope, text);
  assert.equal(got[0]!.message.properties.priority, 7);
  assert.equal(await lab.server.cli("--raw", "hvals", "p:unacked"), `[${text},"","celery"]`);
  const [field] = (await lab.server.cli("--raw", "hkeys", "p:unacked")).split("\n");
  const [tag, score] = (await lab.server.cli("--raw", "zrange", "p:unacked_index", "0", "-1", "withscores"))
    .split("\n");
  assert.equal(tag, field);
  assert.ok(Math.abs(Number(score) - Date.now() / 1000) < 5, `epoch seconds: ${score}`);
  consumer.ack(got[0]!.tag);
  await consumer.flush();
  assert.equal(await lab.server.cli("exists", "p:unacked", "p:unacked_index"), "0");
  assert.ok((await lab.server.cli("keys", "*")).split("\n").every((key) => key.startsWith("p:")));
});

Deno.test("redis: an idle consumer asks for nothing and wakes at once", async () => {
  await using lab = await bench();
  const connection = await lab.connect();
  const { got, consumer } = await receive(connection, [queue("a"), queue("b")]);
  await consumer.flush();
  const scripts = async () => {
    const found = /cmdstat_evalsha:calls=(\d+)/.exec(await lab.server.cli("info", "commandstats"));
    return Number(found?.[1] ?? 0);
  };
  await lab.server.cli("config", "resetstat");
  await lab.server.cli("lpush", `b${SEP}9`, pythonEnvelope("x"));
  const sinceMs = performance.now();
  await eventually(() => got.length === 1, "the message", { everyMs: 1 });
  assert.ok(performance.now() - sinceMs < 1900, "before the safety fetch");
  // One fetch for the message, one more that found everything empty; a sweep or a look at parked ones may have run.
  assert.ok(await scripts() <= 4, `${await scripts()} scripts`);
  assert.deepEqual(lab.world.log.records.filter(({ level }) => level !== "DEBUG"), []);
});

Deno.test("redis: requeue by our own hand wakes us, though the server does not announce it", async () => {
  await using lab = await bench();
  const connection = await lab.connect();
  const { got, consumer } = await receive(connection, [queue("celery")]);
  await lab.server.cli("lpush", "celery", pythonEnvelope("x"));
  await eventually(() => got.length === 1, "the message");
  const sinceMs = performance.now();
  consumer.reject(got[0]!.tag, "requeue");
  await eventually(() => got.length === 2, "the message again", { everyMs: 1 });
  assert.ok(performance.now() - sinceMs < 1900, "before the safety fetch");
  assert.equal(got[1]!.info.redelivered, true);
  assert.equal(got[1]!.attempts, 0);
});

Deno.test("redis: where tracking is refused it polls, and says so once", async () => {
  await using lab = await bench();
  await lab.server.cli("acl", "setuser", "weak", "on", ">pw", "~*", "&*", "+@all", "-client|tracking");
  const connection = await lab.connect({}, `redis://weak:pw@127.0.0.1:${lab.server.port}/0`);
  const { got } = await receive(connection, [queue("celery")]);
  for (const id of ["x", "y"]) {
    const sinceMs = performance.now();
    await lab.server.cli("lpush", "celery", pythonEnvelope(id));
    await eventually(() => ids(got).includes(id), "the message", { everyMs: 1 });
    assert.ok(performance.now() - sinceMs < 1500, "before the safety fetch");
  }
  const told = lab.world.log.records.filter(({ level }) => level === "WARNING");
  assert.equal(told.length, 1);
  assert.match(told[0]!.message, /does not announce new messages/);
});

Deno.test("redis: tags of Python's that are older than the visibility timeout come back, marked", async () => {
  await using lab = await bench();
  const connection = await lab.connect({ visibility_timeout: 60 });
  const old = Date.now() / 1000 - 61;
  const put = async (tag: string, score: number, value: string) => {
    await lab.server.cli("hset", "unacked", tag, value);
    await lab.server.cli("zadd", "unacked_index", String(score), tag);
  };
  const media = queue("video", { exchange: exchange("media"), routingKey: "media.video" });
  await connection.declare(media);
  await put("tag-a", old, `[${pythonEnvelope("a")}, "", "celery"]`);
  await put("tag-b", old + 0.5, `[${pythonEnvelope("b", { priority: 4 })}, "media", "media.video"]`);
  await put("tag-c", old, `[${pythonEnvelope("c")}, "nowhere", "x"]`);
  await put("tag-d", old + 30, `[${pythonEnvelope("d")}, "", "celery"]`);
  await put("tag-e", old, `not json`);
  await lab.server.cli("zadd", "unacked_index", String(old), "tag-gone");
  const receiver = await receive(connection, [queue("celery")]);
  await eventually(() => receiver.restored === 2, () => `two restored: ${receiver.restored}`);
  await eventually(() => receiver.got.length === 1, "the message");
  const [a] = receiver.got as [Delivery];
  assert.deepEqual([ids([a])[0], a.info.redelivered, a.attempts], ["a", true, 0]);
  // An empty array stays one: no Lua has read this.
  assert.deepEqual(a.message.headers["empty"], []);
  assert.match(await lab.server.cli("lindex", `video${SEP}3`, "0"), /"redelivered": ?true/);
  const left = (await lab.server.cli("--raw", "hkeys", "unacked")).split("\n");
  assert.ok(left.includes("tag-c") && left.includes("tag-d"), "what has no queue, and what is young, stays");
  assert.equal(await lab.server.cli("zscore", "unacked_index", "tag-gone"), "");
  const dead = JSON.parse(await lab.server.cli("--raw", "lindex", "lovage:dead", "0"));
  assert.equal(dead.envelope, "not json");
  assert.equal(await lab.server.cli("exists", "unacked_mutex"), "0");
});

Deno.test("redis: a live owner's old tags are left alone, whatever the visibility timeout", async () => {
  await using lab = await bench();
  const one = await lab.connect({ visibility_timeout: 0.3 });
  const two = await lab.connect({ visibility_timeout: 0.3 });
  await lab.server.cli("lpush", "celery", pythonEnvelope("x"));
  const first = await receive(one, [queue("celery")], { leaseSeconds: 30 });
  await eventually(() => first.got.length === 1, "the message");
  const [tag] = (await lab.server.cli("--raw", "hkeys", "unacked")).split("\n");
  await lab.server.cli("zadd", "unacked_index", "1", tag!);
  const second = await receive(two, [queue("celery")], { leaseSeconds: 30 });
  // The lock comes and goes with one check.
  await eventually(
    async () => Number(await lab.server.cli("zscore", "unacked_index", tag!)) > 1,
    "a renewal",
  );
  await second.consumer.flush();
  assert.deepEqual([second.got.length, first.got.length, second.restored], [0, 1, 0]);
});

Deno.test("redis: dead letters keep their reason, queue and text", async () => {
  await using lab = await bench();
  const connection = await lab.connect();
  const { got, consumer } = await receive(connection, [queue("celery")]);
  const text = pythonEnvelope("x");
  await lab.server.cli("lpush", "celery", text);
  await eventually(() => got.length === 1, "the message");
  consumer.deadLetter(got[0]!.tag, "it killed 5 workers");
  await consumer.flush();
  const { at, ...rest } = JSON.parse(await lab.server.cli("--raw", "lindex", "lovage:dead", "0"));
  assert.match(rest.id, /^[0-9a-f]{8}$/);
  assert.deepEqual(rest, { id: rest.id, reason: "it killed 5 workers", queue: "celery", envelope: text });
  assert.ok(Math.abs(Date.parse(at) - Date.now()) < 5000);
  assert.equal(await lab.server.cli("exists", "unacked", "unacked_index"), "0");
});

Deno.test("redis: a parked message goes back as it came, with the mark that its worker has told of it", async () => {
  await using lab = await bench();
  const connection = await lab.connect();
  const { got, consumer } = await receive(connection, [queue("celery")]);
  const text = pythonEnvelope("x", { priority: 9 });
  await lab.server.cli("lpush", `celery${SEP}9`, text);
  await eventually(() => got.length === 1, "the message");
  // Later than three looks by a program of its own take, on a machine that has much to do.
  const dueMs = Date.now() + 2000;
  consumer.park(got[0]!.tag, dueMs);
  await consumer.flush();
  const [tag, score] = (await lab.server.cli("--raw", "zrange", "lovage:parked", "0", "-1", "withscores"))
    .split("\n");
  assert.match(tag!, /^parked:/);
  assert.ok(Math.abs(Number(score) * 1000 - dueMs) < 2);
  assert.equal(await lab.server.cli("--raw", "hget", "unacked", tag!), `[${text},"","celery"]`);
  await eventually(() => got.length === 2, "the message when it is due");
  assert.equal(got[1]!.envelope, markReported(text));
  assert.equal(await lab.server.cli("exists", "lovage:parked"), "0");
});

Deno.test("redis: a server that is at its memory limit still hands out its messages", async () => {
  await using lab = await bench();
  const connection = await lab.connect();
  const { got, consumer } = await receive(connection, [queue("celery")]);
  await consumer.pause();
  await lab.server.cli("lpush", "celery", pythonEnvelope("x"));
  await lab.server.cli("config", "set", "maxmemory", "1");
  consumer.resume();
  await eventually(() => got.length === 1, "the message");
  consumer.ack(got[0]!.tag);
  await consumer.flush();
  assert.equal(await lab.server.cli("exists", "unacked"), "0");
});

Deno.test("redis: a server that became a replica is left; the loss is told once", async () => {
  await using lab = await bench();
  const connection = await lab.connect();
  const receiver = await receive(connection, [queue("celery")]);
  await receiver.consumer.flush();
  await lab.server.cli("replicaof", "127.0.0.1", "1");
  receiver.consumer.wake();
  const error = await connection.lost;
  assert.match(String(error), /READONLY/);
  await eventually(() => receiver.lost.length > 0, "onLost");
  assert.equal(receiver.lost.length, 1);
});

Deno.test("redis: without ack emulation messages are popped for good", async () => {
  await using lab = await bench();
  const connection = await lab.connect({ ack_emulation: false });
  const { got, consumer } = await receive(connection, [queue("celery")]);
  await lab.server.cli("lpush", "celery", pythonEnvelope("x"), pythonEnvelope("y"));
  await eventually(() => got.length === 2, "the messages");
  assert.equal(await lab.server.cli("exists", "unacked", "unacked_index"), "0");
  consumer.ack(got[0]!.tag);
  assert.equal(consumer.park(got[1]!.tag, Date.now()), false);
  assert.equal(await consumer.close(), 1);
  assert.equal(await lab.server.cli("llen", "celery"), "1");
});

Deno.test("redis: scripts survive SCRIPT FLUSH, and the deadletter queue takes what nothing is bound for", async () => {
  await using lab = await bench();
  const connection = await lab.connect({ deadletter_queue: "lost" });
  const { got, consumer } = await receive(connection, [queue("celery")]);
  await consumer.flush();
  await lab.server.cli("script", "flush");
  await lab.server.cli("lpush", "celery", pythonEnvelope("x"));
  await eventually(() => got.length === 1, "the message");
  await connection.publish([{ exchange: "unbound", routingKey: "k", message: got[0]!.message }]);
  assert.equal(await connection.queueLength("lost"), 1);
  assert.equal(await connection.queueLength("nobody"), null);
});

Deno.test("readUnacked cuts our own records as text and reads Python's", () => {
  const envelope = '{"a": ",\\"\\",\\"x\\"]", "b": [1, "", "y"]}';
  assert.deepEqual(readUnacked(`[${envelope},"","que\\"ue"]`), {
    envelope,
    exchange: "",
    routingKey: 'que"ue',
  });
  assert.deepEqual(readUnacked(`[{"a": []}, "ex", "rk"]`), {
    envelope: '{"a":[]}',
    exchange: "ex",
    routingKey: "rk",
  });
  for (const wrong of ["", "[]", "{}", "[1,2]", '[,"","q"', "not json", '["",""]']) {
    assert.equal(readUnacked(wrong), null);
  }
});

Deno.test("redis: a server was started in one second, at whatever moment it is asked", async () => {
  const beforeMs = Date.now();
  await using redis = await startRedis();
  const afterMs = Date.now();
  const uptimes = new Set<string>();
  const starts = new Set<number>();
  await eventually(async () => {
    const info = await redis.cli("INFO", "server");
    uptimes.add(/uptime_in_seconds:(\d+)/.exec(info)![1]!);
    starts.add(serverStartMs(info, Date.now()));
    return uptimes.size > 2;
  }, "the server is two seconds old");
  const [start] = [...starts];
  assert.equal(starts.size, 1);
  assert.ok(
    start! > beforeMs - 1000 && start! <= afterMs,
    `${start} is not between ${beforeMs} and ${afterMs}`,
  );
  assert.equal(serverStartMs("", beforeMs), -Infinity);
  assert.equal(
    serverStartMs("uptime_in_seconds:7\r\n", 10_999),
    3000,
    "an older server tells no time of its own",
  );
});

Deno.test("queueNames: queues without a binding or consumer too, by their envelopes; lists of others are none", async () => {
  await using lab = await bench();
  const prefixed = { global_keyprefix: "shop:" };
  for (const options of [{}, prefixed]) {
    const connection = await lab.connect(options);
    const head = "global_keyprefix" in options ? options.global_keyprefix : "";
    await connection.declare(queue("bound"));
    const message = JSON.stringify({
      body: "e30=",
      headers: {},
      "content-type": "application/json",
      "content-encoding": "utf-8",
      properties: { delivery_info: {}, delivery_tag: "t", body_encoding: "base64" },
    });
    await lab.server.cli("rpush", `${head}left`, message);
    await lab.server.cli("rpush", `${head}urgent${SEP}3`, message);
    await lab.server.cli("rpush", `${head}basket`, "boots", "laces");
    const names = await connection.queueNames!();
    assert.deepEqual(
      names.filter((name) => !name.startsWith("shop:")),
      ["bound", "left", "urgent"],
    );
  }
});
