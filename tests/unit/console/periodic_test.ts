/** Beat's entries as the console shows them. */

import assert from "node:assert/strict";
import { App } from "../../../lib/app/mod.ts";
import { OperatingError } from "../../../lib/base/mod.ts";
import type { Cluster } from "../../../lib/console/cluster/cluster.ts";
import { listPeriodic } from "../../../lib/console/cluster/periodic.ts";
import { fakeWorld } from "../../support/fake_world.ts";

Deno.test("periodic: the last run that events told of has the entry's name and arguments", async () => {
  const schedule = { task: "reports.daily", schedule: 15 };
  const conf = {
    broker_url: "memory://",
    beat_schedule: {
      nightly: { ...schedule, args: ["nightly"] },
      hourly: { ...schedule, args: ["hourly"], kwargs: { deep: true } },
    },
    beat_schedule_filename: `/nowhere/${crypto.randomUUID()}`,
  };
  await using app = new App("shop", conf, { world: fakeWorld() });
  const task = (id: string, args: string, kwargs = "{}") => ({
    id,
    state: { args, kwargs, sent: 7, state: "SUCCESS" },
  });
  const rows = [
    task("by hand", "('part 1',)"),
    task("beat's", "('nightly',)"),
    task("before", "('nightly',)"),
  ];
  const asked: string[] = [];
  const cluster = {
    app,
    history: {
      compile: (search: string) => void asked.push(search),
      newest: () => [],
      tasks: { rows: () => rows },
    },
    connection: () => Promise.reject(new OperatingError("the broker is away")),
  } as unknown as Cluster;
  const { rows: [hourly, nightly], leader, whyNoLeader } = await listPeriodic(cluster, true);
  assert.deepEqual([hourly?.lastId, hourly?.lastRun, hourly?.inWords], [null, null, "every 15 seconds"]);
  assert.deepEqual([nightly?.lastId, nightly?.lastRun, nightly?.lastState], ["beat's", 7, "SUCCESS"]);
  assert.deepEqual([leader, whyNoLeader], [null, null]);
  assert.equal(asked[0], 'name:"=reports.daily"');
});
