/**
 * A new project and its types: `lovage init` and `lovage types`, as the compilers of Deno and TypeScript see what they
 * write. `lovage check` is in project_test.ts, since it takes its time with the library's source.
 */

import assert from "node:assert/strict";
import { filePath, VERSION } from "../../lib/base/mod.ts";
import { environment, LOVAGE, Program } from "../support/programs.ts";
import { pythonPath, requirePython, startRedis } from "../support/servers.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { mustRun, runProgram } from "../support/run.ts";

const base = temporaryFolder();
const folder = `${base}/shop`;
const root = filePath(new URL("../../deno.json", import.meta.url));

const USE = `import { App, chord, group } from "lovage";
import { add, fetchPage } from "./tasks.ts";
const sum: number = await (await add.delay(1, 2)).get();
const length: number = await (await fetchPage.applyAsync(["http://x"], null, { countdown: 5 })).get();
const sums: number[] = await (await group(add.s(1, 2), add.s(3, 4)).delay()).get();
const app: App = add.app;
export const all = [sum, length, sums, app.conf.task_acks_late, chord, app.control.inspect().ping()] as const;
`;
const WRONG = `import { add } from "./tasks.ts";
await add.delay("1", 2);
`;

async function run(words: readonly string[], cwd = folder): Promise<{ code: number; text: string }> {
  const { code, out, err } = await runProgram(words, { cwd, env: environment({}) });
  return { code, text: out + err };
}

const lovage = (...args: string[]) => run([...LOVAGE, ...args]);
const denoCheck = (...files: string[]) => run([Deno.execPath(), "check", ...files]);
const tsc = () =>
  run([Deno.execPath(), "run", "-A", "--quiet", "--config", root, "npm:typescript@6.0.3/tsc"]);

Deno.test("init: both compilers know the library, its results and a wrong argument; nothing is overwritten", async () => {
  const made = await run([...LOVAGE, "init", "shop"], base);
  assert.equal(made.code, 0, made.text);
  await Deno.writeTextFile(`${folder}/use.ts`, USE);
  for (const check of [tsc, () => denoCheck("tasks.ts", "use.ts")]) {
    const { code, text } = await check();
    assert.equal(code, 0, text);
  }
  await Deno.writeTextFile(`${folder}/wrong.ts`, WRONG);
  for (const check of [tsc, () => denoCheck("wrong.ts")]) {
    const { code, text } = await check();
    assert.notEqual(code, 0);
    assert.match(text, /TS2345.*'string' is not assignable to parameter of type 'number'/);
  }
  await Deno.remove(`${folder}/wrong.ts`);
  await Deno.writeTextFile(`${folder}/tasks.ts`, `${await Deno.readTextFile(`${folder}/tasks.ts`)}// mine\n`);
  const again = await lovage("init");
  assert.match(again.text, /^kept {3}tasks\.ts$/m);
  assert.match(await Deno.readTextFile(`${folder}/tasks.ts`), /\/\/ mine\n$/);
});

Deno.test("init: the commands that it shows work as they stand, whatever the folder is called", async () => {
  const { code, text } = await run([...LOVAGE, "init", "kim's shop"], base);
  assert.equal(code, 0, text);
  const there = /^Start a worker: {2}(cd .*) && lovage -A tasks\.ts worker$/m.exec(text)?.[1];
  assert.ok(there, text);
  assert.equal(await mustRun(["sh", "-c", `${there} && ls tasks.ts`], { cwd: base }), "tasks.ts\n");
});

Deno.test("init: a configuration that was there is told what it lacks", async () => {
  const other = `${base}/other`;
  await Deno.mkdir(other);
  await Deno.writeTextFile(`${other}/deno.json`, `{ "imports": {} }`);
  const { code, text } = await run([...LOVAGE, "init"], other);
  assert.equal(code, 0, text);
  assert.match(text, /^Warning: deno\.json does not define "lovage": add "imports"/m);
});

Deno.test("types: beside the npm package, which has the library's types, a configuration lacks the stubs alone", async () => {
  const packaged = `${base}/packaged`;
  await Deno.mkdir(`${packaged}/node_modules/lovage`, { recursive: true });
  const config = `${packaged}/tsconfig.json`;
  await Deno.writeTextFile(config, `{ "include": ["src"] }`);
  const lacks = await run([...LOVAGE, "types"], packaged);
  assert.equal(lacks.code, 0, lacks.text);
  assert.match(
    lacks.text,
    /^Warning: tsconfig\.json does not include .*: add "\.lovage\/types\/remote\.d\.ts" to its/m,
  );
  await Deno.writeTextFile(config, `{ "include": ["src", ".lovage/types/remote.d.ts"] }`);
  assert.doesNotMatch((await run([...LOVAGE, "types"], packaged)).text, /Warning/);
});

