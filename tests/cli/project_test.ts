/** A project's own dependencies: what its `deno.json`, `package.json` and `node_modules` say holds in the packed program. */

import assert from "node:assert/strict";
import { remoteStubs } from "../../lib/cli/remote_stubs.ts";
import { fileUrl } from "../../lib/base/mod.ts";
import { packedProgram } from "../support/packed.ts";
import { runProgram } from "../support/run.ts";

const base = await Deno.realPath(await Deno.makeTempDir({ prefix: "lovage-project-" }));
const program = `${base}/lovage`;
await packedProgram(program);
addEventListener("unload", () => Deno.removeSync(base, { recursive: true }));
const env = {
  NO_COLOR: "1",
  LOVAGE_CACHE: `${base}/cache`,
  LOVAGE_HOME: `${base}/state`,
  CELERY_BROKER_URL: "",
  CELERY_RESULT_BACKEND: "",
};

/** Packages made by hand: an ES module, and a CommonJS one with doors and a dependency of its own. */
const PACKAGES = {
  "node_modules/esm/package.json": `{ "name": "esm", "version": "1.0.0", "type": "module", "main": "i.js" }`,
  "node_modules/esm/i.js": `export default "esm";`,
  "node_modules/@a/cjs/package.json":
    `{ "name": "@a/cjs", "version": "2.0.0", "exports": { ".": "./i.js", "./sub": "./s.js" } }`,
  "node_modules/@a/cjs/i.js":
    `exports.name = "cjs"; exports.dep = require("dep"); exports.fs = typeof require("fs").readFileSync;`,
  "node_modules/@a/cjs/s.js": `module.exports = "sub";`,
  "node_modules/@a/cjs/node_modules/dep/index.js": `module.exports = "dep";`,
};
const USES_PACKAGES =
  `import esm from "esm"; import { dep, fs, name } from "@a/cjs"; import sub from "@a/cjs/sub";
const got = [esm, name, dep, fs, sub];`;
const PACKAGES_GOT = ["esm", "cjs", "dep", "function", "sub"];

/** A project of some files; `tasks` sets `got`, which the task "p.got" and the load give. */
async function project(files: Record<string, string>, tasks: string, at = "tasks.ts"): Promise<string> {
  const folder = await Deno.makeTempDir({ dir: base });
  const module = `import { App } from "lovage";
${tasks}
const Same: unknown = App;
export const app = new App("p");
app.task("p.got", async () => [...got, (await import("lovage")).App === Same && app instanceof App]);
console.log("GOT " + JSON.stringify(got));
`;
  for (const [path, text] of Object.entries({ [at]: module, ...files })) {
    const file = `${folder}/${path}`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(file, text);
  }
  return folder;
}

async function lovage(cwd: string, ...args: string[]) {
  const { code, out, err } = await runProgram([program, ...args], { cwd, env });
  return { code, out: out.trim(), err: err.trim() };
}

/** What the module's load gave. */
async function loaded(cwd: string, ...args: string[]): Promise<unknown> {
  const { code, out, err } = await lovage(cwd, ...args, "report");
  assert.equal(code, 0, err);
  const lines = out.split("\n").filter((line) => line.startsWith("GOT "));
  assert.equal(lines.length, 1, `the module is loaded once:\n${out}`);
  return JSON.parse(lines[0]!.slice(4));
}

/** Which configurations were made for projects. */
function configurations(): string[] {
  const found: string[] = [];
  const walk = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      if (isDirectory) walk(`${folder}/${name}`);
      else if (folder.includes("/projects/") && name === "deno.json") found.push(`${folder}/${name}`);
    }
  };
  walk(`${base}/cache`);
  return found;
}

Deno.test("project: nothing is made and nothing starts again where there is nothing, or only lovage's types", async () => {
  for (const files of [{}, { "deno.json": `{ "imports": { "lovage": "./types.d.ts" }, "tasks": {} }` }]) {
    const folder = await project({ ...files, "types.d.ts": "" }, "const got = [Deno.pid];");
    const child = new Deno.Command(program, {
      args: ["-A", "tasks.ts", "report"],
      cwd: folder,
      env,
      stdout: "piped",
    })
      .spawn();
    const { stdout } = await child.output();
    assert.match(new TextDecoder().decode(stdout), new RegExp(`GOT \\[${child.pid}\\]`));
    assert.deepEqual(configurations(), []);
  }
});

