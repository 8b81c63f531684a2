/**
 * A cluster as broker and result store of whole programs: shared with Python's Celery over the node that serves the
 * hash tag, and with queues in groups that have tags of their own.
 */

import assert from "node:assert/strict";
import { App } from "../../../lib/app/mod.ts";
import { eventually } from "../../support/ports.ts";
import {
  environment,
  LOVAGE,
  lovage,
  type Place,
  Program,
  startPythonWorker,
  startWorker,
  TASKS,
} from "../../support/programs.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { type RedisCluster, startRedisCluster } from "../../support/redis_cluster.ts";
import { pythonPath } from "../../support/servers.ts";
import { disposableFolder } from "../../support/temporary.ts";
import { mustRun } from "../../support/run.ts";

let cluster: RedisCluster;

Deno.test.beforeAll(async () => {
  cluster = await startRedisCluster();
});
Deno.test.afterAll(() => cluster?.stop());

const PYTHON = `
import sys
from celery import Celery
app = Celery(broker=sys.argv[1])
app.conf.broker_transport_options = {'global_keyprefix': '{celery}'}
app.send_task('t.add', args=[20, 22])
print(app.control.ping(timeout=5))
`;

Deno.test("a cluster's broker is shared with Python over one node, and commands work over the cluster", async () => {
  const node = await cluster.masterOf("{celery}");
  {
    await using worker = await startWorker({ broker: cluster.url() }, ["-P", "solo"]);
    const said = await mustRun(["/usr/bin/python3", "-c", PYTHON, node.url()], {
      env: { PYTHONPATH: pythonPath() },
    });
    assert.match(said, /'ok': 'pong'/);
    await worker.says(/t\.add\[.*succeeded.*42/);
    for (const command of ["status", "inspect ping", "list bindings", "purge -f -Q celery"]) {
      const done = await lovage(["-b", cluster.url(), ...command.split(" ")]);
      assert.equal(done.code, 0, `${command}: ${done.err}`);
    }
  }
  const conf = { broker_transport_options: { global_keyprefix: "{celery}" } };
  await using worker = await startPythonWorker({ broker: node.url(), conf });
  const app = new App("shared", { broker_url: cluster.url() }, { world: realTestWorld() });
  try {
    await app.sendTask("t.add", { args: [40, 2] });
    await worker.says(/t\.add\[.*succeeded.*42/);
  } finally {
    await app.close();
  }
});

Deno.test("queue groups: one broker, whose queues are on several masters", async (t) => {
  const groups = { b: ["thumbs", "cut"], c: ["mail"] };
  const masters = await Promise.all(["{a}", "{b}", "{c}"].map((key) => cluster.masterOf(key)));
  assert.equal(new Set(masters.map(({ port }) => port)).size, 3);
  const conf = {
    broker_transport_options: { hash_tag: "a", queue_groups: groups },
    task_queues: {
      celery: {},
      thumbs: {},
      cut: { exchange: "media", exchange_type: "topic", routing_key: "video.#" },
    },
    beat_schedule: { often: { task: "t.add", schedule: 1, args: [1, 1], options: { queue: "thumbs" } } },
  };
  const place: Place = { broker: cluster.url(), backend: cluster.url(), conf };
  const run = async (...args: string[]) => {
    const { code, out, err } = await lovage(["-A", TASKS, ...args], place);
    assert.equal(code, 0, `${args}: ${out}${err}`);
    return out;
  };
  await using own = await startWorker(place, ["-P", "solo", "-Q", "celery", "-n", "own@groups"]);
  await using media = await startWorker(place, ["-P", "solo", "-Q", "thumbs,cut", "-n", "media@groups"]);
  await using app = new App("groups", {
    ...conf,
    broker_url: cluster.url(),
    result_backend: cluster.url(),
  }, { world: realTestWorld() });
  const send = (queue: string) => app.sendTask("t.add", { args: [2, 3], queue });

  await t.step("each queue lies under its group's tag, and its own worker runs it", async () => {
    const { length } = await Promise.all(["celery", "thumbs", "mail", "mail"].map(send));
    assert.equal(length, 4);
    assert.equal(await cluster.cli("llen", "{c}mail"), "2");
    assert.equal(await cluster.cli("llen", "{a}mail"), "0");
    await media.says(/t\.add\[.*succeeded.*5/);
    await own.says(/t\.add\[.*succeeded.*5/);
    const sent = await app.sendTask("t.add", { args: [4, 4], exchange: "media", routingKey: "video.long" });
    assert.equal(await sent.get({ timeout: 30 }), 8);
    assert.equal(await (await send("thumbs")).get({ timeout: 30 }), 5);
  });
  await t.step("remote control, and commands over all of them", async () => {
    assert.match(await run("status"), /2 nodes online/);
    assert.match(await run("list", "bindings"), /media/);
    assert.match(await run("purge", "-f", "-Q", "mail"), /2 messages/);
    assert.equal(await cluster.cli("exists", "{c}mail"), "0");
    await run("control", "add_consumer", "celery", "-d", "media@groups");
    await media.says(/Cannot consume from celery: .*queue group "a", and this worker consumes group "b"/);
  });
  await t.step("dead letters of every group are listed, and go back to their own queue", async () => {
    await app.sendTask("nobody.knows", { queue: "thumbs" });
    await eventually(async () => await cluster.cli("llen", "{b}lovage:dead") === "1", "it is a dead letter");
    const id = /^(\w{8})\s/m.exec(await run("dead", "list"))![1]!;
    await run("dead", "retry", id);
    await eventually(async () => await cluster.cli("llen", "{b}lovage:dead") === "1", "it is dead again");
  });
  await t.step("beat sends to a group", async () => {
    await using folder = await disposableFolder();
    const beat = ["-A", TASKS, "beat", "-s", `${folder.path}/schedule`];
    await using _ = new Program([...LOVAGE, ...beat], environment(place));
    await media.says(/t\.add\[.*succeeded.*: 2/);
  });
  await t.step("a worker of two groups is refused in one line", async () => {
    const { code, err } = await lovage(["-A", TASKS, "worker", "-P", "solo", "-Q", "celery,mail"], place);
    assert.equal(code, 64);
    assert.match(err, /queue "mail": it is in queue group "c", and this worker consumes group "a"/);
  });
});
