/**
 * The result store goes away while the broker stays: tasks go on, their results wait and arrive when it is back, and
 * what cannot be stored in the end is told.
 */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { type Place, startWorker } from "../support/programs.ts";
import { startProxy } from "../support/proxy.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";

Deno.test("results outlast the store's absence, with early and with late acknowledgement", async () => {
  await using redis = await startRedis();
  await using proxy = startProxy(redis.port);
  const place: Place = {
    broker: redis.url(0),
    backend: `redis://127.0.0.1:${proxy.port}/1`,
    conf: { worker_prefetch_multiplier: 0 },
  };
  await using worker = await startWorker(place, ["-P", "solo"]);
  const app = new App("store", { broker_url: redis.url(0), result_backend: redis.url(1) }, {
    world: realTestWorld(),
  });
  try {
    assert.equal(await (await app.sendTask("t.add", { args: [1, 1] })).get({ timeout: 120 }), 2);
    proxy.refuse();
    proxy.cut();
    const results = await app.sendMany(
      Array.from(
        { length: 300 },
        (_, n) => ({ task: n % 2 ? "t.add" : "t.rejected", args: n % 2 ? [n, 1] : [] }),
      ),
    );
    const last = await app.sendTask("t.add", { args: [20, 22] });
    await worker.says(new RegExp(`t\\.add\\[${last.id}\\] succeeded`));
    assert.equal(await redis.cli("-n", "1", "dbsize"), "1");
    proxy.accept();
    assert.equal(await last.get({ timeout: 120 }), 42);
    for (let n = 1; n < results.length; n += 2) assert.equal(await results[n]!.get({ timeout: 120 }), n + 1);
    // A result may be there before the acknowledgement, which goes another way.
    await eventually(async () => await redis.cli("hlen", "unacked") === "0", "nothing unacked");
  } finally {
    await app.close();
  }
});

Deno.test("a result that can never be stored is told, with its task", async () => {
  await using redis = await startRedis();
  await using proxy = startProxy(redis.port);
  const place: Place = {
    broker: redis.url(0),
    backend: `redis://127.0.0.1:${proxy.port}/1`,
    conf: {
      result_backend_always_retry: true,
      result_backend_max_retries: 2,
      result_backend_max_sleep_between_retries_ms: 50,
      task_acks_late: true,
    },
  };
  await using worker = await startWorker(place, ["-P", "solo"]);
  const app = new App("store", { broker_url: redis.url(0) }, { world: realTestWorld() });
  try {
    proxy.refuse();
    proxy.cut();
    const sent = await app.sendTask("t.add", { args: [1, 1] });
    await worker.says(new RegExp(`ERROR/MainProcess\\] Cannot store the result of task ${sent.id}: `));
  } finally {
    await app.close();
  }
});

Deno.test("a store that is silent is left for a new connection, and the result arrives", async () => {
  await using redis = await startRedis();
  await using proxy = startProxy(redis.port);
  // Celery's two minutes for a socket stay: what is asked of the store is looked after by itself, for ten seconds.
  const place: Place = { broker: redis.url(0), backend: `redis://127.0.0.1:${proxy.port}/1` };
  await using worker = await startWorker(place, ["-P", "solo"]);
  const app = new App("store", { broker_url: redis.url(0), result_backend: redis.url(1) }, {
    world: realTestWorld(),
  });
  try {
    const add = async (n: number) =>
      await (await app.sendTask("t.add", { args: [n, 1] })).get({ timeout: 120 });
    assert.equal(await add(1), 2);
    proxy.stall();
    assert.equal(await add(2), 3);
    assert.equal(worker.text.match(/Connection to Redis lost/g)?.length, 1);
  } finally {
    await app.close();
  }
});
