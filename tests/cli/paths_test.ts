/** Folders whose names mean something in a URL, a shell, a `%` format or a pattern: everything works in them. */

import assert from "node:assert/strict";
import { tracebackText } from "../../lib/app/run/trace_outcome.ts";
import { filePath, fileUrl } from "../../lib/base/mod.ts";
import { Program } from "../support/programs.ts";
import { eventually } from "../support/ports.ts";
import { exists } from "../support/temporary.ts";
import { mustRun } from "../support/run.ts";

const ROOT = filePath(new URL("../..", import.meta.url)).replace(/\/$/, "");
/** Below it lie the checkout (a link), the project and the state. */
const odd = `${await Deno.makeTempDir({ prefix: "lovage-paths-" })}/My é%41 #?[x]*$HOME '100%`;
await Deno.mkdir(`${odd}/project`, { recursive: true });
await Deno.symlink(ROOT, `${odd}/source`);
addEventListener("unload", () => Deno.removeSync(odd.slice(0, odd.lastIndexOf("/")), { recursive: true }));
await Deno.writeTextFile(
  `${odd}/project/tasks.ts`,
  `import { App } from "lovage";
import { sum } from "./more%20%231%3F.ts";
export const app = new App("odd");
app.task("odd.add", sum);
app.conf.beat_schedule = { often: { task: "odd.add", schedule: 0.2, args: [1, 1] } };
`,
);
await Deno.writeTextFile(
  `${odd}/project/more #1?.ts`,
  "export const sum = (x: number, y: number) => x + y;\n",
);

/** This program started again from the odd checkout, with the odd folders. */
const self = ["run", "-A", "--quiet", "--config", `${odd}/source/deno.json`, `${odd}/source/main.ts`];
const env = { NO_COLOR: "1", LOVAGE_HOME: `${odd}/state`, CELERY_BROKER_URL: "", CELERY_RESULT_BACKEND: "" };

async function lovage(...args: string[]): Promise<string> {
  return (await mustRun([Deno.execPath(), ...self, ...args], { env, cwd: `${odd}/project` })).trim();
}

for (const pool of ["processes", "threads", "async", "solo"]) {
  Deno.test(`odd folders: ${pool}`, async () => {
    const id = await lovage("-A", `${odd}/project/tasks.ts`, "call", "odd.add", "-a", "[2, 3]");
    await lovage("-A", "tasks.ts", "worker", "-P", pool, "--burst", "-q");
    assert.equal(await lovage("-A", "tasks.ts", "result", id), "5");
  });
}

Deno.test("odd folders: a sqlite URL, escaped", async () => {
  const escaped = `sqlite://${`${odd}/own.db`.split("/").map(encodeURIComponent).join("/")}`;
  const at = ["-A", "tasks.ts", "-b", escaped, "--result-backend", escaped];
  const id = await lovage(...at, "call", "odd.add", "-a", "[2, 3]");
  await lovage(...at, "worker", "-P", "solo", "--burst", "-q");
  assert.equal(await lovage(...at, "result", id), "5");
  assert.equal(Deno.statSync(`${odd}/own.db`).isFile, true);
});

Deno.test("odd folders: --detach, its pid file and log", async () => {
  await lovage(..."-A tasks.ts worker -P solo --detach --pidfile here.pid --logfile here-%n.log".split(" "));
  const pid = Number(Deno.readTextFileSync(`${odd}/project/here.pid`));
  try {
    assert.equal(
      await lovage("-A", "tasks.ts", "call", "--wait", "--timeout", "60", "odd.add", "-a", "[1, 1]"),
      "2",
    );
    assert.equal(Deno.statSync(`${odd}/project/here-celery.log`).isFile, true);
  } finally {
    Deno.kill(pid, "SIGTERM");
  }
  await eventually(() => !exists(`${odd}/project/here.pid`), "the worker has ended");
});

Deno.test("odd folders: multi, with the default files and with given ones", async () => {
  const doubled = odd.replaceAll("%", "%%");
  const here = ["--pidfile=%n.pid", "--logfile=%n.log"];
  for (const files of [[], here, [`--pidfile=${doubled}/p-%n.pid`, `--logfile=${doubled}/l-%n%I.log`]]) {
    const fleet = ["one", "-A", "tasks.ts", "-P", "solo", ...files];
    await lovage("multi", "start", ...fleet);
    assert.equal(
      await lovage("-A", "tasks.ts", "call", "--wait", "--timeout", "60", "odd.add", "-a", "[1, 1]"),
      "2",
    );
    if (files.length > 0 && files !== here) {
      assert.equal(exists(`${odd}/p-one.pid`), true);
      assert.equal(exists(`${odd}/l-one.log`), true);
    }
    await lovage("multi", "restart", "one");
    await lovage("multi", "stopwait", "one");
    assert.equal(exists(`${odd}/p-one.pid`), false);
  }
});

Deno.test("odd folders: beat and its file", async () => {
  const file = `${odd}/beat #1?.db`;
  await using beat = new Program(
    [Deno.execPath(), ...self, "-A", "tasks.ts", "beat", "-s", file, "-l", "INFO"],
    env,
    `${odd}/project`,
  );
  await beat.says(/Sending due task/);
  assert.equal(await beat.stop(), 0);
  assert.equal(exists(file), true);
  await lovage("-A", "tasks.ts", "purge", "-f");
});

Deno.test("odd folders: a traceback names the file as it is", async () => {
  await Deno.writeTextFile(`${odd}/fails.ts`, "export function fails() { throw new Error('no'); }\n");
  const { fails } = await import(fileUrl(`${odd}/fails.ts`));
  assert.throws(fails, (error) => {
    assert.ok(tracebackText(error, "odd.fail").includes(`  File "${odd}/fails.ts", line 1, in fails\n`));
    return true;
  });
});

Deno.test("odd folders: the census of make run", async () => {
  const census = `${odd}/source/examples/census/run.ts`;
  const argv = [Deno.execPath(), "run", "-A", "--quiet", census, `${odd}/project`];
  assert.match(await mustRun(argv, { env }), /tasks in /);
});
