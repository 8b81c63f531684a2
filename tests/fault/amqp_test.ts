/**
 * RabbitMQ under trouble, tasks acknowledged late: connections cut, the server restarted. Every task runs, none is lost.
 *
 * TASKS, CUTS and RESTARTS in the environment make it longer: 10,000, 20 and 3 are what the tracker asks for.
 */

import assert from "node:assert/strict";
import { App } from "lovage";
import { eventually } from "../support/ports.ts";
import { startWorker } from "../support/programs.ts";
import { startProxy } from "../support/proxy.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRabbit, startRedis } from "../support/servers.ts";

const number = (name: string, otherwise: number) => Number(Deno.env.get(name) ?? otherwise);

Deno.test("amqp: cut connections and restarts lose no late-acknowledged task", async () => {
  const [tasks, cuts, restarts] = [number("TASKS", 1500), number("CUTS", 5), number("RESTARTS", 1)];
  await using rabbit = await startRabbit();
  await using redis = await startRedis();
  await using proxy = startProxy(rabbit.port);
  const folder = await Deno.makeTempDir({ prefix: "lovage-fault-" });
  const record = `${folder}/ran`;
  const throughProxy = rabbit.url().replace(String(rabbit.port), String(proxy.port));
  const conf = { task_acks_late: true, broker_heartbeat: 4, worker_enable_prefetch_count_reduction: true };
  const app = new App("fault", { broker_url: rabbit.url(), result_backend: redis.url(0), ...conf }, {
    world: realTestWorld(),
  });
  try {
    const calls = Array.from({ length: tasks }, () => ({ task: "t.record", args: [record, 0.01] }));
    const sent = await app.sendMany(calls);
    const place = { broker: throughProxy, backend: redis.url(0), conf };
    await using worker = await startWorker(place, ["-P", "processes", "-c", "2"], {
      level: "WARNING",
      isReady: false,
    });
    const ran = async () => (await Deno.readTextFile(record).catch(() => "")).split("\n").filter(Boolean);
    // Trouble comes at even shares of the work, not by the clock: a slow machine sees the same.
    const total = cuts + restarts;
    for (let n = 1; n <= total; n++) {
      const share = Math.floor(tasks * n / (total + 1));
      await eventually(
        async () => (await ran()).length >= share,
        () => `${share} have run: ${worker.text.slice(-2000)}`,
        {
          everyMs: 50,
        },
      );
      if (n % Math.ceil(total / (restarts || 1)) === 0 && restarts > 0) await rabbit.restart();
      else {
        await proxy.untilOpen();
        proxy.cut();
      }
    }
    const wanted = new Set(sent.map(({ id }) => id));
    await eventually(
      async () => new Set(await ran()).size >= tasks,
      () => `all have run: ${worker.text.slice(-2000)}`,
      {
        everyMs: 100,
      },
    );
    const all = await ran();
    assert.deepEqual(new Set(all), wanted);
    // Those that ran while a connection was cut may run again: a few for each time.
    assert.ok(all.length - tasks <= total * 8, `${all.length - tasks} ran twice`);
    assert.equal(worker.status, null, "the worker still runs");
  } finally {
    await app.close();
    await Deno.remove(folder, { recursive: true });
  }
});
