/**
 * Goal: nothing is lost and next to nothing doubled, whatever happens to workers, broker and connections at once.
 * Method: tasks write their ids to a file; two workers, `delivery=at-least-once`, over a proxy; a seeded script kills
 * workers with SIGKILL, restarts Redis (AOF) and cuts connections until all has happened and all ids are there.
 *
 * CHAOS="tasks=10000 kills=50 restarts=5 cuts=100 seed=1" runs a larger one.
 */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { SeededRandom } from "../support/fake_world.ts";
import { eventually, PATIENCE_MS } from "../support/ports.ts";
import { type Place, type Program, startWorker } from "../support/programs.ts";
import { startProxy } from "../support/proxy.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";

interface Chaos {
  tasks: number;
  kills: number;
  restarts: number;
  cuts: number;
  seed: number;
}

const SLOTS = 2;
/** Seconds; how much work there is follows from how long the faults take. */
const TASK_SECONDS = 0.02;

/** What is in a slot, or has just left it unacknowledged, when its worker dies. */
const IN_FLIGHT = SLOTS * 4;

function given(standard: Chaos): Chaos {
  const chaos = { ...standard };
  for (const [, name, value] of (Deno.env.get("CHAOS") ?? "").matchAll(/(\w+)=(\d+)/g)) {
    if (name! in chaos) chaos[name as keyof Chaos] = Number(value);
  }
  return chaos;
}

Deno.test("workers killed, Redis restarted, connections cut: no task lost, none doubled but those in flight", async () => {
  const chaos = given({ tasks: 400, kills: 2, restarts: 1, cuts: 4, seed: 1 });
  const isLarge = chaos.kills > 5;
  const random = new SeededRandom(chaos.seed);
  await using redis = await startRedis({ aof: true });
  await using proxy = startProxy(redis.port);
  const folder = await Deno.makeTempDir({ prefix: "lovage-chaos-" });
  const record = `${folder}/record`;
  const place: Place = {
    broker: `redis://127.0.0.1:${proxy.port}/0`,
    conf: { delivery: "at-least-once", lease: 3, task_ignore_result: true, worker_prefetch_multiplier: 4 },
  };
  const workers: Program[] = [];
  const start = async (n: number, isReady: boolean): Promise<void> => {
    workers[n] = await startWorker(place, ["-P", "processes", "-c", String(SLOTS), "-n", `w${n}@%h`], {
      isReady,
    });
  };
  try {
    const ids = await send(redis.url(), chaos.tasks, record);
    await Promise.all([start(0, true), start(1, true)]);

    const script = shuffled(random, [
      ...Array(chaos.kills).fill("kill"),
      ...Array(chaos.restarts).fill("restart"),
      ...Array(chaos.cuts).fill("cut"),
    ]);
    const done = { kill: 0, restart: 0, cut: 0 };
    for (const fault of script as ("kill" | "restart" | "cut")[]) {
      await new Promise((resolve) => setTimeout(resolve, 100 + random.fraction() * (isLarge ? 900 : 300)));
      done[fault]++;
      if (fault === "cut") proxy.cut();
      else if (fault === "restart") await redis.restart(200);
      else {
        const n = random.u32() % workers.length;
        await workers[n]!.stop("SIGKILL");
        await start(n, false);
      }
    }
    const lost = () => [...counts(record)].length < chaos.tasks;
    const all = { withinMs: PATIENCE_MS + chaos.tasks * TASK_SECONDS * 1000, everyMs: 100 };
    await eventually(() => !lost(), "every task has run", all).catch(async (error) => {
      const held = await redis.cli("hkeys", "unacked");
      const owners = await redis.cli("keys", "lovage:owner*");
      const said = workers.map(({ text }) => text.slice(-3000)).join("\n-----\n");
      throw new Error(`${error.message}\nheld: ${held}\nowners: ${owners}\n${said}`);
    });
    await eventually(
      async () => await redis.cli("hlen", "unacked") === "0" && await redis.cli("llen", "celery") === "0",
      "nothing is left at the broker",
      { everyMs: 100 },
    );
    const seen = counts(record);
    assert.deepEqual(ids.filter((id) => !seen.has(id)), []);
    const doubled = [...seen.values()].reduce((sum, count) => sum + count - 1, 0);
    console.log(`  ${chaos.tasks} tasks, ${JSON.stringify(done)}: 0 lost, ${doubled} doubled`);
    assert.ok(doubled <= done.kill * IN_FLIGHT, `${doubled} doubled by ${done.kill} kills`);
    assert.equal(await redis.cli("llen", "lovage:dead"), "0");
  } finally {
    await Promise.all(workers.map((worker) => worker.stop("SIGTERM", 10_000)));
    await Deno.remove(folder, { recursive: true });
  }
});

async function send(url: string, count: number, record: string): Promise<string[]> {
  const app = new App("chaos", { broker_url: url, task_ignore_result: true }, { world: realTestWorld() });
  const ids = Array.from({ length: count }, (_, n) => `task-${n}`);
  await app.sendMany(
    ids.map((taskId) => ({ task: "t.record", args: [record, TASK_SECONDS], options: { taskId } })),
  );
  await app.close();
  return ids;
}

/** How often each id was written. */
function counts(record: string): Map<string, number> {
  const seen = new Map<string, number>();
  let text = "";
  try {
    text = Deno.readTextFileSync(record);
  } catch {
    // Nothing has run yet.
  }
  for (const id of text.split("\n")) if (id !== "") seen.set(id, (seen.get(id) ?? 0) + 1);
  return seen;
}

function shuffled<T>(random: SeededRandom, items: T[]): T[] {
  for (let n = items.length - 1; n > 0; n--) {
    const other = random.u32() % (n + 1);
    [items[n], items[other]] = [items[other]!, items[n]!];
  }
  return items;
}
