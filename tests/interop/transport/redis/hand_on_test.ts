// Goal: what a worker publishes to itself is in exactly one place at any time: its list, or this consumer's hands.
// Method: a consumer on a real server, over a proxy that can hold back what the server says.
import assert from "node:assert/strict";
import type { Delivery, OutgoingMessage } from "../../../../lib/transport/mod.ts";
import { readUnacked } from "../../../../lib/transport/redis/envelope.ts";
import { decodeEnvelope, decodeTaskBody, encodeTaskMessage } from "../../../../lib/wire/mod.ts";
import { eventually } from "../../../support/ports.ts";
import { type Proxy, startProxy } from "../../../support/proxy.ts";
import { hold, type Holder } from "../../../support/redis_holder.ts";
import { type RedisServer, startRedis } from "../../../support/servers.ts";

function out(id: string, args: unknown[] = []): OutgoingMessage {
  const message = encodeTaskMessage(
    { task: "t", id, args, kwargs: {}, origin: null, replyTo: "", priority: 0, deliveryMode: 2 },
    { serializer: "json", compression: null, protocol: 2, bodyEncoding: "base64" },
  );
  return { exchange: "", routingKey: "celery", message };
}

/** Hands on as soon as the consumer knows that nothing waits. */
function handOn(holder: Holder, what: OutgoingMessage): Promise<{ handing: Promise<void> }> {
  return eventually(() => {
    const handing = holder.consumer.handOn!(what, false);
    return handing && { handing };
  }, "the consumer to be dry");
}

async function scene(act: (server: RedisServer, proxy: Proxy) => Promise<void>): Promise<void> {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  await act(server, proxy);
}

const ids = (got: readonly Delivery[]) => got.map(({ message }) => message.headers["id"]);
const places = async (server: RedisServer) => [
  Number(await server.cli("llen", "celery")),
  Number(await server.cli("hlen", "unacked")),
  Number(await server.cli("zcard", "unacked_index")),
];

Deno.test("redis: a message handed on is unacked from the start, whole in its record, and acked like any other", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    const args = ["x".repeat(10_000), "ž"];
    await (await handOn(holder, out("a", args))).handing;
    assert.deepEqual(ids(holder.got), ["a"]);
    assert.deepEqual(await places(server), [0, 1, 1]);
    const [, record] = (await server.cli("--raw", "hgetall", "unacked")).split("\n");
    const { envelope, routingKey } = readUnacked(record!)!;
    assert.deepEqual([envelope, routingKey], [holder.got[0]!.envelope, "celery"]);
    assert.deepEqual(
      decodeTaskBody(decodeEnvelope(envelope).message, new Set(["application/json"])).args,
      args,
    );
    holder.consumer.ack(holder.got[0]!.tag);
    await holder.consumer.flush();
    assert.deepEqual(await places(server), [0, 0, 0]);
  });
});

Deno.test("redis: nothing is handed on for another queue, into a shut window, or while fetching is paused", async () => {
  await scene(async (server, proxy) => {
    let room = 10;
    await using holder = await hold(proxy.port, { window: () => room });
    // Known to be dry, or the refusals below would be for that.
    await (await handOn(holder, out("first"))).handing;
    const { consumer } = holder;
    for (const isEarly of [true, false]) {
      assert.equal(consumer.handOn!({ ...out("a"), routingKey: "other" }, isEarly), null);
      assert.equal(consumer.handOn!({ ...out("a"), exchange: "celery" }, isEarly), null);
      room = 0;
      assert.equal(consumer.handOn!(out("a"), isEarly), null);
      room = 10;
    }
    await consumer.pause();
    for (const isEarly of [true, false]) assert.equal(consumer.handOn!(out("a"), isEarly), null);
    assert.deepEqual(await places(server), [0, 1, 1]);
  });
});

Deno.test("redis: what came to the queue meanwhile keeps its place before a message handed on", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    await (await handOn(holder, out("first"))).handing;
    // The server's announcement of what waits is not heard in time.
    proxy.pause("down");
    await server.cli("lpush", "celery", holder.got[0]!.envelope.replaceAll("first", "before"));
    const handing = holder.consumer.handOn!(out("handed"), false)!;
    await eventually(async () => (await places(server))[0] === 2, "both in the list");
    proxy.resume();
    await handing;
    await eventually(() => holder.got.length === 3, "all of them");
    assert.deepEqual(ids(holder.got), ["first", "before", "handed"]);
    assert.deepEqual(await places(server), [0, 3, 3]);
  });
});

Deno.test("redis: a message handed on whose answer was cut off is the successor's", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    await (await handOn(holder, out("first"))).handing;
    proxy.stall("down");
    const handing = assert.rejects(holder.consumer.handOn!(out("cut"), false)!, { message: "cut" });
    await eventually(async () => (await places(server))[1] === 2, "the server to have it");
    holder.connection.fail!(new Error("cut"));
    await handing;
    await using next = await hold(server.port, { predecessor: holder.consumer });
    await eventually(() => next.got.length === 2, "both to be taken over");
    assert.deepEqual(ids(next.got).sort(), ["cut", "first"]);
    assert.deepEqual(await places(server), [0, 2, 2]);
  });
});

