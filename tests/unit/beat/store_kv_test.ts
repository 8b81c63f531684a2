/** The schedule file: what it keeps, whose file is accepted, and what happens if it cannot be made. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { App } from "../../../lib/app/mod.ts";
import { filePath, OperatingError, UsageError } from "../../../lib/base/mod.ts";
import { openStore } from "../../../lib/beat/open_store.ts";
import type { RunState } from "../../../lib/beat/store.ts";
import { KvStore } from "../../../lib/beat/store_kv.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { disposableFolder } from "../../support/temporary.ts";
import { mustRun, runProgram } from "../../support/run.ts";

const STAMP = "20240102T030405";

function state(lastMs: number, more: Partial<RunState> = {}): RunState {
  return { lastMs, count: 1, taskId: null, sendingMs: null, ...more };
}

Deno.test("schedule file: states are kept over a restart, names of any length, and the owner with them", async () => {
  await using place = await disposableFolder();
  const path = `${place.path}/celerybeat-schedule`;
  const world = fakeWorld();
  const first = await KvStore.open(world, path);
  const { owner } = first;
  const long = "näme ".repeat(2000);
  await first.save(
    new Map([["a", state(1, { taskId: "x", sendingMs: 5 })], [long, state(2)], ["gone", state(3)]]),
  );
  await first.save(new Map([["gone", null]]));
  await first.close();
  const second = await KvStore.open(world, path);
  assert.equal(second.owner, owner);
  assert.deepEqual(
    await second.load(),
    new Map(
      [["a", state(1, { taskId: "x", sendingMs: 5 })], [long, state(2)]].reverse() as [string, RunState][],
    ),
  );
  await second.close();
  await second.close();
  assert.deepEqual(world.log.messages(), []);
});

Deno.test("schedule file: ten thousand entries", async () => {
  await using place = await disposableFolder();
  const store = await KvStore.open(fakeWorld(), `${place.path}/s`);
  await store.save(new Map(Array.from({ length: 10_000 }, (_, n) => [`entry-${n}`, state(n)])));
  assert.equal((await store.load()).size, 10_000);
  await store.close();
});

Deno.test("schedule file: a second beat is refused with the first one's pid; peeking is allowed", async () => {
  await using place = await disposableFolder();
  const path = `${place.path}/s`;
  const store = await KvStore.open(fakeWorld(), path);
  await store.save(new Map([["a", state(1)]]));
  await assert.rejects(KvStore.open(fakeWorld(), path), (error) => {
    assert.ok(error instanceof UsageError);
    assert.equal(
      error.message,
      `Schedule file "${path}" is in use: another beat runs on it (pid: ${Deno.pid})`,
    );
    assert.equal(error.exitCode, 73);
    return true;
  });
  assert.equal((await KvStore.peek(path)).size, 1);
  await store.close();
  await (await KvStore.open(fakeWorld(), path)).close();
});

Deno.test("schedule file: peeking makes no file", async () => {
  await using place = await disposableFolder();
  assert.equal((await KvStore.peek(`${place.path}/s`)).size, 0);
  assert.deepEqual([...Deno.readDirSync(place.path)], []);
});

/** Makes a file at a path. */
type Make = (path: string) => void | Promise<void>;

/** Files that are not ours, and how errors call them. */
const FOREIGN: [string, Make, string][] = [
  ["a module", (path) => Deno.writeTextFileSync(path, "export const x = 1;\n"), "not a schedule"],
  ["another database", (path) => {
    const database = new DatabaseSync(path);
    database.exec("CREATE TABLE mine (x); INSERT INTO mine VALUES (42)");
    database.close();
  }, "a database of something else"],
  ["somebody's key-value file", async (path) => {
    using kv = await Deno.openKv(path);
    await kv.set(["mine"], 42);
  }, "a key-value file of something else"],
  ["somebody's GNU dbm", (path) => Deno.writeFileSync(path, gnuDbm("mine")), "not a schedule"],
  ["a folder", (path) => Deno.mkdirSync(path), "a folder"],
  ["a named pipe", (path) => void new Deno.Command("mkfifo", { args: [path] }).outputSync(), "a named pipe"],
  ["a device", (path) => Deno.symlinkSync("/dev/null", path), "a device"],
];

