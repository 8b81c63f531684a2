/**
 * Children that come and go, by the thousand and under fire: nothing is left of them and nothing is lost.
 * LOVAGE_RECYCLED: how many children (60); LOVAGE_STORM: seconds of kills (4).
 */

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { App } from "../../lib/app/mod.ts";
import { eventually } from "../support/ports.ts";
import { type Place, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";

const RECYCLED = Number(Deno.env.get("LOVAGE_RECYCLED") ?? 60);
const STORM_SECONDS = Number(Deno.env.get("LOVAGE_STORM") ?? 4);

/** What the process has open, by kind; sockets and pipes without their numbers. */
function openFiles(pid: number): string[] {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`).replace(/lovage-\d\S*/, "journal").replace(
        /\d+/g,
        "n",
      );
    } catch {
      return "gone"; // between the two looks
    }
  }).sort();
}

function childrenOf(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.trim().split(/\s+/).filter(Boolean).map(Number);
}

/** Journals have no name once both ends have them. */
function leftJournals(pid: number): string[] {
  return ["/dev/shm", "/tmp"].flatMap((folder) =>
    [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.startsWith(`lovage-${pid}-`))
  );
}

Deno.test("recycled children: processes and open files are the same as before", async () => {
  await using redis = await startRedis();
  const url = redis.url();
  const place: Place = { broker: url, backend: url };
  const args = ["-P", "processes", "-c", "2", "--max-tasks-per-child", "1"];
  await using worker = await startWorker(place, args, { level: "WARNING", isReady: false });
  await using app = new App("asker", { broker_url: url, result_backend: url }, { world: realTestWorld() });
  const run = async (count: number) => {
    const results = [];
    for (let n = 0; n < count; n++) results.push(await app.sendTask("t.add", { args: [n, 1] }));
    for (const [n, result] of results.entries()) assert.equal(await result.get({ timeout: 300 }), n + 1);
  };
  // Two children with everything that a child has: its journal comes last.
  const isWhole = (files: string[]) =>
    childrenOf(worker.pid).length === 2 && files.filter((file) => file.includes("journal")).length === 2;
  const look = async (isExpected: (files: string[]) => boolean) => {
    let files: string[] = [];
    await eventually(
      () => isExpected(files = openFiles(worker.pid)),
      () => `files ${files.join(", ")}; children ${childrenOf(worker.pid)}`,
    );
    return files;
  };
  await run(4);
  const before = await look(isWhole);
  await run(RECYCLED);
  await look((files) => isWhole(files) && isDeepStrictEqual(files, before));
  assert.deepEqual(leftJournals(worker.pid), []);
});

Deno.test("a storm of kill -9 on children: nothing is lost, the worker stays", async () => {
  await using redis = await startRedis();
  const url = redis.url();
  const place: Place = {
    broker: url,
    backend: url,
    conf: { task_acks_late: true, task_reject_on_worker_lost: true, task_max_attempts: 1000 },
  };
  await using worker = await startWorker(place, ["-P", "processes", "-c", "2"], {
    level: "CRITICAL",
    isReady: false,
  });
  await using app = new App("asker", { broker_url: url, result_backend: url }, { world: realTestWorld() });
  assert.equal(await (await app.sendTask("t.add", { args: [1, 1] })).get({ timeout: 120 }), 2);
  const results = [];
  const end = performance.now() + STORM_SECONDS * 1000;
  let kills = 0;
  while (performance.now() < end) {
    for (let n = 0; n < 5; n++) results.push(await app.sendTask("t.sleep", { args: [0.02] }));
    await new Promise((next) => setTimeout(next, 100));
    const children = childrenOf(worker.pid);
    if (children.length === 0) continue;
    try {
      Deno.kill(children[Math.floor(Math.random() * children.length)]!, "SIGKILL");
      kills++;
    } catch {
      // It was gone already.
    }
  }
  for (const result of results) assert.equal(await result.get({ timeout: 120 }), 0.02);
  assert.ok(kills > 0);
  assert.equal(worker.status, null, "the worker runs");
});
