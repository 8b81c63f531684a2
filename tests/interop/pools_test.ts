/** Pools in whole workers: slots by load, and what a worker remembers when it is killed. */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { lovage, type Place, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";

Deno.test("autoscale: slots follow the load, the range is changed by remote control", async () => {
  await using redis = await startRedis();
  const url = redis.url();
  const place: Place = { broker: url, backend: url, env: { AUTOSCALE_KEEPALIVE: "1" } };
  await using worker = await startWorker(place, ["-n", "w1@h", "-P", "threads", "--autoscale", "3,1"]);
  await using app = new App("asker", { broker_url: url, result_backend: url }, { world: realTestWorld() });
  const stats = async () => {
    const { out } = await lovage(["-b", url, "inspect", "stats", "-d", "w1@h", "--json"], place);
    const { pool, autoscaler } = JSON.parse(out)["w1@h"];
    return { slots: pool["max-concurrency"], autoscaler };
  };
  assert.deepEqual((await stats()).autoscaler, { max: 3, min: 1, current: 1, qty: 0 });

  const results = await Promise.all(Array.from({ length: 6 }, () => app.sendTask("t.sleep", { args: [2] })));
  await worker.says(/Scaling up \d processes\./);
  await eventually(async () => (await stats()).slots === 3, () => "never three slots");
  for (const result of results) assert.equal(await result.get({ timeout: 120 }), 2);
  await worker.says(/Scaling down \d processes\./);
  await eventually(async () => (await stats()).slots === 1, () => "never one slot again");

  const changed = await lovage(["-b", url, "control", "autoscale", "5", "2"], place);
  assert.match(changed.out, /autoscale now max=5 min=2/);
  assert.deepEqual((await stats()).autoscaler, { max: 5, min: 2, current: 2, qty: 0 });
  const refused = await lovage(["-b", url, "control", "pool_grow", "1"], place);
  assert.match(refused.out + refused.err, /pool_grow is not supported with autoscale/);
});

Deno.test("statedb: a worker that was killed still knows what was revoked", async () => {
  await using redis = await startRedis();
  const url = redis.url();
  const place: Place = { broker: url, backend: url };
  await using own = await disposableFolder();
  const folder = own.path;
  const args = ["-n", "w1@h", "-P", "solo", "-S", `${folder}/%n.state`];
  const first = await startWorker(place, args);
  await using app = new App("asker", { broker_url: url, result_backend: url }, { world: realTestWorld() });
  const before = (await Deno.stat(`${folder}/w1.state`)).size;
  assert.match((await lovage(["-b", url, "control", "revoke", "gone"], place)).out, /flagged as revoked/);
  await eventually(
    async () => (await Deno.stat(`${folder}/w1.state`)).size > before,
    () => "never saved",
  );
  first.signal("SIGKILL");
  await first.ended;
  await using second = await startWorker(place, args);
  await app.sendTask("t.add", { args: [1, 2], taskId: "gone" });
  await second.says(/Discarding revoked task: t\.add\[gone\]/);
  const { out } = await lovage(["-b", url, "inspect", "revoked"], place);
  assert.match(out, /gone/);
  await first.stop();
});
