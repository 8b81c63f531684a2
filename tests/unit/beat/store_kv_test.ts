/** The schedule file: what is kept, whose file it is, and what happens where it cannot be. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { App } from "../../../lib/app/mod.ts";
import { OperatingError, UsageError } from "../../../lib/base/mod.ts";
import { openStore } from "../../../lib/beat/open_store.ts";
import type { RunState } from "../../../lib/beat/store.ts";
import { KvStore } from "../../../lib/beat/store_kv.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { requirePython } from "../../support/servers.ts";

const STAMP = "20240102T030405";

async function folder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

function state(lastMs: number, more: Partial<RunState> = {}): RunState {
  return { lastMs, count: 1, taskId: null, sendingMs: null, ...more };
}

Deno.test("schedule file: states are kept over a restart, names of any length, and the owner with them", async () => {
  await using place = await folder();
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
  await using place = await folder();
  const store = await KvStore.open(fakeWorld(), `${place.path}/s`);
  await store.save(new Map(Array.from({ length: 10_000 }, (_, n) => [`entry-${n}`, state(n)])));
  assert.equal((await store.load()).size, 10_000);
  await store.close();
});

Deno.test("schedule file: the second beat on it refuses, with the first one's pid; peeking is free", async () => {
  await using place = await folder();
  const path = `${place.path}/s`;
  const store = await KvStore.open(fakeWorld(), path);
  await store.save(new Map([["a", state(1)]]));
  await assert.rejects(KvStore.open(fakeWorld(), path), (error) => {
    assert(error instanceof UsageError);
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
  await using place = await folder();
  assert.equal((await KvStore.peek(`${place.path}/s`)).size, 0);
  assert.deepEqual([...Deno.readDirSync(place.path)], []);
});

/** Files that are not ours, and how they are told. */
const FOREIGN: [string, (path: string) => void | Promise<void>, RegExp][] = [
  [
    "text",
    (path) => Deno.writeTextFileSync(path, "not a schedule\n".repeat(100)),
    /is not a schedule, or is damaged/,
  ],
  ["another database", (path) => {
    const database = new DatabaseSync(path);
    database.exec("CREATE TABLE mine (x); INSERT INTO mine VALUES (42)");
    database.close();
  }, /is a database of something else/],
  ["somebody's key-value file", async (path) => {
    using kv = await Deno.openKv(path);
    await kv.set(["mine"], 42);
  }, /is a key-value file of something else/],
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
  }, /is not a schedule, or is damaged|cannot be read/],
  ["Python's, GNU dbm", (path) => {
    const bytes = new Uint8Array(1000);
    new DataView(bytes.buffer).setUint32(0, 0x13579acf, true);
    Deno.writeFileSync(path, bytes);
  }, /is one of Python's/],
  ["a folder", (path) => Deno.mkdirSync(path), /is not a schedule, or is damaged/],
];

for (const [name, make, told] of FOREIGN) {
  Deno.test(`schedule file: ${name} is set aside and told, not written to`, async () => {
    await using place = await folder();
    const path = `${place.path}/s`;
    await make(path);
    const isFile = Deno.statSync(path).isFile;
    const before = isFile ? Deno.readFileSync(path) : null;
    const world = fakeWorld();
    const store = await KvStore.open(world, path);
    await store.save(new Map([["a", state(1)]]));
    assert.equal((await store.load()).size, 1);
    await store.close();
    const [line, ...more] = world.log.messages("WARNING");
    assert.equal(more.length, 0);
    assert.match(line!, told);
    assert(line!.endsWith(`: it is kept as "${path}.aside-${STAMP}", and a new one is begun`), line);
    if (before && !name.includes("key-value") && !name.includes("version")) {
      assert.deepEqual(Deno.readFileSync(`${path}.aside-${STAMP}`), before);
    }
    // And a second one does not take the first one's place.
    Deno.removeSync(path);
    Deno.writeTextFileSync(path, "again ".repeat(10));
    await (await KvStore.open(world, path)).close();
    assert(Deno.statSync(`${path}.aside-${STAMP}-2`).isFile);
  });
}

Deno.test("schedule file: one of Python's own beat beside it is left alone", async () => {
  const python = await requirePython();
  await using place = await folder();
  const path = `${place.path}/celerybeat-schedule`;
  const script = `import shelve; s = shelve.open("${path}"); s["entries"] = {}; s["tz"] = "UTC"; s.close()`;
  assert((await new Deno.Command(python.path, { args: ["-c", script] }).output()).success);
  const names = () => [...Deno.readDirSync(place.path)].map(({ name }) => name).sort();
  const before = names();
  const world = fakeWorld();
  await (await KvStore.open(world, path)).close();
  const check = `import shelve; assert dict(shelve.open("${path}"))["tz"] == "UTC"`;
  if (before.includes("celerybeat-schedule")) {
    assert.match(world.log.messages("WARNING")[0]!, /one of Python's/);
  } else {assert(
      (await new Deno.Command(python.path, { args: ["-c", check] }).output()).success,
      names().join(),
    );}
});

Deno.test("schedule file: a folder that cannot be written is told; the broker's records alone are kept, or it refuses", async () => {
  // No file can be made under a file, for root neither.
  await using place = await folder();
  Deno.writeTextFileSync(`${place.path}/file`, "");
  const schedule = `${place.path}/file/s`;
  await assert.rejects(KvStore.open(fakeWorld(), schedule), OperatingError);
  const world = fakeWorld();
  const app = new App("x", { broker_url: "memory://" }, { world });
  const store = await openStore(app, { schedule });
  assert.equal(store.path, null);
  assert.match(
    world.log.messages("WARNING")[0]!,
    /^beat: Cannot make ".*\/file\/s.lock": .*: no schedule file is kept, the last runs are in the broker alone$/,
  );
  app.conf.beat_lock = false;
  await assert.rejects(openStore(app, { schedule }), (error) => {
    assert(error instanceof UsageError && error.exitCode === 73);
    assert.match(error.message, /^Cannot keep the schedule: Cannot make/);
    return true;
  });
});

Deno.test("schedule file: a full disk is told by the save, and the next one works", async () => {
  await using place = await folder();
  // A limit on the size of files stands for the disk; the signal that comes with it is ignored, as a full disk has none.
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
  const config = new URL("../../../deno.json", import.meta.url).pathname;
  const { stdout, stderr } = await new Deno.Command("bash", {
    args: [
      "-c",
      `trap '' XFSZ; ulimit -f 600; exec "$@"`,
      "bash",
      Deno.execPath(),
      "run",
      "-A",
      "--quiet",
      "--no-check",
      "--config",
      config,
      `${place.path}/full.ts`,
    ],
  }).output();
  const said = new TextDecoder().decode(stdout);
  assert.match(said, /^OperatingError Cannot write ".*\/s": /, new TextDecoder().decode(stderr));
  const store = await KvStore.open(fakeWorld(), `${place.path}/s`);
  assert((await store.load()).size > 0);
  await store.save(new Map([["after", state(1)]]));
  await store.close();
});

Deno.test("schedulers are known by Celery's names and ours; others are refused", async () => {
  await using place = await folder();
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
