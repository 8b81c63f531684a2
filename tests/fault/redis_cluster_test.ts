// Goal: what a cluster goes through loses no task. Tasks flow all the time while masters are killed, fail over in order,
// and while the slot of the broker's keys is moved. Every task's result must come.

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { type Place, type Program, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type RedisCluster, startRedisCluster } from "../support/redis_cluster.ts";
import type { RedisServer } from "../support/servers.ts";

/** The broker's key whose slot all of its keys have. */
const BROKER_KEY = "{celery}";
const BATCH = 50;

Deno.test("10,000 tasks while each master is killed and fails over in turn: none is lost", async () => {
  await using cluster = await startRedisCluster();
  await flow(cluster, 10_000, async () => {
    for (const master of await mastersOf(cluster)) {
      // On a busy machine it may have failed over by itself meanwhile.
      if (!await isMaster(master)) continue;
      await cluster.killMaster(master);
      await cluster.revive(master);
    }
    for (const master of await mastersOf(cluster)) {
      if (!await isMaster(master)) continue;
      await cluster.failOver(master);
      await cluster.untilHealthy();
    }
  });
});

Deno.test("the slot of the broker's keys is moved while tasks flow, and back again: none is lost", async () => {
  await using cluster = await startRedisCluster();
  await flow(cluster, 1000, async () => {
    const from = await cluster.masterOf(BROKER_KEY);
    const to = (await mastersOf(cluster)).find((master) => master !== from)!;
    await cluster.moveSlot(BROKER_KEY, to, 20);
    await cluster.moveSlot(BROKER_KEY, from, 20);
  });
});

/** Sends tasks for as long as the trouble lasts, at least `count`, and waits for every result. */
async function flow(cluster: RedisCluster, count: number, trouble: () => Promise<void>): Promise<void> {
  const place: Place = {
    broker: cluster.url(),
    backend: cluster.url(),
    conf: {
      // The machine may be slow to elect a master.
      task_publish_retry_policy: { max_retries: null, interval_max: 0.2 },
      result_backend_transport_options: { retry_policy: { max_retries: null } },
    },
  };
  const one = await startWorker(place, ["-P", "solo", "-n", "one@h"], { level: "WARNING", isReady: false });
  const two = await startWorker(place, ["-P", "solo", "-n", "two@h"], { level: "WARNING", isReady: false });
  const app = new App("cluster", {
    broker_url: place.broker!,
    result_backend: place.backend!,
    ...place.conf,
  }, { world: realTestWorld() });
  try {
    let isOver = false;
    const over = trouble().finally(() => isOver = true);
    over.catch(() => {}); // heard of below
    const results: Promise<number>[] = [];
    while (results.length < count || !isOver) {
      const from = results.length;
      const sent = await Promise.all(
        Array.from({ length: BATCH }, (_, n) => app.sendTask("t.add", { args: [from + n, 1] })),
      );
      for (const result of sent) {
        const got = result.get({ timeout: 300 }) as Promise<number>;
        got.catch(() => {}); // heard of below, unless something else is the matter
        results.push(got);
      }
      // Tasks are to flow through all of the trouble, however long that takes.
      if (!isOver) await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await over;
    const values = await Promise.all(results);
    values.forEach((value, n) => assert.equal(value, n + 1));
    const left = async () =>
      [
        await cluster.cli("llen", "{celery}celery"),
        await cluster.cli("hlen", "{celery}unacked"),
      ].join();
    await eventually(async () => await left() === "0,0", "nothing is left at the broker", {
      everyMs: 200,
    });
  } catch (error) {
    throw new Error(`${error}\n${endOf(one)}\n${endOf(two)}`, { cause: error });
  } finally {
    await app.close();
    await Promise.all([one.stop(), two.stop()]);
  }
}

async function mastersOf(cluster: RedisCluster) {
  const masters = [];
  for (const node of cluster.nodes) if (await isMaster(node)) masters.push(node);
  return masters;
}

async function isMaster(node: RedisServer): Promise<boolean> {
  return (await node.cli("role")).startsWith("master");
}

function endOf({ text }: Program): string {
  return text.slice(-2000);
}