for (const pool of ["processes", "threads", "async", "solo"]) {
  Deno.test(`project: imports of deno.json and packages of node_modules in ${pool}`, async () => {
    for (
      const [files, tasks, got] of [
        [
          { "deno.json": `{ "imports": { "@/": "./lib/" } }`, "lib/hi.ts": "export const hi = 1;" },
          `import { hi } from "@/hi.ts"; const got = [hi];`,
          [1],
        ],
        [
          { ...PACKAGES, "package.json": `{ "dependencies": { "esm": "1.0.0" } }` },
          USES_PACKAGES,
          PACKAGES_GOT,
        ],
      ] as const
    ) {
      const folder = await project(files, tasks);
      const { out: id } = await lovage(folder, "-A", "tasks.ts", "call", "p.got");
      const worker = await lovage(folder, "-A", "tasks.ts", "worker", "-P", pool, "--burst", "-q");
      assert.equal(worker.code, 0, worker.err);
      const { out } = await lovage(folder, "-A", "tasks.ts", "result", id.split("\n").at(-1)!);
      assert.deepEqual(JSON.parse(out.split("\n").at(-1)!), [...got, true]);
    }
  });
}

Deno.test("project: sandboxed tasks have the same imports", async () => {
  const folder = await project(
    { ...PACKAGES, "deno.json": `{ "imports": { "@/": "./lib/" } }`, "lib/hi.ts": "export const hi = 1;" },
    `import { hi } from "@/hi.ts"; import esm from "esm"; import { dep } from "@a/cjs";
const got = [hi, esm, dep];`,
  );
  const path = `${folder}/tasks.ts`;
  await Deno.writeTextFile(
    path,
    `${await Deno.readTextFile(path)}app.task("p.box", { permissions: {} }, () => got);\n`,
  );
  for (const pool of ["processes", "threads", "solo"]) {
    const { out: id } = await lovage(folder, "-A", "tasks.ts", "call", "p.box");
    const worker = await lovage(folder, "-A", "tasks.ts", "worker", "-P", pool, "--burst", "-q");
    assert.equal(worker.code, 0, worker.err);
    const { out, err } = await lovage(folder, "-A", "tasks.ts", "result", id.split("\n").at(-1)!);
    assert.deepEqual(JSON.parse(out.split("\n").at(-1)!), [1, "esm", "dep"], err);
  }
});

Deno.test("project: import maps as Deno reads them", async () => {
  const lib = { "lib/hi.ts": "export const hi = 1;", "lib/ho.ts": "export const hi = 2;" };
  const from = (...names: string[]) =>
    names.map((name, n) => `import { hi as h${n} } from "${name}";`).join("") +
    `const got = [${names.map((_, n) => `h${n}`).join(", ")}];`;
  const cases: [string, Record<string, string>, string, string, unknown][] = [
    [
      "comments and commas",
      { "deno.jsonc": `// map\n{ "imports": { "a//b": "./lib/hi.ts", /* , */ }, }` },
      from("a//b"),
      "tasks.ts",
      [1],
    ],
    [
      "a map of its own",
      {
        "deno.json": `{ "importMap": "maps/m.json" }`,
        "maps/m.json": `{ "imports": { "x": "../lib/ho.ts" } }`,
      },
      from("x"),
      "tasks.ts",
      [2],
    ],
    [
      "scopes",
      {
        "deno.json": `{ "imports": { "x": "./lib/hi.ts" }, "scopes": { "./sub/": { "x": "./lib/ho.ts" } } }`,
      },
      from("x"),
      "sub/tasks.ts",
      [2],
    ],
    ["a folder above", { "deno.json": `{ "imports": { "x": "./lib/hi.ts" } }` }, from("x"), "a/b/tasks.ts", [
      1,
    ]],
    [
      "ours is lovage, whatever it says",
      { "deno.json": `{ "imports": { "lovage": "./lib/ho.ts", "x": "./lib/hi.ts", "@/": "./lib/" } }` },
      from("x"),
      "tasks.ts",
      [1],
    ],
    [
      "a workspace",
      {
        "deno.json": `{ "workspace": ["./one", "./packages/*"], "imports": { "x": "./lib/hi.ts" } }`,
        "one/deno.json": `{ "imports": { "y": "../lib/ho.ts" } }`,
        "packages/two/deno.json": `{ "name": "@w/two", "exports": { ".": "./m.ts", "./s": "./m.ts" } }`,
        "packages/two/m.ts": "export const hi = 3;",
      },
      from("x", "y", "@w/two", "@w/two/s"),
      "one/tasks.ts",
      [1, 2, 3, 3],
    ],
    [
      "a package.json's imports",
      { "package.json": `{ "type": "module", "imports": { "#hi": "./lib/hi.ts", "#lib/*": "./lib/*.ts" } }` },
      from("#hi", "#lib/ho"),
      "src/tasks.ts",
      [1, 2],
    ],
    [
      "a JSX runtime",
      {
        "deno.json":
          `{ "compilerOptions": { "jsx": "react-jsx", "jsxImportSource": "my" }, "imports": { "my/jsx-runtime": "./jsx.ts" } }`,
        "jsx.ts": "export const jsx = (name: string) => name;",
        "view.tsx": "export const hi = <b />;",
      },
      from("./view.tsx"),
      "tasks.ts",
      ["b"],
    ],
    ["node_modules alone, and above", PACKAGES, USES_PACKAGES, "src/deep/tasks.ts", PACKAGES_GOT],
  ];
  for (const [what, files, tasks, at, got] of cases) {
    const folder = await project({ ...lib, ...files }, tasks, at);
    assert.deepEqual(await loaded(folder, "-A", at), got, what);
    assert.deepEqual(await loaded(folder, "-A", `${folder}/${at}`), got, `${what}, by its whole path`);
  }
});

