/** The examples run to their end as they stand. */

import assert from "node:assert/strict";
import { LOVAGE, Program, REPLIES } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";
import { mustRun } from "../support/run.ts";

const root = filePath(new URL("../..", import.meta.url));

/** The examples want one program: a script in a folder of its own, under the name that the PATH is searched for. */
const folder = await Deno.makeTempDir({ prefix: "lovage examples é%41 " });
const program = `${folder}/lovage`;
const quoted = LOVAGE.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
await Deno.writeTextFile(program, `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

const ENV = {
  ...REPLIES,
  LOVAGE: program,
  TMPDIR: folder,
  NO_COLOR: "1",
  CELERY_BROKER_URL: "",
  CELERY_RESULT_BACKEND: "",
};

/** Those that need no server, with what they print. */
const ALONE: Readonly<Record<string, readonly RegExp[]>> = {
  hello: [/^Hello, world$/m],
  retry: [/^A-17 ordered at attempt 3$/m],
  chord: [/^18 words in 3 lines$/m],
  periodic: [/every-second +periodic\.tick/, /^3: 'tick'$/m],
  "plug-ins": [
    /^plug-ins\.nosy: Requires read access to "\/etc\/passwd": the task's permissions do not name it$/m,
    /^plug-ins\.endless: TimeLimitExceeded\(2,\)\nplug-ins\.shout: HELLO$/m,
  ],
};

/** Those that run beside Python, on Redis. */
const BESIDE_PYTHON: Readonly<Record<string, readonly RegExp[]>> = {
  "python-calls-us": [
    /^a\.png at 640 pixels\nb\.png at 320 pixels\nValueError: the width must be positive$/m,
  ],
  "we-call-python": [/^mean: 2\.5\nrounded: 1\.67$/m],
};

async function run(name: string, env: Record<string, string> = {}): Promise<string> {
  return await mustRun(["sh", `${root}examples/${name}`], { env: { ...ENV, ...env }, cwd: folder });
}

Deno.test("examples/ci-smoke.sh: burst, status, ping and call on the embedded broker", async () => {
  const out = await run("ci-smoke.sh");
  assert.match(out, /1 node online\./);
  assert.match(out, /pong/);
  assert.match(out, /\npassed\n$/);
});

Deno.test("examples/ci-smoke.sh: with lovage on the PATH, and named by a path from here", async () => {
  assert.match(
    await run("ci-smoke.sh", { LOVAGE: "", PATH: `${folder}:${Deno.env.get("PATH")}` }),
    /passed\n$/,
  );
  assert.match(await run("ci-smoke.sh", { LOVAGE: "./lovage" }), /passed\n$/);
});

Deno.test("examples/fleet.sh: two nodes on the embedded broker, and on Redis", async () => {
  await using redis = await startRedis();
  for (const env of [{}, { BROKER: redis.url() }]) {
    const out = await run("fleet.sh", env);
    assert.match(out, /images@\S+: OK/);
    assert.match(out, /640 pixels/);
    assert.match(out, /Child terminated with exit code 64/);
    assert.match(out, /\npassed\n$/);
  }
});

for (const [name, lines] of Object.entries(ALONE)) {
  Deno.test(`examples/${name}: one command, no server`, async () => {
    const out = await run(`${name}/run.sh`);
    for (const line of lines) assert.match(out, line);
  });
}

Deno.test("examples beside Python, on Redis", async (t) => {
  await using redis = await startRedis();
  for (const [name, lines] of Object.entries(BESIDE_PYTHON)) {
    await t.step(name, async () => {
      const out = await run(`${name}/run.sh`, { BROKER: redis.url(), PYTHON: "/usr/bin/python3" });
      for (const line of lines) assert.match(out, line);
    });
  }
});

Deno.test("examples/progress: the page, a task that says how far it is, its end, and Ctrl-C", async () => {
  await using web = new Program(["sh", `${root}examples/progress/run.sh`], { ...ENV, PORT: "0" }, folder);
  await web.says(/^http:\/\/\S+$/m);
  const url = /^http:\/\/\S+$/m.exec(web.text)![0];
  assert.match(await (await fetch(url)).text(), /<progress/);
  const { id } = await (await fetch(`${url}bake?what=cake`, { method: "POST" })).json();
  const told: { state: string; info: unknown }[] = [];
  do {
    await new Promise((resolve) => setTimeout(resolve, 50));
    told.push(await (await fetch(`${url}bake/${id}`)).json());
  } while (told.at(-1)!.state !== "SUCCESS" && told.at(-1)!.state !== "FAILURE");
  assert.deepEqual(told.at(-1), { state: "SUCCESS", info: "cake, fresh from the oven" });
  assert.ok(told.some(({ state, info }) => state === "PROGRESS" && (info as { done: number }).done > 0));
  assert.equal(await web.stop(), 0);
});

Deno.test("examples: each has a README of five lines that names its command", () => {
  const names = [...Object.keys(ALONE), ...Object.keys(BESIDE_PYTHON), "progress"];
  assert.equal(names.length, 8);
  for (const name of names) {
    const lines = Deno.readTextFileSync(`${root}examples/${name}/README.md`).trimEnd().split("\n");
    assert.equal(lines.filter(Boolean).length, 4, name);
    assert.equal(lines.at(-1), `    sh examples/${name}/run.sh`);
  }
});