Deno.test("types: another version's types are a warning, and are renewed", async () => {
  const path = `${folder}/.lovage/types/lovage.d.ts`;
  const text = await Deno.readTextFile(path);
  assert.ok(text.startsWith(`// lovage ${VERSION}:`));
  await Deno.writeTextFile(path, text.replace(VERSION, "0.0.1"));
  const warned = await lovage("-A", "tasks.ts", "report");
  assert.match(warned.text, /lovage\.d\.ts" is from version 0\.0\.1, this is .*"lovage types" updates it/);
  assert.equal((await lovage("types")).code, 0);
  assert.doesNotMatch((await lovage("-A", "tasks.ts", "report")).text, /is of version/);
});

Deno.test("types: tasks of Python workers are known by name, with their annotations", async () => {
  await requirePython();
  const redis = await startRedis();
  try {
    const url = redis.url(0);
    await Deno.writeTextFile(
      `${folder}/ptasks.py`,
      `from typing import Annotated, List, Literal, Optional
from celery import Celery
app = Celery("p", broker=${JSON.stringify(url)}, backend=${JSON.stringify(url)})
@app.task(name="py.add")
def add(x: int, y: int = 2) -> int:
    """Adds. */ ends no comment"""
    return x + y
@app.task(name="py.part", bind=True)
def part(self, a, names: Optional[List[str]] = None): return a
@app.task(name="py/spaced name")
def bare(a) -> int: return a
@app.task(name="py.rest")
def rest(mode: Literal["fast", "slow"], size: Annotated[int, "px, at most"], *args: int, **kwargs) -> bool: return True
`,
    );
    const python = ["/usr/bin/python3", "-m", "celery", "-A", "ptasks", "worker", "-P", "solo", "-l", "INFO"];
    await using worker = new Program(python, { ...environment({}), PYTHONPATH: pythonPath(folder) }, folder);
    await worker.says(/ ready\./);
    const { code, text } = await lovage("types", "-b", url, "--timeout", "10");
    assert.equal(code, 0, text);
    assert.match(text, /remote\.d\.ts \(4 tasks of other workers\)/);
    const call = `import { App } from "lovage";
const app = new App("r", { broker_url: "${url}", result_backend: "${url}" });
const r = await app.sendTask("py.add", { args: [1, 2] });
const n: number = await r.get();
await app.sendTask("py.part", { args: [1], kwargs: { names: ["a"], a: 2 } });
const m: number = await (await app.sendTask("py/spaced name", { args: ["not annotated"] })).get();
await app.sendTask("py.rest", { args: ["fast", 1, 2, 3] });
const s: string = await (await app.sendTask<string>("unknown.task", { args: [{}] })).get();
console.log(n + m);
export { s };
`;
    await Deno.writeTextFile(`${folder}/remote.ts`, call);
    for (const check of [tsc, () => denoCheck("remote.ts")]) {
      const { code, text } = await check();
      assert.equal(code, 0, text);
    }
    const wrongs = [
      call.replace("[1, 2]", `["1", 2]`),
      call.replace(`["a"]`, "3"),
      call.replace("n: number", "n: string"),
      call.replace(`"fast", 1`, `"quick", 1`),
      call.replace("2, 3]", `2, "3"]`),
    ];
    for (const wrong of wrongs) {
      await Deno.writeTextFile(`${folder}/remote.ts`, wrong);
      const { code, text } = await denoCheck("remote.ts");
      assert.notEqual(code, 0, wrong);
      assert.match(text, /TS2322/);
    }
    await Deno.remove(`${folder}/remote.ts`);
  } finally {
    await redis.stop();
  }
});

Deno.test("types: nobody answers: 69, and the stubs stay", async () => {
  const before = await Deno.readTextFile(`${folder}/.lovage/types/remote.d.ts`);
  const { code, text } = await lovage("types", "-b", `sqlite://${base}/empty.db`, "--timeout", "0.1");
  assert.equal(code, 69, text);
  assert.equal(await Deno.readTextFile(`${folder}/.lovage/types/remote.d.ts`), before);
});

Deno.test("types --python: a module that calls our tasks, with their parameters in its stub", async () => {
  await requirePython();
  const { code, text } = await lovage("-A", "tasks.ts", "types", "--python", "out/calls.py");
  assert.equal(code, 0, text);
  assert.match(
    await Deno.readTextFile(`${folder}/out/calls.pyi`),
    /def delay\(self, x: Any, y: Any\) -> AsyncResult/,
  );
  const script = "import calls; s = calls.add.s(1, y=2); print(s.task, s.args, s.kwargs)";
  const env = { ...environment({}), PYTHONPATH: pythonPath(`${folder}/out`) };
  assert.equal(await mustRun(["/usr/bin/python3", "-c", script], { env }), "tasks.add (1,) {'y': 2}\n");
  assert.equal((await lovage("types", "--python", "calls.py")).code, 64);
});
