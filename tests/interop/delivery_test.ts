/**
 * Python workers beside ours on one Redis: with a visibility timeout far shorter than our tasks and our delays they
 * leave alone what we hold and what is parked, and still restore what their own dead leave behind.
 *
 * Method: a Python process calls kombu's own sweep all the time; what it may take back it would have taken back many
 * times over.
 */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { type Place, Program, startPythonWorker, startWorker } from "../support/programs.ts";
import { environment } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";

/** Sweeps by kombu's rules every 100 ms; prints what it found in the end. */
const SWEEPER = `
import sys, time
from celery import Celery
app = Celery("sweeper", broker=sys.argv[1])
app.conf.broker_transport_options = {"visibility_timeout": float(sys.argv[2])}
with app.connection() as connection:
    channel = connection.default_channel
    print("sweeping", flush=True)
    while True:
        channel.qos.restore_visible(num=100, interval=1)
        time.sleep(0.1)
`;

Deno.test("Python's sweeps leave our running and our parked tasks alone; each runs once", async () => {
  await using redis = await startRedis();
  const place: Place = {
    broker: redis.url(),
    backend: redis.url(1),
    conf: { task_acks_late: true, lease: 3 },
  };
  const visibility = 2;
  await using ours = await startWorker(place, ["-P", "processes", "-c", "2"]);
  await using sweeper = new Program(
    ["/usr/bin/python3", "-c", SWEEPER, redis.url(), String(visibility)],
    environment(place),
  );
  await sweeper.says(/sweeping/);
  const app = new App("peers", { broker_url: redis.url(), result_backend: redis.url(1) }, {
    world: realTestWorld(),
  });
  try {
    const long = await app.sendTask("t.sleep", { args: [6] });
    await ours.says(new RegExp(`t\\.sleep\\[${long.id}\\] received`));
    const dueMs = Date.now() + 6000;
    const later = await app.sendTask("t.at", { eta: new Date(dueMs) });
    await eventually(async () => await redis.cli("zcard", "lovage:parked") === "1", "parked");
    // A Python worker looks for lost messages when it starts.
    await using theirs = await startPythonWorker({
      ...place,
      conf: { ...place.conf, broker_transport_options: { visibility_timeout: visibility } },
    });
    assert.equal(await long.get({ timeout: 120 }), 6);
    const ranMs = (await later.get({ timeout: 120 }) as number) * 1000;
    assert.ok(ranMs >= dueMs - 5 && ranMs < dueMs + 30_000, `${ranMs - dueMs} ms after it was due`);
    const runs = (id: string) => (ours.text + theirs.text).split(`[${id}] succeeded`).length - 1;
    await eventually(() => runs(later.id) > 0, "the log tells of it");
    assert.deepEqual([runs(long.id), runs(later.id)], [1, 1]);
    // A result may be there before the acknowledgement, which goes another way.
    await eventually(async () => await redis.cli("hlen", "unacked") === "0", "nothing unacked");
  } finally {
    await app.close();
  }
});