for (const [name, make, what] of FOREIGN) {
  Deno.test(`schedule file: ${name} is refused, and stays as it is`, async () => {
    await using place = await disposableFolder();
    const path = `${place.path}/s`;
    await make(path);
    const before = Deno.statSync(path).isFile ? Deno.readFileSync(path) : null;
    const world = fakeWorld();
    await assert.rejects(KvStore.open(world, path), (error) => {
      assert.ok(error instanceof UsageError);
      assert.equal(error.exitCode, 73);
      assert.ok(
        error.message.startsWith(`Cannot use "${path}" as the schedule file: it is ${what}`),
        error.message,
      );
      return true;
    });
    const names = [...Deno.readDirSync(place.path)].map(({ name }) => name);
    assert.ok(!names.some((name) => name.includes("aside")), names.join());
    if (before !== null && !name.includes("key-value")) assert.deepEqual(Deno.readFileSync(path), before);
    assert.deepEqual(world.log.messages("WARNING"), []);
  });
}

Deno.test("schedule file: a lock file that is not ours is refused, and stays as it is", async () => {
  await using place = await disposableFolder();
  const text = '{ "version": "5" }\n';
  Deno.writeTextFileSync(`${place.path}/deno.lock`, text);
  await assert.rejects(KvStore.open(fakeWorld(), `${place.path}/deno`), (error) => {
    assert.ok(error instanceof UsageError);
    assert.equal(error.exitCode, 73);
    return true;
  });
  assert.equal(Deno.readTextFileSync(`${place.path}/deno.lock`), text);
});

Deno.test("schedule file: only its user may read it and its companions, even if others could before", async () => {
  await using place = await disposableFolder();
  const path = `${place.path}/s`;
  const mask = Deno.umask(0);
  try {
    const modes = () =>
      [...Deno.readDirSync(place.path)].map(({ name }) =>
        `${name} ${(Deno.statSync(`${place.path}/${name}`).mode! & 0o777).toString(8)}`
      ).sort();
    const all = ["s 600", "s-shm 600", "s-wal 600", "s.lock 600"];
    const first = await KvStore.open(fakeWorld(), path);
    await first.save(new Map([["a", state(1)]]));
    assert.deepEqual(modes(), all);
    await first.close();
    for (const { name } of [...Deno.readDirSync(place.path)]) Deno.chmodSync(`${place.path}/${name}`, 0o666);
    const second = await KvStore.open(fakeWorld(), path);
    await second.save(new Map([["a", state(2)]]));
    assert.deepEqual(modes(), all);
    await second.close();
  } finally {
    Deno.umask(mask);
  }
});

function gnuDbm(text: string): Uint8Array {
  const bytes = new Uint8Array(1000);
  new DataView(bytes.buffer).setUint32(0, 0x13579acf, true);
  bytes.set(new TextEncoder().encode(text), 500);
  return bytes;
}

