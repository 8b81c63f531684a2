/** The Cluster API: names of options, order, and events; tests/cli/multi_test.ts uses real processes. */

import assert from "node:assert/strict";
import { Cluster } from "../../../lib/multi/mod.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

Deno.test("Cluster.of: options by their names, true without a value, false left out", async () => {
  const home = await Deno.makeTempDir();
  const world = realTestWorld({ env: { LOVAGE_HOME: home } });
  const cluster = Cluster.of(["w1", "w2@h"], {
    app: "tasks.ts",
    concurrency: 2,
    taskEvents: true,
    without_gossip: false,
    pidfile: `${home}/%n.pid`,
    "concurrency:w1": 4,
  }, { world });
  assert.deepEqual(cluster.find("w2@h")!.argv(), [
    "--app=tasks.ts",
    "worker",
    "--detach",
    "--concurrency=2",
    "--task-events",
    `--pidfile=${home}/w2.pid`,
    "-n",
    "w2@h",
    `--logfile=${cluster.find("w2@h")!.logfile}`,
  ]);
  assert.equal(cluster.nodes[0]!.option("--concurrency"), "4");
  assert.equal(cluster.find("w9@h"), null);
  assert.deepEqual(cluster.nodes.map((node) => cluster.pidOf(node)), [null, null]);
  await Deno.remove(home, { recursive: true });
});

Deno.test("Cluster: nodes that are not running are down, reported in order; a program that fails is a failed start", async () => {
  const home = await Deno.makeTempDir();
  const world = realTestWorld({ env: { LOVAGE_HOME: home } });
  const told: string[] = [];
  const words = ["b", "a", `--pidfile=${home}/%n.pid`, `--logfile=${home}/%n.log`, "--executable=/bin/false"];
  const cluster = Cluster.parse(words, {
    world,
    events: {
      onNodeDown: (node) => told.push(`down ${node.shortName}`),
      onNodeStart: (node) => told.push(`start ${node.shortName}`),
      onNodeRestart: (node) => told.push(`restart ${node.shortName}`),
      onChildFailure: (node, { code }) => told.push(`failure ${node.shortName} ${code}`),
      onNodeStatus: (node, { status }) => told.push(`${status} ${node.shortName}`),
    },
  });
  assert.deepEqual((await cluster.stop()).map(({ status }) => status), ["down", "down"]);
  assert.deepEqual((await cluster.start()).map(({ status, code }) => `${status} ${code}`), [
    "failed 1",
    "failed 1",
  ]);
  assert.deepEqual((await cluster.restart()).map(({ status }) => status), ["failed", "failed"]);
  assert.deepEqual(told, [
    ...["down b", "down a"],
    ...["start b", "failure b 1", "failed b", "start a", "failure a 1", "failed a"],
    ...["restart b", "failure b 1", "failed b", "restart a", "failure a 1", "failed a"],
  ]);
  await Deno.remove(home, { recursive: true });
});

Deno.test("Cluster: a process that is not a worker is not signalled, whatever its pid file says", async () => {
  const home = await Deno.makeTempDir();
  const world = realTestWorld({ env: { LOVAGE_HOME: home } });
  const stranger = new Deno.Command("sleep", { args: ["30"] }).spawn();
  try {
    const pidfile = `${home}/w1.pid`;
    Deno.writeTextFileSync(pidfile, `${stranger.pid}\n`);
    const told: string[] = [];
    const cluster = Cluster.parse(["w1", `--pidfile=${pidfile}`], {
      world,
      events: { onNodeForeign: (node, pid) => told.push(`${node.shortName} ${pid}`) },
    });
    assert.equal(cluster.pidOf(cluster.nodes[0]!), null);
    for (const act of [() => cluster.stop(), () => cluster.stopwait(), () => cluster.kill()]) {
      assert.deepEqual((await act()).map(({ status }) => status), ["refused"]);
    }
    assert.deepEqual(told, Array(3).fill(`w1 ${stranger.pid}`));
    assert.equal(Deno.readTextFileSync(pidfile), `${stranger.pid}\n`);
    // Throws if it has ended.
    stranger.kill("SIGCONT");
  } finally {
    stranger.kill("SIGKILL");
    await stranger.status;
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("Cluster: a node without a pid file is not started, since it could not be stopped", async () => {
  const home = await Deno.makeTempDir();
  const world = realTestWorld({ env: { LOVAGE_HOME: home } });
  const cluster = Cluster.parse(["w1", "--pidfile=/dev/null", `--logfile=${home}/w1.log`], { world });
  const [outcome] = await cluster.start();
  assert.deepEqual([outcome!.status, outcome!.code], ["failed", 73]);
  assert.match(outcome!.error!, /^Error: Cannot start w1@\S+ without a pid file: /);
  assert.deepEqual([...Deno.readDirSync(home)], []);
  await Deno.remove(home, { recursive: true });
});
