/** Tasks that declare permissions and memory, in every pool: what they may, what is refused, what survives them. */

import assert from "node:assert/strict";
import type { Outcome } from "../../../lib/app/mod.ts";
import { runTasks } from "../../support/pool_tasks.ts";

const POOLS = ["processes", "threads", "async", "solo"];

function module(folder: string): string {
  return `
import { App } from "lovage";
import { helped } from "./helper.ts";
const home = Deno.env.get("HOME"), node = process.env.HOME, missing = Deno.env.get("LOVAGE_NO_SUCH");
export const app = new App("shop", { broker_url: "memory://", result_backend: "memory://" });
export const add = app.task("shop.add", (x: number, y: number) => x + y);
const permissions = { read: ["${folder}/allowed"], env: ["LANG"] };
app.task("box.may", { permissions, bind: true }, async (self) => {
  await self.updateState("PROGRESS", { done: 1 });
  console.log("in the box");
  return [await Deno.readTextFile("${folder}/allowed/file"), helped(), home === node && home !== undefined, missing ?? null];
});
app.task("box.does", { permissions }, async (what: string, target: string) => {
  if (what === "read") return await Deno.readTextFile(target);
  if (what === "write") return await Deno.writeTextFile(target, "written");
  if (what === "run") return (await new Deno.Command(target).output()).code;
  if (what === "net") return (await Deno.connect({ hostname: "127.0.0.1", port: Number(target) })).close();
  if (what === "node") return process.getBuiltinModule("node:fs").readFileSync(target, "utf8");
  if (what === "import") return await import(target);
  if (what === "kill") return Deno.kill(Deno.pid, "SIGKILL");
  if (what === "worker") {
    const code = "self.postMessage(await Deno.readTextFile(" + JSON.stringify(target) + "))";
    const worker = new Worker("data:text/javascript," + encodeURIComponent(code), { type: "module" });
    return await new Promise((done, fail) => {
      worker.onmessage = ({ data }) => done(data);
      worker.onerror = (event) => { event.preventDefault(); fail(new Error(event.message)); };
    });
  }
  if (what === "env") return Deno.env.get(target) ?? null;
  if (what === "process.env") return process.env[target] ?? null;
});
app.task("box.sends", { permissions }, async () => (await add.delay(1, 2)).id.length);
app.task("box.waits", { permissions, bind: true }, async (self, ms: number) => {
  await new Promise((done) => setTimeout(done, ms));
  return self.request.timelimit ?? null;
});
app.task("box.exits", { permissions }, () => Deno.exit(3));
app.task("box.spins", { permissions }, () => { for (;;); });
app.task("box.all", { memoryLimit: 64 }, () => Deno.env.get("HOME") !== undefined);
app.task("box.hoards", { memoryLimit: 64 }, async (way: string, mib: number) => {
  const held: unknown[] = [];
  const until = performance.now() + 1500;
  for (let n = 0; n < mib; n++) {
    held.push(way === "bytes" ? new Uint8Array(1 << 20).fill(1) : Array.from({ length: 20_000 }, (_, i) => ({ i, n })));
    if (way === "slow" && n % 4 === 0) await new Promise((done) => setTimeout(done, 5));
  }
  while (way !== "slow" && mib > 64 && performance.now() < until);
  if (way === "slow") await new Promise((done) => setTimeout(done, 200));
  return held.length;
});
app.task("box.litters", { memoryLimit: 64 }, async () => {
  for (let n = 0; n < 60; n++) {
    Array.from({ length: 40_000 }, (_, i) => ({ i, n }));
    if (n % 5 === 0) await new Promise((done) => setTimeout(done, 1));
  }
  return "clean";
});
`;
}

