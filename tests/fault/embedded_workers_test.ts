/**
 * Many worker processes on one file of the embedded broker: every task runs, also where workers are killed with SIGKILL,
 * and runs twice only where its worker was killed before it could acknowledge it.
 *
 * The large run: EMBEDDED="tasks=20000 workers=8 kills=6" deno test -A tests/fault/embedded_workers_test.ts
 */

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { environment, LOVAGE, type Place, Program } from "../support/programs.ts";
import { eventually } from "../support/ports.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { disposableFolder } from "../support/temporary.ts";

const SIZE = new Map(
  (Deno.env.get("EMBEDDED") ?? "").split(/\s+/).filter(Boolean).map((part) => {
    const [name, value] = part.split("=");
    return [name!, Number(value)];
  }),
);
const TASKS = SIZE.get("tasks") ?? 1500;
const WORKERS = SIZE.get("workers") ?? 4;
const KILLS = SIZE.get("kills") ?? 2;
/** Tasks of one worker that may have run and not be acknowledged when it is killed: a turn's, of tasks this short. */
const IN_FLIGHT_MAX = 300;

const MODULE = `
import { App } from "lovage";
export const app = new App("many", { task_acks_late: true });
app.task("many.note", (n: number) => {
  Deno.writeTextFileSync(Deno.env.get("NOTES")!, n + "\\n", { append: true });
  return n;
});
`;

Deno.test("sqlite: workers on one file run every task, though some are killed", async () => {
  await using folder = await disposableFolder();
  const url = `sqlite://${folder.path}/broker.db`;
  const notes = `${folder.path}/notes`;
  const app = `${folder.path}/many.ts`;
  await Deno.writeTextFile(app, MODULE);
  await Deno.writeTextFile(notes, "");
  const place: Place = { env: { NOTES: notes } };
  const start = async (): Promise<Program> => {
    const argv = ["-A", app, "-b", url, "worker", "-P", "solo", "-l", "INFO", "--without-heartbeat"];
    const worker = new Program([...LOVAGE, ...argv], environment(place));
    await worker.says(/ ready\./, 120_000);
    return worker;
  };
  const sender = new App("sender", { broker_url: url, result_backend: "disabled" }, {
    world: realTestWorld(),
  });
  const workers: Program[] = [];
  try {
    for (let n = 0; n < WORKERS; n++) workers.push(await start());
    const counted = (): Map<number, number> => {
      const counts = new Map<number, number>();
      for (const line of Deno.readTextFileSync(notes).split("\n")) {
        if (line !== "") counts.set(Number(line), (counts.get(Number(line)) ?? 0) + 1);
      }
      return counts;
    };
    const beganMs = performance.now();
    const sending = (async () => {
      for (let from = 0; from < TASKS; from += 500) {
        const some = Array.from({ length: Math.min(500, TASKS - from) }, (_, n) => from + n);
        await sender.sendMany(some.map((n) => ({ task: "many.note", args: [n] })));
      }
    })();
    for (let kill = 1; kill <= KILLS; kill++) {
      await eventually(() => counted().size >= kill * TASKS / (KILLS + 2), "some have run", {
        withinMs: 300_000,
      });
      const victim = workers.shift()!;
      victim.signal("SIGKILL");
      await victim.ended;
      workers.push(await start());
    }
    await sending;
    await eventually(() => counted().size === TASKS, () => `all have run: ${counted().size}`, {
      withinMs: 300_000,
    });
    const seconds = (performance.now() - beganMs) / 1000;
    const counts = [...counted().values()];
    const doubled = counts.filter((count) => count > 1).length;
    assert.ok(doubled <= KILLS * IN_FLIGHT_MAX, `${doubled} ran twice`);
    if (SIZE.size > 0) {
      const rate = (TASKS / seconds).toFixed(0);
      console.log(`${TASKS} tasks, ${WORKERS} workers, ${KILLS} killed: ${rate}/s, ${doubled} ran twice`);
    }
    for (const worker of workers) {
      assert.equal(await worker.stop("SIGTERM", 60_000), 0, worker.text.slice(-2000));
    }
    // Nothing comes again once all is acknowledged.
    await using last = await startBurst();
    await last.ended;
    assert.deepEqual([counted().size, last.status?.code], [TASKS, 0]);
  } finally {
    await sender.close();
    for (const worker of workers) await worker.stop("SIGKILL");
  }

  function startBurst(): Promise<Program> {
    const argv = ["-A", app, "-b", url, "worker", "-P", "solo", "--burst"];
    return Promise.resolve(new Program([...LOVAGE, ...argv], environment(place)));
  }
});