Deno.test("project: changes are seen by the next start", async () => {
  const folder = await project(
    {
      "deno.json": `{ "imports": { "x": "./one.ts" } }`,
      "one.ts": "export default 1;",
      "two.ts": "export default 2;",
    },
    `import x from "x"; const got = [x];`,
  );
  assert.deepEqual(await loaded(folder, "-A", "tasks.ts"), [1]);
  await Deno.writeTextFile(`${folder}/deno.json`, `{ "imports": { "x": "./two.ts" } }`);
  assert.deepEqual(await loaded(folder, "-A", "tasks.ts"), [2]);
  await Deno.remove(`${folder}/deno.json`);
  const { code, err } = await lovage(folder, "-A", "tasks.ts", "report");
  assert.equal(code, 1);
  const where = fileUrl(`${folder}/tasks.ts`);
  assert.equal(
    err,
    `Error: Cannot load task module "./tasks.ts": TypeError: Import "x" is neither in a package.json nor in the imports ` +
      `of a deno.json for "${where}"\n    at ${where}:2:15`,
  );
});

Deno.test("project: run and test have the library and the project's imports in programs of one's own", async () => {
  const folder = await project(
    {
      "deno.json": `{ "imports": { "@/": "./lib/" } }`,
      "lib/hi.ts": "export const hi = 1;",
      "web.ts": `import { app } from "./tasks.ts"; import { hi } from "@/hi.ts";
const { id } = await app.sendTask("p.got"); console.log(JSON.stringify([typeof id, hi, Deno.args])); Deno.exit(7);`,
      "own_test.ts": `import { TestWorker } from "lovage"; import { app } from "./tasks.ts";
Deno.test("own", async () => {
  await using _worker = await TestWorker.start(app);
  const got = await (await app.sendTask("p.got")).get({ timeout: 120 });
  if (JSON.stringify(got) !== "[1,true]") throw new Error(JSON.stringify(got));
});`,
      "bad_test.ts": `Deno.test("bad", () => { throw new Error("no"); });`,
    },
    `import { hi } from "@/hi.ts"; const got = [hi];`,
  );
  const web = await lovage(folder, "run", "web.ts", "-A", "x y");
  assert.equal(web.code, 7, web.err);
  assert.equal(web.out.split("\n").at(-1), `["string",1,["-A","x y"]]`);
  const tests = await lovage(folder, "test", "own_test.ts");
  assert.equal(tests.code, 0, tests.out + tests.err);
  assert.equal((await lovage(folder, "test", "bad_test.ts")).code, 1);
  const all = await lovage(folder, "test");
  assert.match(all.out, / 1 passed \| 1 failed /);
  assert.match(
    (await lovage(folder, "run", "none.ts")).err,
    /^Error: Cannot run "none.ts": there is no such file$/,
  );
  assert.match((await lovage(folder, "run")).err, /^Error: Cannot run: name a file to run$/);
});

Deno.test("project: where nothing can be kept, the temporary folder serves", async () => {
  const folder = await project(
    { "deno.json": `{ "imports": { "x": "./one.ts" } }`, "one.ts": "export default 1;" },
    `import x from "x"; const got = [x];`,
  );
  const place = { ...env, LOVAGE_CACHE: `${base}/other cache`, TMPDIR: `${base}/tmp` };
  await Deno.mkdir(place.TMPDIR);
  const start = (...args: string[]) => new Deno.Command(program, { args, cwd: folder, env: place }).output();
  await start("--version");
  const [copy] = [...Deno.readDirSync(`${place.LOVAGE_CACHE}/lovage`)];
  await Deno.writeTextFile(`${place.LOVAGE_CACHE}/lovage/${copy!.name}/projects`, "");
  const { code, stdout, stderr } = await start(
    "-A",
    "tasks.ts",
    "worker",
    "-P",
    "processes",
    "--burst",
    "-q",
  );
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.match(new TextDecoder().decode(stdout), /^GOT \[1\]$/m);
});

