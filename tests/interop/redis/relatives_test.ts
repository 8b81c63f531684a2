// Goal: servers of Redis's family that lack something are used as far as they go, or refused in one line. They are
// real Redis with commands taken away, or a proxy that changes what a real one says.

import assert from "node:assert/strict";
import { startFakeRelative } from "../../support/redis_relative.ts";
import { lovage, startWorker, TASKS } from "../../support/programs.ts";
import { startRedis } from "../../support/servers.ts";
import { connect, queue } from "../../../lib/transport/mod.ts";
import { eventually } from "../../support/ports.ts";
import { textMessage } from "../../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../../support/connect_options.ts";
import { App } from "../../../lib/app/mod.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

Deno.test("a server without EVAL is refused by its name, in one line, with status 69", async () => {
  await using redis = await startRedis({
    args: ["--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""],
  });
  const worker = await startWorker({ broker: redis.url() }, ["-P", "solo"], { isReady: false });
  const { code } = await worker.ended;
  assert.match(
    worker.text,
    /Cannot use Redis 7\.[\d.]+ as a broker: it has no EVAL, and Lovage needs Lua scripts/,
  );
  assert.equal(code, 69);
});

Deno.test("KeyDB with active replicas is refused in one line, with status 69", async () => {
  await using redis = await startRedis();
  await using keydb = startFakeRelative(redis.port, { role: "active-replica" });
  const place = { broker: `redis://127.0.0.1:${keydb.port}/0` };
  const worker = await startWorker(place, ["-P", "solo"], { isReady: false });
  const { code } = await worker.ended;
  assert.match(worker.text, /Cannot use Redis 7[\d.]+ with active replicas as a broker: two masters/);
  assert.equal(code, 69);
});

Deno.test("a server that takes CLIENT TRACKING and announces nothing is polled, and the log says so", async () => {
  await using redis = await startRedis();
  await using dragonfly = startFakeRelative(redis.port, { announces: false });
  const url = `redis://127.0.0.1:${dragonfly.port}/0`;
  await using worker = await startWorker({ broker: url, backend: url }, ["-P", "solo"]);
  await worker.says(/The server does not announce new messages on this connection; polling for them instead/);
  const app = new App("relative", { broker_url: url, result_backend: url }, { world: realTestWorld() });
  try {
    assert.equal(await (await app.sendTask("t.add", { args: [2, 3] })).get({ timeout: 120 }), 5);
  } finally {
    await app.close();
  }
});

Deno.test("a server that announces is said to, at DEBUG", async () => {
  await using redis = await startRedis();
  await using worker = await startWorker({ broker: redis.url() }, ["-P", "solo"], { level: "DEBUG" });
  await worker.says(/The server announces new messages/);
  assert.doesNotMatch(worker.text, /does not announce/);
});

Deno.test("a user without the dangerous commands and with our keys alone does everything", async () => {
  await using redis = await startRedis({ password: "admin" });
  // docs/brokers.md tells these permissions.
  await redis.cli(
    "acl",
    "setuser",
    "shop",
    "on",
    ">secret",
    "~shop:*",
    "&*",
    "+@all",
    "-@admin",
    "-@dangerous",
  );
  const url = `redis://shop:secret@127.0.0.1:${redis.port}/0`;
  const prefix = { global_keyprefix: "shop:" };
  const conf = { broker_transport_options: prefix, result_backend_transport_options: prefix };
  const place = { broker: url, backend: url, conf };
  await using worker = await startWorker(place, ["-P", "solo", "-E"]);
  const app = new App("shop", { broker_url: url, result_backend: url, ...conf }, { world: realTestWorld() });
  try {
    assert.equal(await (await app.sendTask("t.add", { args: [2, 3] })).get({ timeout: 120 }), 5);
    const later = await app.sendTask("t.add", { args: [3, 3], countdown: 1 });
    assert.equal(await later.get({ timeout: 120 }), 6);
    assert.equal(await (await app.sendTask("t.retry", { args: [1, 0] })).get({ timeout: 120 }), 1);
    const pinged = await lovage(["-A", TASKS, "inspect", "ping", "-j"], place);
    assert.equal(pinged.code, 0, pinged.err);
    assert.equal((await lovage(["-A", TASKS, "purge", "-f", "-Q", "celery"], place)).code, 0);
    assert.equal((await lovage(["-A", TASKS, "list", "bindings"], place)).code, 0);
    assert.doesNotMatch(worker.text, /NOPERM/);
  } finally {
    await app.close();
  }
});

Deno.test("x-expires: an unused queue goes, and one that is consumed stays however long its tasks wait", async () => {
  await using redis = await startRedis();
  const world = realTestWorld();
  const expiring = queue("short", { queueArguments: { "x-expires": 3000 } });
  await using sender = await connect(world, redis.url(), CONNECT_OPTIONS);
  const message = textMessage("waits");
  const left = async () => Number(await redis.cli("pttl", "short"));
  {
    await using receiver = await connect(world, redis.url(), CONNECT_OPTIONS);
    await sender.declare(expiring);
    await receiver.declare(expiring);
    await sender.publish([{ exchange: "", routingKey: "short", message }]);
    const published = await left();
    assert.ok(published > 0 && published <= 3000, `a time to live is set: ${published}`);
    const consumer = await receiver.consume(
      { queues: [expiring], window: () => 0, owner: "o", leaseSeconds: 10 },
      { onDeliveries() {}, onUndecodable() {}, onLost() {} },
    );
    // Longer than the time to live: only renewals keep it.
    const endMs = performance.now() + 4500;
    await eventually(() => performance.now() > endMs, "it waits", { everyMs: 100 });
    assert.equal(await redis.cli("llen", "short"), "1");
    await consumer.close();
  }
  await eventually(async () => await redis.cli("exists", "short") === "0", "it expires", { everyMs: 100 });
});