Deno.test("redis: what a dead worker had handed on to itself comes to another one", async () => {
  await scene(async (server, proxy) => {
    const dead = await hold(proxy.port, { lease: 1 });
    await (await handOn(dead, out("a"))).handing;
    dead.connection.fail!(new Error("killed"));
    await using heir = await hold(server.port, { lease: 1 });
    await eventually(() => heir.got.length === 1, "the message of the dead");
    assert.deepEqual([ids(heir.got), heir.got[0]!.info.redelivered], [["a"], true]);
  });
});

Deno.test("redis: a consumer that closes gives back what it was just handing on", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    const { handing } = await handOn(holder, out("a"));
    await holder.consumer.close();
    await handing;
    assert.deepEqual(await places(server), [1, 0, 0]);
  });
});

/** Takes one that is acked early, once the consumer knows that nothing waits; it is there when this returns. */
async function take(holder: Holder, what: OutgoingMessage): Promise<Delivery> {
  const before = holder.got.length;
  const { given } = await eventually(
    () => holder.consumer.handOn!(what, true) && { given: holder.got[before] },
    "the consumer to be dry",
  );
  assert.ok(given, "in hand at once");
  return given;
}

Deno.test("redis: a message that is acked early and begun at once is ours, and the server never hears of it", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    const { tag } = await take(holder, out("a", ["x".repeat(10_000), "ž"]));
    holder.consumer.ack(tag);
    await holder.consumer.flush();
    assert.equal(holder.consumer.unsettled, 0);
    assert.doesNotMatch(await server.cli("info", "commandstats"), /cmdstat_(hset|lpush|hdel)/);
  });
});

Deno.test("redis: one that is not begun in time is recorded, whole, whatever waits in its list by then", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    await (await handOn(holder, out("first"))).handing;
    // What is announced now is not heard.
    proxy.pause("down");
    await server.cli("lpush", "celery", holder.got[0]!.envelope.replaceAll("first", "other"));
    const given = await take(holder, out("a", ["ž"]));
    await eventually(async () => (await places(server)).join() === "1,2,2", "the record");
    const records = (await server.cli("--raw", "hvals", "unacked")).split("\n");
    assert.ok(records.some((record) => readUnacked(record)!.envelope === given.envelope));
    proxy.resume();
    holder.consumer.ack(given.tag);
    await eventually(() => holder.got.length === 3, "the other one too");
    await holder.consumer.flush();
    assert.deepEqual(await places(server), [0, 2, 2]);
  });
});

Deno.test("redis: what is given back, dead-lettered or parked before it was recorded is nowhere lost", async () => {
  await scene(async (server, proxy) => {
    // Shut while something is settled, so that what is given back stays where it went.
    let room = 1;
    await using holder = await hold(proxy.port, { window: () => room });
    const settle = async (id: string, how: (tag: number | string) => void) => {
      const { tag } = await take(holder, out(id));
      room = 0;
      how(tag);
      await holder.consumer.flush();
      room = 1;
    };
    await settle("dead-lettered", (tag) => assert.ok(holder.consumer.deadLetter(tag, "why")));
    assert.equal(await server.cli("llen", "lovage:dead"), "1");
    await settle("parked", (tag) => assert.ok(holder.consumer.park(tag, Date.now() + 60_000)));
    assert.match(await server.cli("--raw", "hvals", "unacked"), /"id":"parked"/);
    await settle("back", (tag) => {
      holder.consumer.reject(tag, "restore");
      void holder.consumer.pause();
    });
    assert.match(await server.cli("--raw", "lrange", "celery", "0", "-1"), /"id":"back"/);
  });
});

Deno.test("redis: a record that a full server refuses is made when it is needed", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    const refused = async () =>
      /cmdstat_hset:.*rejected_calls=1/.test(await server.cli("info", "commandstats"));
    await server.cli("config", "set", "maxmemory", "1");
    const { tag } = await take(holder, out("a"));
    await eventually(refused, "the refusal");
    await holder.consumer.flush();
    assert.deepEqual(await places(server), [0, 0, 0]);
    await server.cli("config", "set", "maxmemory", "0");
    await holder.consumer.pause();
    holder.consumer.reject(tag, "restore");
    await holder.consumer.flush();
    assert.deepEqual(await places(server), [1, 0, 0]);
  });
});

Deno.test("redis: where the connection goes before the record, the message is given out to be sent again", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    const begun = await take(holder, out("begun"));
    holder.consumer.ack(begun.tag);
    await take(holder, out("a"));
    holder.connection.fail!(new Error("cut"));
    await eventually(() => holder.stranded.length > 0, "the message");
    assert.deepEqual(ids(holder.stranded), ["a"]);
    assert.deepEqual(await places(server), [0, 0, 0]);
  });
});

Deno.test("redis: so it is where the record was sent and its answer is not heard", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    await (await handOn(holder, out("first"))).handing;
    proxy.stall("down");
    await take(holder, out("a"));
    await eventually(async () => (await places(server))[1] === 2, "the record");
    holder.connection.fail!(new Error("cut"));
    await eventually(() => holder.stranded.length > 0, "the message");
    assert.deepEqual(ids(holder.stranded), ["a"]);
  });
});

Deno.test("redis: a consumer that closes gives back what it has just taken", async () => {
  await scene(async (server, proxy) => {
    await using holder = await hold(proxy.port);
    await take(holder, out("a"));
    await holder.consumer.close();
    assert.deepEqual([await places(server), holder.stranded], [[1, 0, 0], []]);
  });
});
