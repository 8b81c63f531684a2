/**
 * The program on a Redis Cluster: beat's lock, which another beat takes when its owner is killed, and which outlives its
 * master; and over TLS with a password `migrate` from one Redis and back, a fleet, and the commands.
 */

import assert from "node:assert/strict";
import { App } from "../../../lib/app/mod.ts";
import { makeSigner, type Signer } from "../../support/certificates.ts";
import { DaemonFolder } from "../../support/daemons.ts";
import { eventually } from "../../support/ports.ts";
import { lovage, type Place, Program, startBeat, startWorker, TASKS } from "../../support/programs.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { type RedisCluster, startRedisCluster } from "../../support/redis_cluster.ts";
import { startRedis } from "../../support/servers.ts";
import { disposableFolder } from "../../support/temporary.ts";

const PASSWORD = "žluté";

let cluster: RedisCluster;
let folder: string;

Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir({ prefix: "lovage-cluster-" });
  const tls: Signer = await makeSigner(folder, "cluster", { names: "IP:127.0.0.1" });
  cluster = await startRedisCluster({ password: PASSWORD, tls });
});
Deno.test.afterAll(async () => {
  await cluster?.stop();
  await Deno.remove(folder, { recursive: true });
});

/** A place of one test's own: its keys have a tag of their own, and so perhaps another master. */
function newPlace(tag: string, conf: Record<string, unknown> = {}): Place {
  const options = { hash_tag: tag };
  return {
    broker: cluster.secureUrl(),
    backend: cluster.secureUrl(),
    conf: { broker_transport_options: options, ...conf },
  };
}

async function run(place: Place, ...args: string[]): Promise<string> {
  const { code, out, err } = await lovage(["-A", TASKS, ...args], place);
  assert.equal(code, 0, `${args}: ${out}${err}`);
  return out;
}

async function runOk(...args: string[]): Promise<string> {
  const { code, out, err } = await lovage(args);
  assert.equal(code, 0, `${args}: ${out}${err}`);
  return out;
}

const sends = (beat: Program) => beat.text.match(/Sending due task/g)?.length ?? 0;

Deno.test("beat on a cluster: two, the one that sends killed with -9, then the lock's master: nothing twice", async () => {
  await using files = await disposableFolder();
  await using cluster = await startRedisCluster();
  const where: Place = {
    broker: cluster.url(),
    conf: { beat_schedule: { tick: { task: "t.nobody", schedule: 1 } } },
  };
  const one = await startBeat(where, `${files.path}/1`);
  await one.says(/Sending due task tick/);
  await using two = await startBeat(where, `${files.path}/2`);
  await two.says(/standing by/);
  one.signal("SIGKILL");
  await one.ended;
  await two.says(/Taking over: no other beat sends for this schedule/);
  await eventually(() => sends(two) >= 2, "the other sends");

  await using three = await startBeat(where, `${files.path}/3`);
  await three.says(/standing by/);
  const master = await cluster.masterOf("{celery}");
  await cluster.killMaster(master);
  // Whoever of the two leads on the new master.
  const before = sends(two) + sends(three);
  await eventually(() => sends(two) + sends(three) >= before + 3, () => `sent: ${two.text}${three.text}`);
  await cluster.revive(master);
  const queued = JSON.parse(await cluster.cli("--json", "lrange", "{celery}celery", "0", "-1")) as string[];
  const ids = queued.map((one) => JSON.parse(one).headers.id);
  assert.ok(ids.length >= 5, `${ids.length} sent`);
  assert.equal(new Set(ids).size, ids.length, "sent twice");
  assert.equal(await two.stop(), 0);
  assert.equal(await three.stop(), 0);
});

