/**
 * Goal: whatever the broker and the way to it do, the worker comes back and works: tasks, results and remote control.
 * Method: one worker over a scripted proxy to a Redis of its own; after each fault a task sent past the proxy must run,
 * once, and its result must arrive.
 */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { lovage, type Place, type Program, startWorker } from "../support/programs.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type RedisServer, startRedis } from "../support/servers.ts";

const QUICK = { socket_timeout: 1, health_check_interval: 1 };

interface Scene {
  redis: RedisServer;
  proxy: Proxy;
  worker: Program;
  app: App;
  place: Place;
  /** Sends `t.add` past the proxy and waits for its result. */
  works(): Promise<void>;
}

async function scene(
  act: (scene: Scene) => Promise<void>,
  options: { args?: string[]; broker?: string[]; conf?: Record<string, unknown>; worker?: string[] } = {},
): Promise<void> {
  await using redis = await startRedis({ aof: true, args: options.args ?? [] });
  await using proxy = startProxy(redis.port);
  const broker = [`redis://127.0.0.1:${proxy.port}/0`, ...options.broker ?? []];
  const place: Place = {
    conf: {
      broker_url: broker,
      result_backend: `redis://127.0.0.1:${proxy.port}/1`,
      broker_transport_options: QUICK,
      redis_socket_timeout: 1,
      ...options.conf,
    },
  };
  await using worker = await startWorker(place, options.worker ?? ["-P", "solo"]);
  const app = new App("fault", { broker_url: redis.url(0), result_backend: redis.url(1) }, {
    world: realTestWorld(),
  });
  let sent = 0;
  try {
    const tell = (error: unknown): never => {
      throw new Error(`${error}\n${worker.text.slice(-6000)}`);
    };
    await act({
      redis,
      proxy,
      worker,
      app,
      place,
      async works() {
        const result = await app.sendTask("t.add", { args: [++sent, 1] });
        assert.equal(await result.get({ timeout: 120 }).catch(tell), sent + 1);
      },
    });
  } finally {
    await app.close();
  }
}

const LOST = /Connection to broker lost/;
const REFUSED = /Connection to Redis lost: Retry/;

const times = (text: string, pattern: RegExp) => text.match(new RegExp(pattern, "g"))?.length ?? 0;

Deno.test("cuts, silence, full memory, forgotten scripts, a lost mastership: the worker goes on", async (t) => {
  await scene(async ({ redis, proxy, worker, works, app }) => {
    await works();

    await t.step("cut", async () => {
      proxy.cut();
      await works();
      assert.match(worker.text, /Connection to broker lost\. Trying to re-establish the connection/);
    });

    await t.step("cut in the middle of a reply", async () => {
      for (const bytes of [40, 300, 900, 1500]) {
        proxy.cutAfter(bytes, "down");
        proxy.cut();
        await new Promise((resolve) => setTimeout(resolve, 50));
        const result = await app.sendTask("t.size", { args: ["x".repeat(2000)] });
        await new Promise((resolve) => setTimeout(resolve, 50));
        proxy.cutAfter(null);
        proxy.cut();
        assert.equal(await result.get({ timeout: 120 }), 2000);
      }
    });

    await t.step("a half-open socket: no FIN, no answer", async () => {
      proxy.stall();
      await works();
      assert.match(worker.text, /no answer in 1 s|Connection to broker lost/);
    });

    await t.step("scripts flushed", async () => {
      await redis.cli("script", "flush");
      await works();
    });

    await t.step("out of memory: messages are still taken, results wait until there is room", async () => {
      const result = await app.sendTask("t.add", { args: [40, 2] });
      await result.get({ timeout: 120 });
      const waiting = await app.sendTask("t.sleep", { args: [0.3] });
      const before = times(worker.text, REFUSED);
      await redis.cli("config", "set", "maxmemory", "1");
      await eventually(() => times(worker.text, REFUSED) > before, "its result is refused");
      assert.equal(await waiting.state(), "PENDING");
      await redis.cli("config", "set", "maxmemory", "0");
      assert.equal(await waiting.get({ timeout: 120 }), 0.3);
      await works();
    });

    await t.step("it became a replica, and is a master again", async () => {
      await redis.cli("replicaof", "127.0.0.1", "1");
      const before = times(worker.text, LOST);
      // The lease's renewal is the first to be refused.
      await eventually(() => times(worker.text, LOST) > before, "the replica is left");
      await redis.cli("replicaof", "no", "one");
      await works();
    });

    // A result may be there before the acknowledgement, which goes another way.
    await eventually(async () => await redis.cli("hlen", "unacked") === "0", "nothing unacked");
    const ran = times(worker.text, /Task t\.\w+\[[-0-9a-f]+\] succeeded/);
    const ids = new Set([...worker.text.matchAll(/\[([-0-9a-f]+)\] succeeded/g)].map(([, id]) => id));
    assert.equal(ran, ids.size, "nothing has run twice");
  });
});

Deno.test("Redis away and back: one line for each attempt, then tasks, results and remote control go on", async () => {
  await scene(async ({ redis, worker, works, place }) => {
    await works();
    await redis.restart(2500);
    await worker.says(/Trying again in 2\.00 seconds\.\.\. \(1\/\d+\)/);
    await works();
    assert.equal(times(worker.text, /Trying again in 2\.00 seconds/), 1);
    await eventually(
      async () => {
        const { out } = await lovage(
          ["-A", `${import.meta.dirname}/../support/tasks.ts`, "inspect", "ping"],
          place,
        );
        return /pong/.test(out);
      },
      "remote control answers",
    );
  });
});

Deno.test("a server that is loading its data is waited for", async () => {
  const slow = ["--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024"];
  await scene(async ({ redis, worker, works }) => {
    for (let n = 0; n < 12; n++) await redis.cli("set", `key${n}`, "x".repeat(2000));
    await works();
    await redis.restart(0);
    await works();
    assert.match(worker.text, /LOADING|Connection to broker lost/);
  }, { args: slow });
});

Deno.test("a list of brokers: the next one is taken at once, and the first one again", async () => {
  await using second = await startRedis();
  await scene(async ({ proxy, worker, works }) => {
    await works();
    proxy.refuse();
    proxy.cut();
    await worker.says(/Will retry using next failover\./);
    await worker.says(new RegExp(`Connected to redis://127\\.0\\.0\\.1:${second.port}/0`));
    const app = new App("second", { broker_url: second.url(0) }, { world: realTestWorld() });
    await app.sendTask("t.quiet", { args: [] });
    await worker.says(/Task t\.quiet\[[-0-9a-f]+\] succeeded/);
    await app.close();
    proxy.accept();
    await second.stop();
    await works();
  }, { broker: [second.url(0)] });
});
