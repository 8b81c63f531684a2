/**
 * Tasks that declare permissions and memory, in every pool: what is allowed, what is refused, what survives
 * them.
 */

import assert from "node:assert/strict";
import { fileUrl } from "../../lib/base/mod.ts";
import { type Call, runTasks } from "../support/pool_tasks.ts";
import { disposableFolder } from "../support/temporary.ts";
import { childOptions, resultOf } from "../support/pools.ts";

const POOLS = ["processes", "threads", "async", "solo"];

function module(folder: string): string {
  return `
import { App } from "lovage";
import { DatabaseSync } from "node:sqlite";
import v8 from "node:v8";
import { abort, env, kill } from "node:process";
import { helped } from "./helper.ts";
const home = Deno.env.get("HOME"), node = env.HOME === process.env.HOME ? env.HOME : "", missing = Deno.env.get("LOVAGE_NO_SUCH");
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
    const code = target.startsWith("/")
      ? "self.postMessage(await Deno.readTextFile(" + JSON.stringify(target) + "))"
      : target;
    const worker = new Worker("data:text/javascript," + encodeURIComponent(code), { type: "module" });
    return await new Promise((done, fail) => {
      worker.onmessage = ({ data }) => done(data);
      worker.postMessage("early");
      worker.onerror = (event) => { event.preventDefault(); fail(new Error(event.message)); };
    });
  }
  if (what === "npm" || what === "data") return await import(target);
  if (what === "literal") return (await import("data:text/javascript,export default 5")).default;
  if (what === "named abort") return abort();
  if (what === "named kill") return kill(Deno.pid, "SIGKILL");
  if (what === "hooks") return (await import("node:module")).registerHooks({});
  if (what === "threads") return new (await import("node:worker_threads")).Worker("0", { eval: true });
  if (what === "kv") return await Deno.openKv();
  if (what === "caches") return await caches.open("x");
  if (what === "ask") return (await Deno.permissions.request({ name: "read", path: target })).state;
  if (what === "post") return globalThis.postMessage("x");
  if (what === "env") return Deno.env.get(target) ?? null;
  if (what === "process.env") return process.env[target] ?? null;
});
app.task("box.heap", { permissions: {} }, async (name: string) => {
  let text = "";
  for await (const part of v8.getHeapSnapshot()) text += part;
  return [text.includes(name), /hidden-in-the-[e]nvironment/.test(text), /hidden-in-the-[u]rl/.test(text)];
});
app.task("box.closes", { permissions }, () => self.close());
app.task("box.leaves", { permissions }, () => process.exit(3));
app.task("box.sends", { permissions: { ...permissions, send: ["shop.*"] } }, async () => (await add.delay(1, 2)).id.length);
app.task("box.waits", { permissions, bind: true }, async (self, ms: number) => {
  await new Promise((done) => setTimeout(done, ms));
  return self.request.timelimit ?? null;
});
app.task("box.exits", { permissions }, () => Deno.exit(3));
app.task("box.spins", { permissions }, () => { for (;;); });
app.task("box.packs", { permissions: { import: ["npm:", "example.org"] } }, async (target: string) => {
  return Object.keys(await import(target));
});
app.task("box.all", { memoryLimit: 64 }, () => Deno.env.get("HOME") !== undefined);
app.task("box.hoards", { memoryLimit: 64 }, async (way: string, mib: number) => {
  const held: unknown[] = [];
  for (let n = 0; n < mib; n++) {
    held.push(way === "bytes" ? new Uint8Array(1 << 20).fill(1) : Array.from({ length: 20_000 }, (_, i) => ({ i, n })));
    if (way === "slow" && n % 4 === 0) await new Promise((done) => setTimeout(done, 5));
  }
  while (way !== "slow"); // until it is ended
  if (way === "slow") await new Promise((done) => setTimeout(done, 200));
  return held.length;
});
app.task("box.stores", { memoryLimit: 64 }, async (mib: number) => {
  const db = new DatabaseSync(":memory:");
  db.exec("create table t(b)");
  for (let n = 0; n < mib; n++) {
    db.exec("insert into t values (randomblob(1048576))");
    if (n % 4 === 0) await new Promise((done) => setTimeout(done, 5));
  }
  await new Promise((done) => setTimeout(done, 300));
  return mib;
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

/** Returns a signature as messages carry it. */
function call(task: string): Record<string, unknown> {
  return { task, args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
}

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  await using place = await disposableFolder();
  const folder = place.path;
  Deno.mkdirSync(`${folder}/allowed`);
  Deno.writeTextFileSync(`${folder}/allowed/file`, "for you");
  Deno.writeTextFileSync(`${folder}/secret`, "not for you");
  Deno.writeTextFileSync(`${folder}/helper.ts`, `export const helped = () => "helped";`);
  Deno.writeTextFileSync(`${folder}/tasks.ts`, module(folder));
  await run(folder);
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
        ["import", fileUrl(`${folder}/secret.ts`)],
        ["kill", ""],
        ["env", "HOME"],
        ["npm", "npm:is-odd@3.0.1"],
        ["npm", " NPM:is-odd@3.0.1"],
        ["data", "data:text/javascript,import 'npm:is-odd@3.0.1'"],
        ["data", `data:text/javascript;base64,${btoa("import 'npm:is-odd@3.0.1'")}`],
        ["named abort", ""],
        ["named kill", ""],
        ["hooks", ""],
        ["threads", ""],
        ["kv", ""],
        ["caches", ""],
      ];
      const { ended, states, published, world } = await runTasks(name, folder, [
        { task: "box.may", args: [] },
        { task: "box.sends", args: [] },
        { task: "box.does", args: ["env", "LANG"] },
        { task: "box.does", args: ["worker", `${folder}/secret`] },
        { task: "box.does", args: ["process.env", "HOME"] },
        { task: "shop.add", args: [1, 2] },
        { task: "box.all", args: [] },
        { task: "box.does", args: ["literal", ""] },
        { task: "box.does", args: ["worker", "self.onmessage = ({ data }) => self.postMessage(data)"] },
        { task: "box.does", args: ["worker", "await import('np' + 'm:is-odd@3.0.1')"] },
        { task: "box.does", args: ["post", ""] },
        { task: "box.does", args: ["ask", `${folder}/secret`] },
        { task: "box.packs", args: ["npm:croner@11.0.1"] },
        { task: "box.packs", args: [fileUrl(`${folder}/secret.ts`)] },
        ...refused.map((args) => ({ task: "box.does", args })),
        // Calling it through a map does not bypass the sandbox.
        { task: "celery.starmap", args: [call("box.does"), [["read", `${folder}/secret`]]] },
        {
          task: "celery.starmap",
          args: [call("celery.starmap"), [[call("box.does"), [["read", `${folder}/secret`]]]]],
        },
      ]);
      const maps = ended.slice(-2).map(({ exception, kind }) => exception || kind);
      assert.match(maps[0]!, /^NotCapable\(/);
      assert.match(maps[1]!, /^ImproperlyConfigured\(/);
      assert.deepEqual(resultOf(ended[0]!), ["for you", "helped", true, null], ended[0]!.exception);
      assert.equal(ended[1]!.summary, "36", ended[1]!.exception);
      assert.deepEqual(published, ["shop.add"]);
      assert.equal(ended[2]!.kind, "success", ended[2]!.exception);
      // An isolate that the task starts has no more permissions than the task.
      assert.match(ended[3]!.exception, /NotCapable: Requires read access/);
      assert.match(ended[4]!.exception, /^NotCapable\(/);
      assert.equal(ended[5]!.summary, "3");
      assert.equal(ended[6]!.summary, "True", ended[6]!.exception);
      assert.match(states.join(), /box\.may PROGRESS .*"done": ?1/);
      assert.equal(resultOf(ended[7]!), 5);
      // The isolate that it starts receives messages at once, and is restricted in the same way.
      assert.equal(resultOf(ended[8]!), "early");
      assert.match(ended[9]!.exception, /NotCapable: Requires import access/);
      assert.match(ended[10]!.exception, /^TypeError\(/);
      assert.equal(resultOf(ended[11]!), "denied");
      assert.ok((resultOf(ended[12]!) as string[]).includes("Cron"), ended[12]!.exception);
      assert.match(ended[13]!.exception, /Requires read access|NotCapable/);
      const lines = world.log.records.map(({ message, task }) => `${task?.id} ${message}`);
      assert.ok(lines.includes("id-0 in the box"), lines.join("\n"));
      refused.forEach(([what], n) => {
        const outcome = ended[14 + n]!;
        assert.equal(outcome.kind, "failure", what);
        if (what === "npm" || what === "data") {
          return assert.match(outcome.exception, /NotCapable: Requires import access to packages/);
        }
        if (what === "import") return assert.match(outcome.exception, /Requires read access|NotCapable/);
        assert.match(outcome.exception, /^NotCapable\(/, what);
        const { exc_type: type, exc_message: text } = resultOf(outcome) as {
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
        { task: "box.waits", args: [300_000], softTimeLimit: 1 },
        { task: "box.waits", args: [300_000], timeLimit: 1 },
        { task: "box.exits", args: [] },
        { task: "box.closes", args: [] },
        { task: "box.leaves", args: [] },
        { task: "box.spins", args: [], timeLimit: 1 },
        { task: "shop.add", args: [1, 2] },
        { task: "box.waits", args: [1] },
      ], { concurrency: 1 });
      assert.deepEqual([ended[0]!.kind, ended[0]!.exception], ["failure", "SoftTimeLimitExceeded()"]);
      assert.equal(ended[1]!.kind, "timeout");
      // In the async pool these tasks share one isolate and end with it.
      if (name !== "async") {
        for (const outcome of ended.slice(2, 5)) assert.equal(outcome.kind, "lost");
      }
      assert.ok(["timeout", "lost"].includes(ended[5]!.kind));
      assert.equal(ended[6]!.summary, "3");
      if (name !== "async") assert.equal(ended[7]!.kind, "success");
    }));

  // Deno's sanitizers report the port and the timer of an isolate that was not waited for.
  Deno.test(`sandbox in ${name}: close waits until ended isolates are gone`, () =>
    inFolder(async (folder) => {
      const { ended } = await runTasks(name, folder, [
        { task: "box.waits", args: [1] },
        { task: "box.spins", args: [], timeLimit: 0.5 },
      ], { concurrency: 1 });
      assert.ok(["timeout", "lost"].includes(ended[1]!.kind), ended[1]!.kind);
    }));

  Deno.test(`sandbox in ${name}: more memory than declared ends the task and nothing else`, () =>
    inFolder(async (folder) => {
      // Memory that V8 does not count is measured while nothing else works in the process. These calls come
      // first, because an ended isolate may go on for a while and hide what grows meanwhile. Objects and
      // bytes spin and report nothing themselves: if one isolate has all tasks, only the last one may spin.
      const stores = { task: "box.stores", args: [200] };
      const [slow, objects, bytes] = [["slow", 400], ["objects", 1000], ["bytes", 1000]].map((args) => ({
        task: "box.hoards",
        args,
      })) as [Call, Call, Call];
      const exceeded: Call[] = {
        processes: [stores, slow, objects, bytes],
        threads: [slow, bytes],
        async: [slow, objects],
        solo: [stores, slow, objects],
      }[name]!;
      const calls = [
        { task: "box.litters", args: [] },
        { task: "box.hoards", args: ["slow", 10] },
        { task: "box.stores", args: [10] },
        ...exceeded,
        { task: "shop.add", args: [1, 2] },
      ];
      const { ended } = await runTasks(name, folder, calls, { concurrency: 1 });
      assert.deepEqual(
        ended.map(({ kind, exception }) => exception || kind),
        calls.map((call) => exceeded.includes(call) ? "MemoryLimitExceeded(64)" : "success"),
      );
    }));
}

Deno.test("sandbox: the environment that its modules saw, and passwords of URLs, are nowhere in its heap", () =>
  inFolder(async (folder) => {
    Deno.env.set("LOVAGE_TEST_HIDDEN", "hidden-in-the-environment");
    Deno.env.set("CELERY_RESULT_BACKEND", "redis://:hidden-in-the-url@h:1/0");
    try {
      const overrides = { broker_url: "redis://:hidden-in-the-url@h:1/0" };
      const child = { ...childOptions(`${folder}/tasks.ts`), overrides };
      const call = { task: "box.heap", args: ["box.heap"] };
      const { ended } = await runTasks("processes", folder, [call], { child });
      assert.deepEqual(resultOf(ended[0]!), [true, false, false], ended[0]!.exception);
    } finally {
      Deno.env.delete("LOVAGE_TEST_HIDDEN");
      Deno.env.delete("CELERY_RESULT_BACKEND");
    }
  }));