Deno.test("migrate: from one Redis to a cluster and back, what is parked too; what is moved runs", async () => {
  await using redis = await startRedis();
  const one: Place = { broker: redis.url(0), backend: redis.url(1) };
  const there = cluster.secureUrl();
  const two: Place = { broker: there, backend: there };
  const call = (id: string, ...options: string[]) =>
    run(one, "call", "t.add", "-a", "[20, 22]", "--task-id", id, ...options);
  const lengths = async () =>
    [
      await redis.cli("llen", "celery"),
      await redis.cli("llen", "other"),
      await cluster.cli("llen", "{celery}celery"),
    ].map(Number);
  const ids = Array.from({ length: 5 }, (_, n) => `moved-${n}`);
  /** A worker has parked what is not due, and is killed: it stays parked. */
  const park = async (place: Place) => {
    await using worker = await startWorker(place, ["-P", "solo", "-n", "parks@h"]);
    await worker.says(/t\.add\[late\] received/);
    assert.match(await run(place, "inspect", "scheduled"), /late/);
    worker.signal("SIGKILL");
    await worker.ended;
  };
  await call("late", "--countdown", "3600");
  await park(one);
  for (const id of ids) await call(id);
  assert.deepEqual(await lengths(), [5, 0, 0]);
  assert.match(await runOk("migrate", one.broker!, there, "-a"), /Migrating task 6\/6: t\.add\[late\]\n$/);
  assert.deepEqual(await lengths(), [0, 0, 6]);
  const copied = await runOk("migrate", there, one.broker!, "-n", "1");
  assert.equal(copied, "Migrating task 1/6: t.add[moved-0]\n");
  assert.deepEqual(await lengths(), [1, 0, 6]);
  const moved = await runOk("migrate", there, one.broker!, "-a", "-Q", "celery:other");
  assert.match(moved, /Migrating task 6\/6: t\.add\[late\]\n$/);
  assert.deepEqual(await lengths(), [1, 6, 0]);
  await runOk("migrate", one.broker!, there, "-a", "-Q", "other:celery");
  assert.deepEqual(await lengths(), [1, 0, 6]);
  await park(two);
  await using app = new App("moved", {
    broker_url: there,
    result_backend: there,
  }, { world: realTestWorld() });
  for (const id of ids) assert.equal(await app.AsyncResult(id).get({ timeout: 120 }), 42);
  assert.equal(await runOk("migrate", there, one.broker!, "-a"), "Migrating task 1/1: t.add[late]\n");
  assert.deepEqual(await lengths(), [2, 0, 0]);
});

Deno.test("a fleet on a cluster is started, seen and stopped", async () => {
  await using daemons = await DaemonFolder.make();
  const place = newPlace("fleet");
  const files = [`--pidfile=${daemons.path}/%n.pid`, `--logfile=${daemons.path}/%n.log`];
  const multi = async (...words: string[]) => {
    const { code, out, err } = await lovage(["multi", ...words], {
      ...place,
      env: { LOVAGE_HOME: `${daemons.path}/home` },
    });
    assert.equal(code, 0, `${words}: ${out}${err}`);
    return out;
  };
  await multi("start", "2", "-A", TASKS, "-P", "solo", "-l", "INFO", ...files);
  assert.match(await run(place, "status"), /2 nodes online/);
  assert.equal(await run(place, "call", "t.add", "-a", "[1,2]", "--wait"), "3\n");
  await multi("restart", "celery1");
  assert.match(await run(place, "status"), /2 nodes online/);
  assert.deepEqual(Object.values(JSON.parse(await run(place, "inspect", "ping", "--json"))), [
    { ok: "pong" },
    { ok: "pong" },
  ]);
  await multi("stopwait", "2");
});

Deno.test("commands on a cluster: purge, dead, failed", async (t) => {
  const place = newPlace("commands");
  await t.step("purge", async () => {
    for (let n = 0; n < 3; n++) await run(place, "call", "t.add", "-a", "[1,2]", "--priority", String(3 * n));
    assert.match(await run(place, "purge", "-f"), /Purged 3 messages from 1 known task queue/);
  });
  await run(place, "call", "t.nobody", "-a", "[1]", "--task-id", "lost");
  await run(place, "call", "t.fail", "-a", '["ValueError", "boom"]', "--task-id", "bad");
  const work = async () => {
    await using worker = await startWorker(place, ["-P", "solo", "--burst"]);
    await worker.ended;
  };
  await work();
  for (const [what, id] of [["dead", "lost"], ["failed", "bad"]] as const) {
    await t.step(what, async () => {
      const list = async () => JSON.parse(await run(place, what, "list", "--json")) as { task_id: string }[];
      assert.deepEqual((await list()).map((one) => one.task_id), [id]);
      assert.match(await run(place, what, "show", id), /Queue: {3}celery/);
      await run(place, what, "retry", id);
      assert.deepEqual(await list(), []);
      await work();
      assert.equal((await list()).length, 1);
      assert.match(await run(place, what, "drop", "--all"), /Dropped 1/);
      assert.deepEqual(await list(), []);
    });
  }
});