Deno.test("project: a configuration that cannot be read is told in one line", async () => {
  const folder = await project({ "deno.json": `{ "imports": ` }, "const got = [1];");
  const { code, err } = await lovage(folder, "-A", "tasks.ts", "report");
  assert.equal(code, 64);
  assert.match(err, new RegExp(`^Error: Cannot read "${folder}/deno\\.json": .*$`));
});

Deno.test("project: names as -A takes them, and the worker detached and started again by HUP", async () => {
  const files = { "deno.json": `{ "imports": { "x": "./one.ts" } }`, "one.ts": "export default 1;" };
  const tasks = `import x from "x"; const got = [x];`;
  const folder = await project(files, tasks, "proj/tasks.ts");
  for (const name of ["proj.tasks", "proj", "proj/tasks", "./proj/tasks.ts:app"]) {
    assert.deepEqual(await loaded(folder, "-A", name), [1], name);
  }
  assert.deepEqual(await loaded(base, "--workdir", `${folder}/proj`, "-A", "tasks.ts"), [1]);
  const start = await lovage(
    folder,
    "-A",
    "proj.tasks",
    "worker",
    "-P",
    "solo",
    "-D",
    "--pidfile",
    "w.pid",
    "-f",
    "w.log",
  );
  assert.equal(start.code, 0, start.err);
  const pid = Number(await Deno.readTextFile(`${folder}/w.pid`));
  try {
    const call = ["-A", "proj.tasks", "call", "--wait", "--timeout", "60", "p.got"];
    assert.equal((await lovage(folder, ...call)).out.split("\n").at(-1), "[1,true]");
    Deno.kill(pid, "SIGHUP");
    assert.equal((await lovage(folder, ...call)).out.split("\n").at(-1), "[1,true]");
  } finally {
    Deno.kill(pid, "SIGTERM");
  }
});

Deno.test("project: what lies above a folder that everybody may write to is not the project's", async () => {
  const folder = await project(
    { "deno.json": `{ "imports": { "x": "./one.ts" } }`, "one.ts": "export default 1;" },
    `import x from "x"; const got = [x];`,
    "open/own/tasks.ts",
  );
  assert.deepEqual(await loaded(folder, "-A", "open/own/tasks.ts"), [1]);
  await Deno.chmod(`${folder}/open`, 0o777);
  assert.equal((await lovage(folder, "-A", "open/own/tasks.ts", "report")).code, 1);
});

Deno.test("lovage check knows the library's types and the project's imports", async () => {
  const folder = await project({
    "deno.json": `{ "imports": { "here": "./here.ts" } }`,
    "here.ts": `export const two: number = 2;`,
    "use.ts": `import { App } from "lovage"; import { two } from "here";
const add = new App("x").task("x.add", (x: number) => x + two);
export const sum: number = await (await add.delay(1)).get();`,
    "wrong.ts": `import { add } from "./use.ts"; await add.delay("1");`,
    "remote.ts": `import { App } from "lovage";
export const count: number = await (await new App("x").sendTask("py.count", { args: ["a"] })).get();`,
    ".lovage/types/remote.d.ts":
      remoteStubs(["py.count [__annotations__={'x': str, 'return': int}]"], new Set()).text,
  }, `const got: unknown[] = [];`);
  const use = `${folder}/use.ts`;
  const right = await lovage(folder, "check", "use.ts");
  assert.equal(right.code, 0, right.err);
  await Deno.writeTextFile(use, (await Deno.readTextFile(use)).replace("const add", "export const add"));
  const wrong = await lovage(folder, "check", "wrong.ts");
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /TS2345.*'string' is not assignable to parameter of type 'number'/);
  const remote = `${folder}/remote.ts`;
  const known = await lovage(folder, "check", "remote.ts");
  assert.equal(known.code, 0, known.err);
  await Deno.writeTextFile(remote, (await Deno.readTextFile(remote)).replace(`["a"]`, "[1]"));
  assert.match(
    (await lovage(folder, "check", "remote.ts")).err,
    /TS2322.*'number' is not assignable to type 'string'/,
  );
});
