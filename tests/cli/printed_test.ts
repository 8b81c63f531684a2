/** Where what tasks print goes: `worker_redirect_stdouts` and `worker_redirect_stdouts_level`. */

import assert from "node:assert/strict";
import { lovage } from "../support/programs.ts";
import { disposableFolder } from "../support/temporary.ts";

const moduleOf = (settings: Record<string, unknown>) =>
  `import { App } from "lovage";
const url = "sqlite:///" + Deno.env.get("LOVAGE_HOME") + "/broker.db";
export const app = new App("printing", { broker_url: url, ...${JSON.stringify(settings)} });
app.task("p.print", () => { console.log("said"); console.error("warned"); });
`;
const POOLS = ["solo", "threads", "processes"];

/** A worker runs one task that prints; what stood where, without what the worker says itself. */
async function printed(
  pool: string,
  settings: Record<string, unknown>,
): Promise<[out: string[], err: string[]]> {
  await using folder = await disposableFolder();
  const app = `${folder.path}/app.ts`;
  await Deno.writeTextFile(app, moduleOf(settings));
  const place = { env: { LOVAGE_HOME: folder.path } };
  assert.equal((await lovage(["-A", app, "call", "p.print"], place)).code, 0);
  const { code, out, err } = await lovage(
    ["-A", app, "worker", "-P", pool, "-c", "1", "--burst", "-l", "INFO"],
    place,
  );
  assert.equal(code, 0, err);
  const lines = (text: string) => text.split("\n").filter((line) => /said|warned/.test(line));
  return [lines(out), lines(err)];
}

Deno.test("what a task prints is in the log with its id, at the level that is asked for", async () => {
  for (const pool of POOLS) {
    const [out, err] = await printed(pool, { worker_redirect_stdouts_level: "error" });
    assert.deepEqual(out, []);
    assert.equal(err.length, 2, err.join("\n"));
    assert.match(err[0]!, /^\[.*: ERROR\/\w+(-1)?\] p\.print\[[0-9a-f-]{36}\]: said$/);
    assert.match(err[1]!, /: ERROR\/.*: warned$/);
  }
});

Deno.test("with worker_redirect_stdouts off it goes where the worker prints", async () => {
  for (const pool of POOLS) {
    assert.deepEqual(
      await printed(pool, { worker_redirect_stdouts: false }),
      [["said"], ["warned"]],
      pool,
    );
  }
});

Deno.test("a level that does not exist is refused", async () => {
  const { code, err } = await lovage(["worker", "--burst", "--", "worker.redirect_stdouts_level=loud"]);
  assert.deepEqual([code, err.split("\n")[0]], [
    64,
    'Error: worker_redirect_stdouts_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not "loud"',
  ]);
});
