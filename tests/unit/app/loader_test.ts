import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import {
  type App,
  appSource,
  loadApp,
  loadMore,
  type LoadOptions,
  sandboxModules,
} from "../../../lib/app/mod.ts";
import { fillTemplate } from "../../../lib/app/manifest.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

const APP = 'import { App } from "lovage";\n';
const NAMED = (name: string, appName: string) => `${APP}export const ${name} = new App("${appName}");\n`;

/** A folder of files, gone afterwards; `load` loads from it. */
class Folder implements AsyncDisposable {
  readonly path = Deno.makeTempDirSync({ prefix: "lovage-loader-" });

  constructor(files: Record<string, string>) {
    for (const [name, text] of Object.entries(files)) {
      const path = `${this.path}/${name}`;
      Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      Deno.writeTextFileSync(path, text);
    }
  }

  load(spec: string | null, options: LoadOptions = {}, env: Record<string, string> = {}): Promise<App> {
    return loadApp(fakeWorld({ env, host: { cwd: this.path } }), spec, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

async function refused(loading: Promise<unknown>, exitCode: number, text: RegExp): Promise<string> {
  const error = await loading.then(() => null, (error) => error);
  assert.ok(error instanceof UsageError, String(error));
  assert.match(error.message, text);
  assert.equal(error.exitCode, exitCode);
  return error.message;
}

Deno.test("loadApp: paths, folders and bare names, with and without an export", async () => {
  await using folder = new Folder({
    "one.ts": NAMED("app", "one"),
    "two.js": `${NAMED("celery", "two")}export const other = new App("other");\n`,
    "three/mod.ts": `${APP}export default new App("three");\n`,
    "four/tasks.ts": NAMED("onlyOne", "four"),
    "pkg/sub/tasks.ts": NAMED("app", "dotted"),
    "odd name #1.ts": NAMED("app", "odd"),
  });
  const cases: [string, string][] = [
    ["one.ts", "one"],
    ["./one", "one"],
    ["one", "one"],
    ["two", "two"],
    ["two:other", "other"],
    ["two.js:celery", "two"],
    ["three", "three"],
    ["three/", "three"],
    ["four", "four"],
    ["four/tasks.ts:onlyOne", "four"],
    ["pkg.sub.tasks", "dotted"],
    ["pkg/sub", "dotted"],
    ["odd name #1.ts", "odd"],
    [`${folder.path}/one.ts`, "one"],
  ];
  for (const [spec, name] of cases) assert.equal((await folder.load(spec)).name, name, spec);
  const app = await folder.load("two:other");
  assert.equal(appSource(app).app, `${folder.path}/two.js:other`);
  assert.equal((await folder.load(null)).name, "default");
});

Deno.test("loadApp: a folder in Celery's own layout, where proj/celery makes the App", async () => {
  await using folder = new Folder({
    "proj/celery.ts": `${APP}export const app = new App("proj", { include: ["proj.tasks"] });\n`,
    "proj/tasks.ts":
      'import { app } from "./celery.ts";\nexport const add = app.task("proj.tasks.add", () => 1);\n',
    "bare/celery.ts": NAMED("app", "bare"),
    "own/celery.ts": NAMED("app", "of celery"),
    "own/tasks.ts": NAMED("app", "of tasks"),
    "none/tasks.ts": "export const x = 1;\n",
  });
  const app = await folder.load("proj");
  assert.equal(app.name, "proj");
  assert.ok(app.tasks.get("proj.tasks.add"));
  assert.equal(appSource(app).app, `${folder.path}/proj/celery.ts`);
  assert.equal((await folder.load("bare")).name, "bare");
  assert.equal((await folder.load("own")).name, "of tasks");
  await refused(folder.load("none"), 64, /tasks\.ts.*exports no App/);
});

Deno.test("loadApp: what is not there is told in one line", async () => {
  await using folder = new Folder({
    "none.ts": "export const x = 1;\n",
    "two.ts": `${NAMED("a", "a")}export const b = new App("b");\n`,
    "one.ts": NAMED("app", "one"),
    "broken.toml": "[tasks\n",
    "empty.json": "{}",
  });
  await refused(
    folder.load("missing"),
    64,
    /^Cannot find task module "missing": there is no \.\/missing\.ts, /,
  );
  await refused(
    folder.load("missing.ts"),
    64,
    /^Cannot find task module "missing.ts": there is no \.\/missing\.ts$/,
  );
  await refused(folder.load("none.ts"), 64, /^Cannot use task module "\.\/none\.ts": it exports no App/);
  await refused(folder.load("two"), 64, /several Apps; name one: \.\/two\.ts:a, \.\/two\.ts:b$/);
  await refused(folder.load("one:ap"), 64, /it exports no "ap": did you mean "app"\?$/);
  await refused(folder.load("none:x"), 64, /its export "x" is not an App$/);
  await refused(folder.load("broken.toml"), 64, /^Cannot read "\.\/broken\.toml": /);
  await refused(folder.load("empty.json"), 64, /it has no \[tasks\."name"\] in it$/);
});

Deno.test("loadApp: a module that throws shows its own error and frames, none of ours", async () => {
  await using folder = new Folder({
    "throws.ts": "function inner(): never {\n  throw new RangeError('no luck');\n}\ninner();\n",
    "twice.ts": `${NAMED("app", "x")}app.task("t", () => 1);\napp.task("t", () => 2);\n`,
    "setting.ts": `${APP}export const app = new App("x", { task_ack_late: true } as never);\n`,
    "syntax.ts": "export const = 1;\n",
    "import.ts": 'import "./nowhere.ts";\n',
    "text.ts": 'throw "only text";\n',
  });
  const text = await refused(
    folder.load("throws"),
    1,
    /^Cannot load task module "\.\/throws\.ts": RangeError: no luck\n\s+at inner \(file:.*throws\.ts:2:9\)/,
  );
  assert.ok(!text.includes("lib/app"), text);
  const twice = await refused(
    folder.load("twice"),
    1,
    /Cannot register task "t": another task has that name/,
  );
  assert.match(twice, /twice\.ts:4:5/);
  assert.ok(!twice.includes("lib/app"), twice);
  await refused(
    folder.load("setting"),
    1,
    /Unknown setting "task_ack_late": did you mean "task_acks_late"\?/,
  );
  await refused(folder.load("syntax"), 1, /^Cannot load task module "\.\/syntax\.ts": /);
  await refused(folder.load("import"), 1, /nowhere\.ts/);
  await refused(folder.load("text"), 1, /it threw only text$/);
});

Deno.test("loadApp: settings of a file, of the environment and of the command line", async () => {
  const own = `${APP}export const app = new App("x", { task_time_limit: 1, worker_concurrency: 1 });\n`;
  // One file for each App: a module is loaded once in a process.
  const files = {
    "app1.ts": own,
    "app2.ts": own,
    "app3.ts": own,
    "app4.ts": own,
    "app5.ts": own,
    "conf.ts": "export const task_time_limit = 2;\nexport const task_acks_late = true;\n",
    "conf2.ts": "export default { CELERY_TASK_TIME_LIMIT: 3 };\n",
    "conf.json": '{"task_time_limit": 4}',
    "conf.toml": "task_time_limit = 5\n[broker_transport_options]\nvisibility_timeout = 60\n",
    "wrong.json": '{"task_time_limitt": 4}',
    "app6.ts": own,
    "app7.ts": own,
    "marked.json": '\uFEFF{"task_time_limit": 6}',
    "marked.toml": "\uFEFFtask_time_limit = 7\n",
    "made.ts": "export default () => ({ task_time_limit: 8 });\n",
    "late.ts": "export default Promise.resolve({ task_time_limit: 9 });\n",
    "app8.ts": own,
  };
  await using folder = new Folder(files);
  assert.equal((await folder.load("app6", { config: "marked.json" })).conf.task_time_limit, 6);
  assert.equal((await folder.load("app7", { config: "marked.toml" })).conf.task_time_limit, 7);
  await refused(folder.load("app5", { config: "made.ts" }), 64, /an object of name to value is expected$/);
  await refused(folder.load("app8", { config: "late.ts" }), 64, /an object of name to value is expected$/);
  assert.equal((await folder.load("app1", { config: "conf.ts" })).conf.task_time_limit, 2);
  assert.equal((await folder.load("app2", { config: "conf2" })).conf.task_time_limit, 3);
  assert.equal((await folder.load("app3", { config: "conf.json" })).conf.task_time_limit, 4);
  const toml = await folder.load("app4", { config: "conf.toml" }, { CELERY_BROKER_URL: "redis://env" });
  assert.deepEqual(toml.conf.broker_transport_options, { visibility_timeout: 60 });
  assert.equal(toml.conf.broker_url, "redis://env");
  const byEnv = await folder.load(
    "app5",
    { settings: { worker_concurrency: "7", broker_url: "memory://" } },
    {
      CELERY_CONFIG_MODULE: "conf.ts",
      CELERY_BROKER_URL: "redis://env",
    },
  );
  assert.deepEqual(
    [byEnv.conf.task_acks_late, byEnv.conf.worker_concurrency, byEnv.conf.broker_url],
    [true, 7, "memory://"],
  );
  await refused(folder.load("app5", { config: "nothing" }), 64, /^Cannot find settings "nothing"/);
  await refused(folder.load("app5", { config: "wrong.json" }), 64, /did you mean "task_time_limit"\?$/);
});

Deno.test("loadApp: imports and include, the App's hooks at the end", async () => {
  await using folder = new Folder({
    "proj/app.ts":
      `${APP}export const app = new App("x", { imports: ["./more.ts"], include: ["other"] });\n` +
      "app.onAfterFinalize.connect(({ sender }) => { sender.task('t.late', () => sender.tasks.size); });\n",
    "proj/more.ts": 'import { app } from "./app.ts";\napp.task("t.more", () => 1);\n',
    "other.ts": 'import { app } from "./proj/app.ts";\napp.task("t.other", () => 1);\n',
    "extra.ts": 'import { app } from "./proj/app.ts";\napp.task("t.extra", () => 1);\n',
  });
  const app = await folder.load("proj/app.ts", { include: ["extra"] });
  assert.deepEqual(app.tasks.names(), ["t.extra", "t.late", "t.more", "t.other"]);
  assert.deepEqual(appSource(app).include, [
    `${folder.path}/proj/more.ts`,
    `${folder.path}/other.ts`,
    `${folder.path}/extra.ts`,
  ]);
});

Deno.test("manifest: tasks that are commands", async () => {
  await using folder = new Folder({
    "tasks.toml": `name = "cmds"
[settings]
task_default_queue = "cmds"
[tasks."sh.args"]
argv = ["./show.sh", "{0}", "{width}", "{{x}}"]
time_limit = 60
[tasks."sh.call"]
argv = ["cat"]
[tasks."sh.fails"]
argv = ["sh", "-c", "echo some >&2; echo why >&2; exit 3"]
max_retries = 1
[tasks."sh.silent"]
argv = ["true"]
`,
    "show.sh": '#!/bin/sh\nprintf "%s|" "$@"\n',
    "bad.toml": '[tasks."x"]\nargv = "ls -l"\n',
    "odd.toml": '[tasks."x"]\nargv = ["ls"]\ntime_limitt = 3\n',
  });
  Deno.chmodSync(`${folder.path}/show.sh`, 0o755);
  const world = realTestWorld();
  const app = await loadApp(world, `${folder.path}/tasks.toml`);
  assert.equal(app.name, "cmds");
  assert.equal(app.conf.task_default_queue, "cmds");
  assert.equal(app.tasks.get("sh.args")!.options.timeLimit, 60);
  const run = async (name: string, args: unknown[], kwargs = {}) =>
    await (await app.tasks.get(name)!.apply(args, kwargs)).get();
  assert.equal(await run("sh.args", ["a b;$HOME"], { width: 640 }), "a b;$HOME|640|{x}|");
  const call = await run("sh.call", [1, { k: "ž" }], { n: null }) as Record<string, unknown>;
  assert.deepEqual([call.task, call.args, call.kwargs], ["sh.call", [1, { k: "ž" }], { n: null }]);
  assert.equal(await run("sh.silent", []), null);
  await assert.rejects(run("sh.fails", []), /^\S*: sh exited with status 3: some\nwhy$/);
  await assert.rejects(run("sh.args", []), /missing 1 required argument: '0'/);
  await refused(loadApp(world, `${folder.path}/bad.toml`), 64, /argv must be a list of strings/);
  await refused(loadApp(world, `${folder.path}/odd.toml`), 64, /Unknown option "timeLimitt" of task "x"/);
});

Deno.test("manifest: beside a module, with its settings or none", async () => {
  await using folder = new Folder({
    "proj/tasks.ts": `${APP}export const app = new App("p");\n`,
    "proj/m.toml": '[tasks."m.say"]\nargv = ["./say.sh"]\n',
    "proj/say.sh": "#!/bin/sh\necho said\n",
    "set.toml": '[settings]\ntimezone = "UTC"\n[tasks."x"]\nargv = ["true"]\n',
    "proj/late.json": '{ "tasks": { "m.late": { "argv": ["true"] } } }',
  });
  Deno.chmodSync(`${folder.path}/proj/say.sh`, 0o755);
  const at = `${folder.path}/proj/tasks.ts`;
  const world = realTestWorld();
  const app = await loadApp(world, at, { include: ["m.toml"] });
  assert.equal(await (await app.tasks.get("m.say")!.apply([])).get(), "said");
  await loadMore(app, ["late.json"]);
  assert.ok(app.tasks.get("m.late"));
  assert.deepEqual(sandboxModules(appSource(app).app!, appSource(app).include), [
    `${folder.path}/proj/tasks.ts`,
  ]);
  await refused(
    loadApp(world, at, { include: [`${folder.path}/set.toml`] }),
    64,
    /Cannot include manifest .* it has settings/,
  );
});

Deno.test("manifest: an argument becomes no option, unless the task says that it may", async () => {
  await using folder = new Folder({
    "tasks.toml": `[tasks."a"]
argv = ["echo", "{0}"]
[tasks."b"]
argv = ["printf", "%s", "--", "{0}"]
[tasks."c"]
argv = ["echo", "{0}"]
allow_options = true
[tasks."d"]
argv = ["echo", "-n", "-{0}", "x{0}"]
`,
  });
  const app = await loadApp(realTestWorld(), `${folder.path}/tasks.toml`);
  const run = async (name: string, ...args: unknown[]) =>
    await (await app.tasks.get(name)!.apply(args)).get();
  for (const word of ["-n", "--files0-from=/etc/passwd", "-"]) {
    await assert.rejects(run("a", word), /TypeError: a\(\) argument for \{0\} begins with a dash .* "--"/);
    assert.equal(await run("c", "-n"), null);
    assert.equal(await run("d", word), `-${word} x${word}`);
  }
  assert.equal(await run("a", "-5"), -5);
  assert.equal(await run("a", -0.5), -0.5);
  assert.equal(await run("b", "--version"), "----version");
});

Deno.test("manifest: templates", () => {
  assert.equal(fillTemplate("{0}-{name}-{1}", ["a", [1, 2]], { name: { k: 1 } }, "t"), 'a-{"k":1}-[1,2]');
  assert.equal(fillTemplate("{{0}} {} {-}", [], {}, "t"), "{0} {} {-}");
  assert.throws(() => fillTemplate("{1}", ["a"], {}, "t"), /t\(\) missing 1 required argument: '1'/);
});