/** A signature as messages carry it. */
function call(task: string): Record<string, unknown> {
  return { task, args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
}

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${folder}/allowed`);
    Deno.writeTextFileSync(`${folder}/allowed/file`, "for you");
    Deno.writeTextFileSync(`${folder}/secret`, "not for you");
    Deno.writeTextFileSync(`${folder}/helper.ts`, `export const helped = () => "helped";`);
    Deno.writeTextFileSync(`${folder}/tasks.ts`, module(folder));
    await run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function result(outcome: Outcome): unknown {
  return JSON.parse(String(outcome.document)).result;
}

for (const name of POOLS) {
  Deno.test(`sandbox in ${name}: what is declared is allowed, all else is NotCapable`, () =>
    inFolder(async (folder) => {
      const refused: [string, string][] = [
        ["read", `${folder}/secret`],
        ["read", `${folder}/tasks.ts`],
        ["write", `${folder}/allowed/file`],
        ["run", "/bin/true"],
        ["net", "9"],
        ["node", `${folder}/secret`],
        ["import", `file://${folder}/secret.ts`],
        ["kill", ""],
        ["env", "HOME"],
      ];
      const { ended, states, published, world } = await runTasks(name, folder, [
        { task: "box.may", args: [] },
        { task: "box.sends", args: [] },
        { task: "box.does", args: ["env", "LANG"] },
        { task: "box.does", args: ["worker", `${folder}/secret`] },
        { task: "box.does", args: ["process.env", "HOME"] },
        { task: "shop.add", args: [1, 2] },
        { task: "box.all", args: [] },
        ...refused.map((args) => ({ task: "box.does", args })),
        // A map of it is no way around.
        { task: "celery.starmap", args: [call("box.does"), [["read", `${folder}/secret`]]] },
        {
          task: "celery.starmap",
          args: [call("celery.starmap"), [[call("box.does"), [["read", `${folder}/secret`]]]]],
        },
      ]);
      const maps = ended.slice(-2).map(({ exception, kind }) => exception || kind);
      assert.match(maps[0]!, /^NotCapable\(/);
      assert.match(maps[1]!, /^ImproperlyConfigured\(/);
      assert.deepEqual(result(ended[0]!), ["for you", "helped", true, null], ended[0]!.exception);
      assert.equal(ended[1]!.summary, "36", ended[1]!.exception);
      assert.deepEqual(published, ["shop.add"]);
      assert.equal(ended[2]!.kind, "success", ended[2]!.exception);
      // An isolate that the task starts may no more than the task.
      assert.match(ended[3]!.exception, /NotCapable: Requires read access/);
      assert.match(ended[4]!.exception, /^NotCapable\(/);
      assert.equal(ended[5]!.summary, "3");
      assert.equal(ended[6]!.summary, "True", ended[6]!.exception);
      assert.match(states.join(), /box\.may PROGRESS .*"done": ?1/);
      const lines = world.log.records.map(({ message, task }) => `${task?.id} ${message}`);
      assert(lines.includes("id-0 in the box"), lines.join("\n"));
      refused.forEach(([what], n) => {
        const outcome = ended[7 + n]!;
        assert.equal(outcome.kind, "failure", what);
        if (what === "import") return assert.match(outcome.exception, /Requires read access|NotCapable/);
        assert.match(outcome.exception, /^NotCapable\(/, what);
        const { exc_type: type, exc_message: text } = result(outcome) as {
          exc_type: string;
          exc_message: string[];
        };
        assert.equal(type, "NotCapable", what);
        assert.match(text[0]!, /^Requires \w+ access/, what);
      });
      assert.equal(Deno.readTextFileSync(`${folder}/allowed/file`), "for you");
    }));

  Deno.test(`sandbox in ${name}: limits, exits and endless loops`, () =>
    inFolder(async (folder) => {
      const { ended } = await runTasks(name, folder, [
        { task: "box.waits", args: [30_000], softTimeLimit: 1 },
        { task: "box.waits", args: [30_000], timeLimit: 1.5 },
        { task: "box.exits", args: [] },
        { task: "box.spins", args: [], timeLimit: 1.5 },
        { task: "shop.add", args: [1, 2] },
        { task: "box.waits", args: [1] },
      ], { concurrency: 1 });
      assert.deepEqual([ended[0]!.kind, ended[0]!.exception], ["failure", "SoftTimeLimitExceeded()"]);
      assert.equal(ended[1]!.kind, "timeout");
      // In the async pool these share one isolate, whose end is the end of all in it.
      if (name !== "async") assert.equal(ended[2]!.kind, "lost");
      assert(["timeout", "lost"].includes(ended[3]!.kind));
      assert.equal(ended[4]!.summary, "3");
      if (name !== "async") assert.equal(ended[5]!.kind, "success");
    }));

  Deno.test(`sandbox in ${name}: more memory than declared ends the task and nothing else`, () =>
    inFolder(async (folder) => {
      const exceeded = [
        { task: "box.hoards", args: ["objects", 3000] },
        { task: "box.hoards", args: ["bytes", 3000] },
        { task: "box.hoards", args: ["slow", 400] },
      ];
      const fine = [
        { task: "box.litters", args: [] },
        { task: "box.hoards", args: ["slow", 10] },
        { task: "shop.add", args: [1, 2] },
      ];
      // First: in solo what is ended below may go on for a while, in this very process, where no later pool knows it.
      const { ended } = await runTasks(name, folder, fine, { concurrency: 1 });
      assert.deepEqual(ended.map(({ kind, exception }) => kind + exception), [
        "success",
        "success",
        "success",
      ]);
      for (const call of exceeded) {
        const { ended } = await runTasks(name, folder, [call], { concurrency: 1 });
        assert.equal(ended[0]!.exception, "MemoryLimitExceeded(64)", call.args.join());
      }
    }));
}
