// Goal: a long chain stays with the worker that runs it, and no step is lost with the process that holds it.
// Method: real workers on Redis; where the steps ran, and what the server was asked to do.
import assert from "node:assert/strict";
import { App, type AsyncResult, chain } from "../../lib/mod.ts";
import { eventually } from "../support/ports.ts";
import { type Place, startWorker } from "../support/programs.ts";
import { type RedisServer, startRedis } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";

const TASKS = filePath(new URL("../support/chain_tasks.ts", import.meta.url));
const STEPS = 60;
/** With this in each step a message is long until the last few. */
const PADDING = "ž".repeat(200);
const QUIET = ["--without-gossip", "--without-mingle"];

async function scene(args: readonly string[], act: (app: App, server: RedisServer) => Promise<void>) {
  await using server = await startRedis();
  const place: Place = { broker: server.url(), backend: server.url() };
  await using _worker = await startWorker(place, [...args, ...QUIET], { app: TASKS });
  await using app = new App("asker", { broker_url: server.url(), result_backend: server.url() });
  await act(app, server);
}

function steps(app: App, names: readonly string[]) {
  return chain(names.map((name, n) => app.signature(name, { args: n === 0 ? [[], PADDING] : [PADDING] })));
}

async function callsOf(server: RedisServer, command: string): Promise<number> {
  const stats = await server.cli("info", "commandstats");
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

for (const pool of ["processes", "threads", "async", "solo"]) {
  Deno.test(`${pool}: the steps of a chain follow one another in one worker, without a way through the queue`, async () => {
    await scene(["-P", pool, "-c", pool === "solo" ? "1" : "2"], async (app, server) => {
      const first = await steps(app, ["c.where", "c.where"]).applyAsync();
      await first.get({ timeout: 120 });
      const before = await callsOf(server, "lpush");
      const result = await steps(app, Array(STEPS).fill("c.where")).applyAsync();
      assert.equal((await result.get({ timeout: 120 }) as number[]).length, STEPS);
      // The first step was pushed by us. A look at the queue now and then may cross a step on its way.
      const pushed = await callsOf(server, "lpush") - before;
      assert.ok(pushed <= STEPS / 4, `${pushed} of ${STEPS} steps went through the queue`);
      const left = async () =>
        [await server.cli("llen", "celery"), await server.cli("hlen", "unacked")].join();
      await eventually(async () => await left() === "0,0", "nothing left at the broker");
    });
  });
}

Deno.test("processes: a step that waits in a process which dies runs in another one, whole", async () => {
  await scene(["-P", "processes", "-c", "2"], async (app, server) => {
    const names = Array(STEPS).fill("c.where");
    names[20] = "c.leave";
    const result = await steps(app, names).applyAsync() as AsyncResult;
    // The step that was lost fails those after it, as in Celery; they run all the same, and say so in the end.
    const meta = async (of: AsyncResult) =>
      JSON.parse(await server.cli("get", `celery-task-meta-${of.id}`) || "{}");
    await eventually(async () => (await meta(result)).status === "SUCCESS", "the last step to have run");
    const pids = (await meta(result)).result as number[];
    assert.equal(pids.length, STEPS);
    assert.equal(pids.slice(21).includes(pids[20]!), false, "its process is gone");
    let lost = result;
    for (let n = STEPS - 1; n > 20; n--) lost = lost.parent as AsyncResult;
    assert.equal((await meta(lost)).result.exc_type, "WorkerLostError");
  });
});
