/** How a fleet was started: remembered, found again, and merged with the options given now. */

import assert from "node:assert/strict";
import { Cluster, FleetMemory, mergeOptions, type Node } from "../../../lib/multi/mod.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

async function memory() {
  const home = await Deno.makeTempDir({ prefix: "memory-" });
  const world = realTestWorld({ env: { LOVAGE_HOME: home } });
  const nodes = (line: string, recalls = false) => Cluster.parse(line.split(" "), { world, recalls }).nodes;
  const kept = new FleetMemory(world.host);
  const start = (line: string, atMs = 1) => {
    for (const node of nodes(line)) kept.remember(node, 4711, atMs);
  };
  const recalled = (line: string): Node => nodes(line, true)[0]!;
  return { home, kept, start, recalled, remove: () => Deno.remove(home, { recursive: true }) };
}

Deno.test("recall: a node restarted without options gets those it was started with; given ones win", async () => {
  const { home, start, recalled, remove } = await memory();
  start(
    "w1 w2 -A /srv/tasks.ts -c 3 -Q:w1 a,b --loglevel=INFO --pidfile=/run/x/%n.pid --logfile=log/%n.log -- a.b=1",
  );
  assert.deepEqual(
    recalled("w1").argv().filter((word) => !/logfile/.test(word)).join(" "),
    `-A /srv/tasks.ts worker --detach -c 3 --loglevel=INFO --pidfile=/run/x/w1.pid -Q a,b -n ${
      recalled("w1").name
    } -- a.b=1`,
  );
  assert.equal(recalled("w1").logfilePath, `${Deno.cwd()}/log/w1.log`);
  const now = recalled("w1 --concurrency=5 -l DEBUG");
  assert.deepEqual([
    now.option("-c"),
    now.option("--concurrency"),
    now.option("--loglevel"),
    now.option("-l"),
  ], [
    null,
    "5",
    null,
    "DEBUG",
  ]);
  assert.equal(recalled("w2").option("-Q"), null);
  assert.equal(recalled("w3").option("-A"), null, "never started");
  const file = [...Deno.readDirSync(`${home}/multi`)][0]!;
  assert.equal(Deno.statSync(`${home}/multi/${file.name}`).mode! & 0o777, 0o600, "URLs may hold passwords");
  await remove();
});

Deno.test("recall: fleets with the same names are distinguished by pid file; without one the later fleet is meant", async () => {
  const { start, recalled, remove } = await memory();
  start("w1 -A one --pidfile=/run/one/%n.pid", 1);
  start("w1 -A two --pidfile=/run/two/%n.pid", 2);
  assert.equal(recalled("w1").option("-A"), "two");
  assert.equal(recalled("w1 --pidfile=/run/one/%n.pid").option("-A"), "one");
  assert.equal(recalled("w1 --pidfile=/run/three/%n.pid").option("-A"), null);
  await remove();
});

Deno.test("recall: a short name finds a node of another host if it is the only one", async () => {
  const { start, recalled, remove } = await memory();
  start("w1@else.where -A one --pidfile=/run/%n.pid");
  assert.equal(recalled("w1").name, "w1@else.where");
  assert.equal(recalled("w1 --hostname=here").option("-A"), null, "another host was asked for");
  start("w1@third.place -A one --pidfile=/run/%n.pid");
  assert.notEqual(recalled("w1").name, "w1@else.where");
  await remove();
});

Deno.test("recall: files that are not ours, or broken, are ignored", async () => {
  const { home, start, recalled, remove } = await memory();
  start("w1 -A one --pidfile=/run/%n.pid");
  for (const { name } of Deno.readDirSync(`${home}/multi`)) {
    Deno.writeTextFileSync(`${home}/multi/${name}`, '{"name":');
  }
  assert.equal(recalled("w1").option("-A"), null);
  await remove();
});

Deno.test("mergeOptions: spellings of one option are one option, order is kept", () => {
  const merged = mergeOptions(
    [["-c", "3"], ["-E", null], ["--broker", "x"], ["-n", "old"]],
    new Map([["-b", "y"], ["--concurrency", "4"]]),
  );
  assert.deepEqual([...merged], [["-E", null], ["-b", "y"], ["--concurrency", "4"]]);
});
