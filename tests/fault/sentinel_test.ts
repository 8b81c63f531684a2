/** The master dies: Sentinel makes its replica the master, and broker and result store follow. */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { type Place, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startSentinel } from "../support/sentinel.ts";
import { startRedis } from "../support/servers.ts";

Deno.test("Sentinel fails over: the worker goes on with the new master, and what it held is not lost", async () => {
  await using master = await startRedis();
  await using replica = await startRedis();
  await replica.cli("replicaof", "127.0.0.1", String(master.port));
  await eventually(
    async () => /master_link_status:up/.test(await replica.cli("info", "replication")),
    "replicates",
  );
  await using sentinel = await startSentinel({ name: "mine", port: master.port }, [
    "sentinel down-after-milliseconds mine 500",
    "sentinel failover-timeout mine 3000",
  ]);
  const { port } = sentinel;
  const place: Place = {
    broker: `sentinel://127.0.0.1:${port}/0`,
    backend: `sentinel://127.0.0.1:${port}/1`,
    conf: {
      broker_transport_options: { master_name: "mine", socket_timeout: 1 },
      result_backend_transport_options: { master_name: "mine", socket_timeout: 1 },
      task_acks_late: true,
    },
  };
  const knows = async () => /slaves=1/.test(await sentinel.info());
  await eventually(knows, "the sentinel knows both", { everyMs: 100 });
  await using worker = await startWorker(place, ["-P", "solo"]);
  const before = new App("before", { broker_url: master.url(0), result_backend: master.url(1) }, {
    world: realTestWorld(),
  });
  assert.equal(await (await before.sendTask("t.add", { args: [1, 1] })).get({ timeout: 120 }), 2);
  const long = await before.sendTask("t.sleep", { args: [3] });
  await worker.says(new RegExp(`${long.id}\\] received`));
  // The replica has what the master told it; that takes a moment.
  await eventually(async () => await replica.cli("hlen", "unacked") === "1", "replicated");
  await master.kill();
  await before.close();
  await eventually(
    async () => /role:master/.test(await replica.cli("info", "replication")),
    "it fails over",
    { everyMs: 50 },
  );
  const after = new App("after", { broker_url: replica.url(0), result_backend: replica.url(1) }, {
    world: realTestWorld(),
  });
  assert.equal(await (await after.sendTask("t.add", { args: [2, 2] })).get({ timeout: 120 }), 4);
  assert.equal(await after.AsyncResult(long.id).get({ timeout: 120 }), 3);
  await eventually(async () => await replica.cli("hlen", "unacked") === "0", "settled at the new master");
  assert.equal(worker.text.split(`[${long.id}] succeeded`).length - 1, 1, "it ran once");
  await after.close();
});
