/**
 * Goal: tasks that are not due cost a worker nothing, survive it, and run once.
 * Method: many tasks due in an hour, whose worker's memory is read before and after; then tasks due in a few seconds,
 * whose worker is killed while it parks them.
 *
 * ETA="parked=100000 soon=20000" runs a larger one.
 */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { type Place, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";

const GROWTH_MAX = 32 * 1024 * 1024;

function given(name: string, standard: number): number {
  return Number(new RegExp(`${name}=(\\d+)`).exec(Deno.env.get("ETA") ?? "")?.[1] ?? standard);
}

function rssBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) * 1024;
}

Deno.test("tasks due in an hour cost no memory; tasks due soon survive kill -9 and run once", async () => {
  const [parked, soon] = [given("parked", 5000), given("soon", 500)];
  await using redis = await startRedis();
  const place: Place = {
    broker: redis.url(),
    conf: { lease: 2, task_ignore_result: true, delivery: "at-least-once" },
  };
  const app = new App("eta", { broker_url: redis.url(), task_ignore_result: true }, {
    world: realTestWorld(),
  });
  const count = async () => Number(await redis.cli("zcard", "lovage:parked"));
  const folder = await Deno.makeTempDir({ prefix: "lovage-eta-" });
  const record = `${folder}/record`;
  const send = async (n: number, eta: Date) => {
    for (let from = 0; from < n; from += 5000) {
      await app.sendMany(Array.from({ length: Math.min(5000, n - from) }, (_, i) => ({
        task: "t.record",
        args: [record],
        options: { taskId: `eta-${n}-${from + i}`, eta },
      })));
    }
  };
  try {
    const one = await startWorker(place, ["-P", "solo"], { level: "WARNING", isReady: false });
    await eventually(async () => await redis.cli("keys", "lovage:owner:*"), "it has started");
    // The first few warm the engine up.
    await send(500, new Date(Date.now() + 3_600_000));
    await eventually(async () => await count() === 500, "parked");
    const before = rssBytes(one.pid);
    await send(parked, new Date(Date.now() + 3_600_000));
    await eventually(async () => await count() === 500 + parked, "all are parked", {
      everyMs: 50,
    });
    const growth = rssBytes(one.pid) - before;
    console.log(`  ${parked} parked: ${(growth / 1024 / 1024).toFixed(1)} MB more`);
    assert.ok(growth < GROWTH_MAX, `${growth} bytes more`);

    const dueMs = Date.now() + 4000 + soon / 5;
    await send(soon, new Date(dueMs));
    await eventually(async () => await count() > 500 + parked, "some are parked");
    one.signal("SIGKILL");
    await one.ended;
    await using _two = await startWorker(place, ["-P", "solo"], { level: "WARNING", isReady: false });
    const ids = () => {
      try {
        return Deno.readTextFileSync(record).trim().split("\n");
      } catch {
        return [];
      }
    };
    await eventually(() => new Set(ids()).size === soon, () => `${ids().length} of ${soon} have run`, {
      everyMs: 50,
    });
    assert.ok(Date.now() >= dueMs);
    assert.equal(ids().length, soon, "each once");
    assert.equal(await count(), 500 + parked);
    await one[Symbol.asyncDispose]();
  } finally {
    await app.close();
    await Deno.remove(folder, { recursive: true });
  }
});
