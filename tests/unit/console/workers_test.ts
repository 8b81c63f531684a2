/** What the console shows of a worker, and how long it waits for one. */

import assert from "node:assert/strict";
import type { Cluster } from "../../../lib/console/cluster/cluster.ts";
import { Inspector } from "../../../lib/console/cluster/inspector.ts";
import { workerView } from "../../../lib/console/cluster/workers.ts";
import { fakeWorld } from "../../support/fake_world.ts";

/** A cluster of one worker, which answers when it is told to. */
function rig() {
  const world = fakeWorld();
  const waiting: (() => void)[] = [];
  let isSilent = false;
  const cluster = {
    world,
    options: { inspectSeconds: 1, maxWorkers: 10 },
    counts: new Map(),
    workers: new Map([["w@h", { alive: true, heartbeats: [] }]]),
    ask: (method: string) =>
      new Promise((resolve) => {
        waiting.push(() => resolve(isSilent ? {} : { "w@h": method === "stats" ? { uptime: 5 } : [] }));
      }),
  } as unknown as Cluster;
  const inspector = new Inspector(cluster);
  const answer = (silent: boolean) => {
    isSilent = silent;
    for (const one of waiting.splice(0)) one();
  };
  return { world, answer, look: () => workerView(cluster, inspector, "w@h") };
}

Deno.test("workerView: a worker that is slow is shown as it is known, and what it says is there next", async () => {
  const { world, answer, look } = rig();
  const first = look();
  await world.clock.advance(90);
  assert.equal((await first)?.answered, null);
  answer(false);
  const second = look();
  answer(false);
  assert.deepEqual([(await second)?.answered, (await second)?.uptime], [true, 5]);
  const third = look();
  await world.clock.advance(90);
  assert.deepEqual([(await third)?.answered, (await third)?.uptime], [true, 5], "from what is known");
  answer(true);
  const fourth = look();
  answer(true);
  assert.equal((await fourth)?.answered, false);
});