/** Files that are renamed, and how that is logged. */
const SET_ASIDE: [string, Make, RegExp][] = [
  ["a later version", async (path) => {
    using kv = await Deno.openKv(path);
    await kv.set(["lovage"], { schema: 99, owner: "x" });
  }, /is of a later version \(99; this one knows 1\)/],
  ["a damaged one", async (path) => {
    const store = await KvStore.open(fakeWorld(), path);
    await store.save(new Map(Array.from({ length: 2000 }, (_, n) => [`entry-${n}`, state(n)])));
    await store.close();
    const file = Deno.openSync(path, { write: true });
    file.seekSync(20, Deno.SeekMode.Start);
    file.writeSync(crypto.getRandomValues(new Uint8Array(30_000)));
    file.close();
  }, /is damaged|cannot be read/],
  ["zeros", (path) => Deno.writeFileSync(path, new Uint8Array(4096)), /is damaged/],
  ["Python's, GNU dbm", (path) => Deno.writeFileSync(path, gnuDbm("entries")), /is one of Python's/],
];

for (const [name, make, told] of SET_ASIDE) {
  Deno.test(`schedule file: ${name} is renamed and logged, not written to`, async () => {
    await using place = await disposableFolder();
    const path = `${place.path}/s`;
    await make(path);
    const before = Deno.readFileSync(path);
    const world = fakeWorld();
    const store = await KvStore.open(world, path);
    await store.save(new Map([["a", state(1)]]));
    assert.equal((await store.load()).size, 1);
    await store.close();
    const [line, ...more] = world.log.messages("WARNING");
    assert.equal(more.length, 0);
    assert.match(line!, told);
    assert.ok(line!.endsWith(`: it is kept as "${path}.aside-${STAMP}", and a new one is begun`), line);
    if (!name.includes("version")) {
      assert.deepEqual(Deno.readFileSync(`${path}.aside-${STAMP}`), before);
    }
    // A second renamed file does not replace the first.
    Deno.removeSync(path);
    Deno.writeFileSync(path, new Uint8Array(10));
    await (await KvStore.open(world, path)).close();
    assert.ok(Deno.statSync(`${path}.aside-${STAMP}-2`).isFile);
  });
}

Deno.test("schedule file: a file named by option or setting that cannot be made is an error", async () => {
  await using place = await disposableFolder();
  // No file can be made below a file, by root neither.
  Deno.writeTextFileSync(`${place.path}/file`, "");
  const refused = (error: unknown) => {
    assert.ok(error instanceof UsageError && error.exitCode === 73);
    assert.match(error.message, /^Cannot keep the schedule: Cannot make/);
    return true;
  };
  for (const schedule of [`${place.path}/missing/s`, `${place.path}/file/s`]) {
    const world = fakeWorld();
    const app = new App("x", { broker_url: "memory://" }, { world });
    await assert.rejects(KvStore.open(world, schedule), OperatingError);
    await assert.rejects(openStore(app, { schedule }), refused);
    app.conf.beat_schedule_filename = schedule;
    await assert.rejects(openStore(app), refused);
    assert.equal((await openStore(app, { scheduler: "memory" })).path, null);
    assert.deepEqual(world.log.messages("WARNING"), []);
  }
});

Deno.test("schedule file: the default file is optional if the broker keeps records", async () => {
  const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  // In /proc no file can be made, by root neither.
  const script = `
    import { App } from ${url("../../../lib/app/mod.ts")};
    import { openStore } from ${url("../../../lib/beat/open_store.ts")};
    import { fakeWorld } from ${url("../../support/fake_world.ts")};
    const world = fakeWorld();
    const app = new App("x", { broker_url: "memory://" }, { world });
    console.log((await openStore(app)).path, world.log.messages("WARNING")[0]);
    app.conf.beat_lock = false;
    await openStore(app).catch((error) => console.log(error.exitCode, error.message));
  `;
  await using place = await disposableFolder();
  Deno.writeTextFileSync(`${place.path}/open.ts`, script);
  const config = filePath(new URL("../../../deno.json", import.meta.url));
  const argv = [Deno.execPath(), "run", "-A", "--no-check", "--config", config, `${place.path}/open.ts`];
  assert.match(
    await mustRun(argv, { cwd: "/proc" }),
    /^null beat: Cannot make "celerybeat-schedule.lock": .*: no schedule file is kept, the last runs are in the broker alone\n73 Cannot keep the schedule: Cannot make .*\n$/,
  );
});

Deno.test("schedule file: a full disk rejects the save, and a later save works", async () => {
  await using place = await disposableFolder();
  // A limit on file sizes simulates the full disk; its signal is ignored, since a full disk sends none.
  const script = `
    import { KvStore } from "${new URL("../../../lib/beat/store_kv.ts", import.meta.url)}";
    import { fakeWorld } from "${new URL("../../support/fake_world.ts", import.meta.url)}";
    const store = await KvStore.open(fakeWorld(), "${place.path}/s");
    for (let n = 0; n < 100; n++) {
      try {
        await store.save(new Map([["a" + n, { lastMs: n, count: 1, taskId: "x".repeat(20000), sendingMs: null }]]));
      } catch (error) {
        console.log(error.name, error.message);
        break;
      }
    }
    await store.close();
  `;
  Deno.writeTextFileSync(`${place.path}/full.ts`, script);
  const config = filePath(new URL("../../../deno.json", import.meta.url));
  const limited = ["bash", "-c", `trap '' XFSZ; ulimit -f 600; exec "$@"`, "bash"];
  const self = [Deno.execPath(), "run", "-A", "--quiet", "--no-check", "--config", config];
  const { out, err } = await runProgram([...limited, ...self, `${place.path}/full.ts`]);
  assert.match(out, /^OperatingError Cannot write ".*\/s": /, err);
  const store = await KvStore.open(fakeWorld(), `${place.path}/s`);
  assert.ok((await store.load()).size > 0);
  await store.save(new Map([["after", state(1)]]));
  await store.close();
});

Deno.test("schedulers are known by Celery's names and ours; others are refused", async () => {
  await using place = await disposableFolder();
  const app = new App("x", { broker_url: "memory://" }, { world: fakeWorld() });
  const schedule = `${place.path}/s`;
  for (
    const scheduler of ["celery.beat:PersistentScheduler", "celery.beat.PersistentScheduler", "persistent"]
  ) {
    const store = await openStore(app, { schedule, scheduler });
    assert.equal(store.path, schedule);
    await store.close();
  }
  for (const scheduler of ["celery.beat:Scheduler", "memory"]) {
    assert.equal((await openStore(app, { schedule, scheduler })).path, null);
  }
  await assert.rejects(
    openStore(app, { schedule, scheduler: "django_celery_beat.schedulers:DatabaseScheduler" }),
    /Unknown scheduler/,
  );
});
