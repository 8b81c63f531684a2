/** `lovage migrate` and `lovage graph`, from outside. */

import assert from "node:assert/strict";
import { type Consumer, queue } from "../../lib/transport/mod.ts";
import { App } from "lovage";
import { environment, lovage, TASKS } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";
import { mustRun } from "../support/run.ts";

Deno.test("migrate: copies, moves, filters, renames; what is not wanted keeps its place", async () => {
  const folder = await Deno.makeTempDir();
  await using redis = await startRedis();
  const source = redis.url(0);
  const world = realTestWorld();
  const from = new App("a", { broker_url: source }, { world });
  await from.sendMany(Array.from({ length: 30 }, (_, n) => ({
    task: n % 3 === 0 ? "t.mul" : "t.add",
    args: [n],
    options: { taskId: `id-${n}` },
  })));
  const length = async (db: number, queue = "celery") =>
    Number(await redis.cli("-n", String(db), "LLEN", queue));

  const copied = await lovage(["migrate", source, redis.url(1), "-n", "7"]);
  assert.equal(copied.code, 0, copied.err);
  assert.match(
    copied.out,
    /^Migrating task 1\/30: t\.mul\[id-0\]\n[\s\S]*Migrating task 7\/30: t\.mul\[id-6\]\n$/,
  );
  assert.deepEqual([await length(0), await length(1)], [30, 7]);

  const moved = await lovage(["migrate", source, `sqlite:///${folder}/b.db`, "-a", "-T", "t.add", "-j"]);
  assert.deepEqual([moved.code, moved.out], [0, '{"migrated":20}\n']);
  assert.equal(await length(0), 10);

  const renamed = await lovage(["migrate", source, redis.url(2), "-Q", "celery:other", "-a"]);
  assert.equal(renamed.code, 0, renamed.err);
  assert.deepEqual([await length(0), await length(2, "other")], [0, 10]);

  // What a worker has handed back until it is due goes as well.
  {
    await from.sendTask("t.later", { args: [1], taskId: "later", countdown: 3600 });
    await using broker = await from.connectBroker({ forWriting: true });
    const isParked = Promise.withResolvers<void>();
    const consumer: Consumer = await broker.consume(
      { queues: [queue("celery")], window: () => 1, owner: "test", leaseSeconds: 10 },
      {
        onDeliveries: ([later]) => {
          consumer.park(later!.tag, Date.now() + 3_600_000);
          isParked.resolve();
        },
        onUndecodable: ({ reason }) => isParked.reject(new Error(reason)),
        onLost: (error) => isParked.reject(error),
      },
    );
    await isParked.promise;
    await consumer.flush();
    const late = await lovage(["migrate", source, redis.url(3), "-a"]);
    assert.deepEqual([late.code, late.out], [0, "Migrating task 1/1: t.later[later]\n"]);
    assert.deepEqual([await broker.parked!(10), await length(3)], [[], 1]);
  }

  // What arrived runs: the body is the same, in the order it was sent.
  await using to = new App("b", { broker_url: `sqlite:///${folder}/b.db` }, { world });
  const connection = await to.connectBroker({ forWriting: true });
  const first = await connection.take("celery");
  assert.deepEqual([first?.message.headers["id"], atob(String(first?.message.body)).slice(0, 4)], [
    "id-1",
    "[[1]",
  ]);
  await connection.close();
  await from.close();
  assert.equal((await lovage(["migrate", source, source])).code, 64);
  assert.equal((await lovage(["migrate", source, "redis://127.0.0.1:1/0"])).code, 69);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("graph: workers as Celery draws them; the boot steps", async () => {
  const place = { broker: "redis://127.0.0.1:1/0", backend: "redis://127.0.0.1:1/1" };
  const words = ["nodes:a,b,c,d,e,f", "threads:1,2,3,4,5,9", "enumerate"];
  const ours = await lovage(["-A", TASKS, "graph", "workers", ...words], place);
  const theirs = await mustRun(
    ["/usr/bin/python3", "-m", "celery", "-A", "tasks", "graph", "workers", ...words],
    { env: environment(place), cwd: filePath(new URL("../support/", import.meta.url)) },
  );
  assert.equal(ours.out, theirs);
  const steps = await lovage(["-A", TASKS, "graph", "bootsteps", "consumer"], place);
  assert.match(steps.out, /^digraph dependencies \{\n[\s\S]*"Tasks" -> "∘Mingle"[\s\S]*\}\n$/);
  const json = JSON.parse((await lovage(["-A", TASKS, "graph", "bootsteps", "-j"], place)).out);
  assert.deepEqual(json.Consumer.map(({ name }: { name: string }) => name).slice(0, 6), [
    "Connection",
    "Events",
    "Heart",
    "Mingle",
    "Gossip",
    "Tasks",
  ]);
  assert.equal((await lovage(["graph", "bootstep"])).code, 64);

  const odd = ['nodes:a\\,b"];c\n\x1b[2J', "threads:1", "broker:x"];
  assert.match(
    (await lovage(["-A", TASKS, "graph", "workers", ...odd], place)).out,
    /^ {4}"a\\\\" \[.*\n(.*\n)*? {4}"b\\"\];c\\\\n\\\\x1b\[2J" \[/m,
  );
  for (const words of [["nodes:a", "threads:1e12"], ["wmax:two"], ["tmax:-1"]]) {
    const refused = await lovage(["-A", TASKS, "graph", "workers", "nodes:a", ...words], place);
    assert.deepEqual([refused.code, refused.out], [64, ""], words.join());
    assert.match(refused.err, /^Error: Cannot read "\w+:\S+": give whole numbers from 0 to 10000\n/);
  }
});
