/** Signals of a worker and of the slots of its pool, from outside: each pool on the embedded broker. */

import assert from "node:assert/strict";
import { lovage, type Place, startWorker } from "../support/programs.ts";
import { disposableFolder } from "../support/temporary.ts";

const MODULE = `
import { App, signals } from "lovage";
export const app = new App("signals", { result_backend: "sqlite://" });
const note = (text: string) => Deno.writeTextFileSync(Deno.env.get("NOTES")!, text + "\\n", { append: true });
let opened = 0;
signals.workerBeforeCreateProcess.connect(({ sender }) => note(\`before \${typeof sender} \${Deno.pid}\`));
signals.workerProcessInit.connect(async () => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  opened++;
  note("init");
});
signals.workerProcessShutdown.connect(async ({ pid, exitcode }) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  note(\`shutdown \${pid === Deno.pid} \${exitcode}\`);
});
signals.taskInternalError.connect(({ sender, taskId, exception, traceback }) =>
  note(\`internal \${(sender as { name: string }).name} \${taskId} \${exception} \${String(traceback).includes("tasks.ts")}\`)
);
app.task("s.opened", () => opened);
app.task("s.hook", { onSuccess: () => { throw new Error("of a hook") } }, () => "ran");
`;

for (const pool of ["processes", "threads", "async", "solo"]) {
  Deno.test(`signals: a slot's first task waits for workerProcessInit, ${pool}`, async () => {
    await using folder = await disposableFolder();
    const [module, notes] = [`${folder.path}/tasks.ts`, `${folder.path}/notes`];
    await Deno.writeTextFile(module, MODULE);
    await Deno.writeTextFile(notes, "");
    const place: Place = { env: { LOVAGE_HOME: folder.path, NOTES: notes } };
    await using worker = await startWorker(place, ["-P", pool, "-c", "2"], { app: module });
    const call = async (...words: string[]) => {
      const { code, out, err } = await lovage(["-A", module, "call", "--wait", ...words], place);
      assert.equal(code, 0, err);
      return out.trim();
    };
    assert.equal(await call("s.opened"), "1");
    assert.equal(await call("s.hook", "--task-id", "hooked"), "ran");
    assert.equal(await worker.stop(), 0, worker.text);
    const lines = (await Deno.readTextFile(notes)).trim().split("\n");
    const slots = pool === "processes" || pool === "threads" ? 2 : 1;
    const of = (word: string) => lines.filter((line) => line.startsWith(word));
    assert.deepEqual(
      of("before"),
      pool === "processes" ? Array(2).fill(`before object ${worker.pid}`) : [],
      lines.join("\n"),
    );
    assert.equal(of("init").length, slots, lines.join("\n"));
    assert.deepEqual(of("shutdown"), Array(slots).fill("shutdown true 0"), lines.join("\n"));
    assert.deepEqual(of("internal"), ["internal s.hook hooked Error: of a hook true"]);
  });
}
