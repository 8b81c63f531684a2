/**
 * What is called when a worker ends a task from outside (hooks, errbacks, signals), in each pool: by the pool, and never
 * by the process that holds the worker's leases, unless that is where its tasks run anyway.
 */

import assert from "node:assert/strict";
import { lovage, type Place, startWorker } from "../support/programs.ts";
import { disposableFolder } from "../support/temporary.ts";

const MODULE = `
import { App, chord, signals } from "lovage";
const NOTES = Deno.env.get("NOTES")!;
function note(what: string, ...values: unknown[]) {
  Deno.writeTextFileSync(NOTES, JSON.stringify([what, Deno.pid, ...values]) + "\\n", { append: true });
}
export const app = new App("ends");
signals.taskFailure.connect(({ taskId, exception }) => note("signal", taskId, (exception as Error).name));
app.task("ends.stuck", {
  bind: true,
  timeLimit: 0.5,
  onFailure: (self, error, id, args, _kwargs, info) =>
    note("onFailure", id, (error as Error).name, args, self.request.task, info.traceback),
  afterReturn: (_self, state, _value, id) => note("afterReturn", id, state),
}, async (_self, _n: number) => await new Promise((done) => setTimeout(done, 60_000)));
app.task("ends.dies", { onFailure: () => note("onFailure of a lost task") }, () => Deno.exit(3));
app.task("ends.errback", (request: { id: string; task: string }, error: Error, _traceback: string | null) =>
  note("errback", request.id, request.task, error.name));
app.task("ends.told", (id: string) => note("told", id));
app.task("ends.sum", (values: number[]) => values.length);
app.task("ends.fail", () => { throw new Error("no"); });
export const called = () => app.signature("ends.errback");
app.task("ends.start", async () => {
  const dead = app.signature("ends.dies").set({ taskId: "dies-1" });
  dead.linkError(called());
  await dead.applyAsync();
});
app.task("ends.begin", async () => {
  const stuck = app.signature("ends.stuck", { args: [7] }).set({ taskId: "stuck-1" });
  stuck.linkError(called());
  stuck.linkError(app.signature("ends.told"));
  await stuck.applyAsync();
  const body = app.signature("ends.sum").set({ taskId: "body-1" });
  body.linkError(called());
  await chord([app.signature("ends.fail")], body).applyAsync();
});
`;

type Note = [what: string, pid: number, ...values: unknown[]];

for (const pool of ["processes", "threads", "async", "solo"]) {
  Deno.test(`${pool}: a hard time limit calls onFailure, afterReturn, taskFailure and errbacks`, async () => {
    await using folder = await disposableFolder();
    const app = `${folder.path}/ends.ts`;
    const notesPath = `${folder.path}/notes`;
    await Deno.writeTextFile(app, MODULE);
    await Deno.writeTextFile(notesPath, "");
    const place: Place = { env: { LOVAGE_HOME: folder.path, NOTES: notesPath } };
    const begins = pool === "processes" ? ["ends.begin", "ends.start"] : ["ends.begin"];
    for (const task of begins) {
      const { code, err } = await lovage(["-A", app, "call", task], place);
      assert.equal(code, 0, err);
    }
    await using worker = await startWorker(place, ["-P", pool, "-c", "2", "--burst"], {
      app,
      isReady: false,
    });
    await worker.ended;
    const notes = (await Deno.readTextFile(notesPath)).trim().split("\n").map((line) =>
      JSON.parse(line) as Note
    );
    const of = (what: string) => notes.filter((note) => note[0] === what).map((note) => note.slice(2));
    assert.deepEqual(of("onFailure"), [["stuck-1", "TimeLimitExceeded", [7], "ends.stuck", ""]], worker.text);
    assert.deepEqual(of("afterReturn"), [["stuck-1", "FAILURE"]]);
    assert.deepEqual(of("told"), [["stuck-1"]]);
    assert.ok(of("signal").some(([id, name]) => id === "stuck-1" && name === "TimeLimitExceeded"));
    const errbacks = of("errback").map((values) => values.join(" ")).sort();
    const expected = ["body-1 ends.sum ChordError", "stuck-1 ends.stuck TimeLimitExceeded"];
    if (pool === "processes") {
      expected.push("dies-1 ends.dies WorkerLostError");
      assert.ok(of("signal").some(([id, name]) => id === "dies-1" && name === "WorkerLostError"));
      assert.deepEqual(
        of("onFailure of a lost task"),
        [],
        "as Celery: only hard limits call a task's own hooks",
      );
    }
    assert.deepEqual(errbacks, expected.sort(), worker.text);
    const pids = new Set(notes.map((note) => note[1]));
    assert.equal(
      pids.has(worker.pid),
      pool === "solo",
      `the worker's own process, ${worker.pid}, is among ${[...pids]}`,
    );
    const result = await lovage(["-A", app, "result", "stuck-1"], place);
    assert.match(result.err, /TimeLimitExceeded/);
  });
}

Deno.test("the hooks of a sandboxed task that was ended may no more than the task", async () => {
  await using folder = await disposableFolder();
  const app = `${folder.path}/boxed.ts`;
  await Deno.writeTextFile(
    app,
    `
import { App } from "lovage";
export const app = new App("boxed");
app.task("boxed.stuck", {
  timeLimit: 0.5,
  permissions: {},
  onFailure: (self) => {
    self.log.warning("called");
    Deno.writeTextFileSync(${JSON.stringify(`${folder.path}/written`)}, "x");
  },
}, async () => await new Promise((done) => setTimeout(done, 60_000)));
`,
  );
  const place: Place = { env: { LOVAGE_HOME: folder.path } };
  assert.equal((await lovage(["-A", app, "call", "boxed.stuck"], place)).code, 0);
  await using worker = await startWorker(place, ["-P", "processes", "-c", "1", "--burst"], {
    app,
    isReady: false,
  });
  await worker.ended;
  assert.match(worker.text, /WARNING.*called/);
  assert.match(worker.text, /A hook of task boxed\.stuck\[.* raised: NotCapable/);
});
