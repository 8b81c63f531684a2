/** What a worker on Redis leaves behind: parked messages at a stop, held ones at its death without INFO. */

import assert from "node:assert/strict";
import type { World } from "../../../../lib/base/mod.ts";
import { realDialer } from "../../../../lib/net/mod.ts";
import {
  type Connection,
  type Consumer,
  type Delivery,
  type OutgoingMessage,
  queue,
} from "../../../../lib/transport/mod.ts";
import { connectRedis } from "../../../../lib/transport/redis/redis.ts";
import { textMessage } from "../../../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../../../support/connect_options.ts";
import { eventually } from "../../../support/ports.ts";
import { realTestWorld } from "../../../support/real_test_world.ts";
import { startRedis } from "../../../support/servers.ts";

const world: World = { ...realTestWorld(), dialer: realDialer() };

Deno.test("redis: the last worker of a queue gives what is parked for it back, soonest due in front", async () => {
  await using server = await startRedis();
  const open = async (names: string[], owner: string) => {
    const connection = await connectRedis(world, server.url(0), CONNECT_OPTIONS);
    const got: Delivery[] = [];
    const queues = names.map((name) => queue(name));
    for (const one of queues) await connection.declare(one);
    const consumer = await connection.consume(
      { queues, window: () => Infinity, owner, leaseSeconds: 30 },
      { onDeliveries: (batch) => void got.push(...batch), onUndecodable: () => {}, onLost: () => {} },
    );
    return { connection, consumer, got };
  };
  const cli = (...words: string[]) => server.cli(...words);
  const one = await open(["celery", "own"], "one");
  const two = await open(["celery"], "two");
  const message = (text: string, name: string): OutgoingMessage => ({
    exchange: "",
    routingKey: name,
    message: textMessage(text),
  });
  await one.consumer.pause();
  await one.connection.publish([message("a", "celery"), message("b", "celery")]);
  await eventually(() => two.got.length === 2, "fetched");
  const dueMs = Date.now() + 60_000;
  two.consumer.park(two.got[0]!.tag, dueMs + 5000);
  two.consumer.park(two.got[1]!.tag, dueMs);
  await two.consumer.flush();
  one.consumer.resume();
  await one.connection.publish([message("c", "own")]);
  await eventually(() => one.got.length === 1, "fetched");
  one.consumer.park(one.got[0]!.tag, dueMs);
  await one.consumer.flush();
  // A sweep of Python, whatever its visibility timeout, finds nothing that is not due.
  const scores = (await cli("ZRANGE", "unacked_index", "0", "-1", "WITHSCORES")).split("\n");
  assert.ok(Math.abs(Number(scores[1]) - dueMs / 1000) < 1, scores.join());
  // Another consumes "celery"; nobody but this one consumes "own".
  assert.equal(await one.consumer.close(), 1);
  assert.deepEqual([await cli("LLEN", "celery"), await cli("LLEN", "own")], ["0", "1"]);
  assert.equal(await cli("ZCARD", "lovage:parked"), "2");
  assert.equal(await two.consumer.close(), 2);
  assert.equal(await cli("ZCARD", "lovage:parked"), "0");
  assert.equal(await cli("HLEN", "unacked"), "0");
  const texts = (await cli("LRANGE", "celery", "0", "-1")).split("\n").map((text) =>
    JSON.parse(text).headers.id
  );
  assert.deepEqual(texts, ["a", "b"]);
  await one.connection.close();
  await two.connection.close();
});

Deno.test("redis: two workers of a queue that stop at once leave nothing parked", async () => {
  await using server = await startRedis();
  const celery = queue("celery");
  const workers: { connection: Connection; consumer: Consumer; got: Delivery[] }[] = [];
  for (const owner of ["one", "two", "three"]) {
    const connection = await connectRedis(world, server.url(0), CONNECT_OPTIONS);
    await connection.declare(celery);
    const got: Delivery[] = [];
    const consumer = await connection.consume(
      { queues: [celery], window: () => Infinity, owner, leaseSeconds: 30 },
      { onDeliveries: (batch) => void got.push(...batch), onUndecodable: () => {}, onLost: () => {} },
    );
    workers.push({ connection, consumer, got });
  }
  const send = { exchange: "", routingKey: "celery", message: textMessage("a") };
  await workers[0]!.connection.publish([send]);
  const holder = () => workers.find(({ got }) => got.length > 0);
  await eventually(() => holder() !== undefined, "fetched");
  holder()!.consumer.park(holder()!.got[0]!.tag, Date.now() + 60_000);
  await holder()!.consumer.flush();
  await Promise.all(workers.map(({ connection }) => connection.close()));
  assert.equal(await server.cli("LLEN", "celery"), "1");
});

Deno.test("redis: a user without INFO takes over what a killed worker held", async () => {
  await using server = await startRedis();
  await server.cli("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-@dangerous");
  const celery = queue("celery");
  const open = async (owner: string) => {
    const url = server.url(0).replace("redis://", "redis://app:secret@");
    const connection = await connectRedis(world, url, CONNECT_OPTIONS);
    await connection.declare(celery);
    const got: Delivery[] = [];
    await connection.consume({ queues: [celery], window: () => Infinity, owner, leaseSeconds: 0.3 }, {
      onDeliveries: (batch) => void got.push(...batch),
      onUndecodable: () => {},
      onLost: () => {},
    });
    return { connection, got };
  };
  const killed = await open("killed");
  await killed.connection.publish([{ exchange: "", routingKey: "celery", message: textMessage("a") }]);
  await eventually(() => killed.got.length === 1, "fetched");
  killed.connection.fail!(new Error("as a death"));
  const next = await open("next");
  await eventually(() => next.got.length === 1, "taken over");
  assert.equal(next.got[0]!.attempts, 1);
  await next.connection.close();
});
