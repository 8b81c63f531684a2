/**
 * The pools under their own names, with a user's module, the real tracer and child processes of this program.
 */

import assert from "node:assert/strict";
import { runTasks } from "../support/pool_tasks.ts";

const MODULE = `
import { App } from "lovage";
export const app = new App("shop", { broker_url: "memory://", result_backend: "memory://" });
export const add = app.task("shop.add", (x: number, y: number) => x + y);
export const late = app.task("shop.late", async (x: number) => {
  await new Promise((done) => setTimeout(done, 5));
  console.log("late", x);
  return x;
});
export const slow = app.task("shop.slow", { bind: true }, async (self, ms: number) => {
  await new Promise((done) => {
    const timer = setTimeout(done, ms);
    self.signal.addEventListener("abort", () => clearTimeout(timer));
  });
});
export const strays = app.task("shop.strays", (n: number) => {
  if (n % 2) setTimeout(() => { throw new Error("stray " + n); }, 5);
  else setTimeout(() => void Promise.reject(new Error("stray " + n)), 5);
  return n;
});
export const sends = app.task("shop.sends", async () => (await add.delay(1, 2)).id.length);
export const progress = app.task("shop.progress", { bind: true }, async (self) => {
  await self.updateState("PROGRESS", { done: 1 });
  self.log.info("half way");
  return 1;
});
`;

for (const name of ["processes", "threads", "async"]) {
  Deno.test(`${name}: a slot above maxMemoryPerChild is replaced after its task`, async () => {
    const folder = Deno.makeTempDirSync();
    Deno.writeTextFileSync(`${folder}/tasks.ts`, MODULE);
    try {
      const calls = Array.from({ length: 4 }, (_, n) => ({ task: "shop.slow", args: [150 + n] }));
      const { ended, world } = await runTasks(name, folder, calls, {
        concurrency: 1,
        maxMemoryPerChild: 1000,
      });
      assert.ok(ended.every(({ kind }) => kind === "success"));
      const lines = world.log.records.map(({ message }) => message);
      const found = lines.filter((line) =>
        /^child process exiting after exceeding memory limit \(\d+KiB \/ 1000KiB\)$/.test(line)
      );
      assert.ok(found.length > 0, lines.join("\n"));
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

for (const name of ["solo", "processes", "threads", "async"]) {
  Deno.test(`${name}: errors of a task's timers are logged with the task, however often it ran`, async () => {
    const folder = Deno.makeTempDirSync();
    Deno.writeTextFileSync(`${folder}/tasks.ts`, MODULE);
    try {
      const calls = Array.from({ length: 40 }, (_, n) => ({ task: "shop.strays", args: [n] }));
      const { ended, world } = await runTasks(name, folder, [...calls, { task: "shop.slow", args: [1000] }]);
      assert.ok(ended.every(({ kind }) => kind === "success"));
      const lines = world.log.records.map(({ level, message, task }) => `${level} ${task?.id} ${message}`);
      for (let n = 0; n < 40; n++) {
        const mine = lines.filter((line) => line.includes(`stray ${n}\n`) || line.endsWith(`stray ${n}`));
        assert.equal(mine.length, 1, `stray ${n}: ${mine}`);
        assert.match(
          mine[0]!,
          new RegExp(
            `^ERROR id-${n} (Uncaught error|Unhandled rejection) outside a task: Error: stray ${n}\\b`,
          ),
        );
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });

  Deno.test(`${name}: a user's tasks run, print, send and report`, async () => {
    const folder = Deno.makeTempDirSync();
    Deno.writeTextFileSync(`${folder}/tasks.ts`, MODULE);
    try {
      const { outcomes, states, published, processes, world } = await runTasks(name, folder, [
        { task: "shop.add", args: [1, 2] },
        { task: "shop.late", args: [7] },
        { task: "shop.slow", args: [30_000], softTimeLimit: 0.1 },
        { task: "shop.sends", args: [] },
        { task: "shop.progress", args: [] },
        { task: "shop.unknown", args: [] },
      ]);
      const { document, kind } = outcomes.get("shop.add")!;
      assert.equal(kind, "success");
      assert.equal(JSON.parse(document as string).result, 3);
      assert.equal(outcomes.get("shop.late")!.summary, "7");
      const soft = outcomes.get("shop.slow")!;
      assert.deepEqual([soft.kind, soft.exception], ["failure", "SoftTimeLimitExceeded()"]);
      assert.equal(outcomes.get("shop.sends")!.summary, "36");
      assert.deepEqual(published, ["shop.add"]);
      assert.equal(outcomes.get("shop.unknown")!.kind, "failure");
      assert.match(states[0]!, /^shop\.progress PROGRESS .*"done": ?1/);
      const lines = world.log.records.map(({ level, message, task }) => `${level} ${task?.id} ${message}`);
      assert.ok(lines.includes("WARNING id-1 late 7"), lines.join("\n"));
      assert.ok(lines.includes("INFO id-4 half way"), lines.join("\n"));
      const expected = name === "processes" ? /^ForkPoolWorker-\d$/ : /^MainProcess$/;
      for (const process of processes) assert.match(process, expected);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}
