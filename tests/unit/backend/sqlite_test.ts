/** What only the SQLite store has: several processes on one file, rows that expire, a file another one locks. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type Backend, openBackend } from "../../../lib/backend/mod.ts";
import { awaited, backendOptions, resultRecord, stored } from "../../conformance/backend.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { eventually } from "../../support/ports.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { filePath } from "../../../lib/base/mod.ts";
import { disposableFolder } from "../../support/temporary.ts";

async function withFolder(run: (path: string) => Promise<void>): Promise<void> {
  await using place = await disposableFolder();
  const folder = place.path;
  await run(`${folder}/lovage.db`);
}

Deno.test("sqlite: results are their user's alone, also where they were not before", async () => {
  await withFolder(async (path) => {
    const mask = Deno.umask(0);
    try {
      for (const url of [`sqlite://${path}`, `sqlite://${path}`]) {
        await using backend = await openBackend(realTestWorld(), url, backendOptions());
        await stored(backend, resultRecord("t", "SUCCESS", 1));
        for (const suffix of ["", "-wal", "-shm"]) {
          assert.equal(Deno.statSync(path + suffix).mode! & 0o777, 0o600, suffix);
        }
        Deno.chmodSync(path, 0o664);
      }
    } finally {
      Deno.umask(mask);
    }
  });
});

const CHILD = `
import { openBackend } from "${new URL("../../../lib/backend/mod.ts", import.meta.url)}";
import { backendOptions, resultRecord } from "${new URL("../../conformance/backend.ts", import.meta.url)}";
import { realTestWorld } from "${new URL("../../support/real_test_world.ts", import.meta.url)}";
const [url, from, count] = Deno.args;
await using backend = await openBackend(realTestWorld(), url, backendOptions());
for (let n = Number(from); n < Number(from) + Number(count); n++) {
  backend.store(resultRecord("t" + n, "SUCCESS", n), null);
  if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
}
await backend.flush();
`;

Deno.test("sqlite: results of other processes are told as they come, none is lost between writers", async () => {
  await withFolder(async (path) => {
    await using backend = await openBackend(realTestWorld(), `sqlite://${path}`, backendOptions());
    const ids = Array.from({ length: 1500 }, (_, n) => `t${n}`);
    const { ready } = awaited(backend, ids);
    const script = `${path}.ts`;
    await Deno.writeTextFile(script, CHILD);
    const children = [0, 500, 1000].map((from) =>
      new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "-q",
          "--no-check",
          "--config",
          filePath(new URL("../../../deno.json", import.meta.url)),
        ]
          .concat([script, `sqlite://${path}`, String(from), "500"]),
        stdin: "null",
      }).output()
    );
    for (const { success, stderr } of await Promise.all(children)) {
      assert.ok(success, new TextDecoder().decode(stderr));
    }
    assert.deepEqual((await ready).map((meta) => meta.result), ids.map((_, n) => n));
  });
});

Deno.test("sqlite: a file that is removed ends no wait: what others store in the next one is told", async () => {
  await withFolder(async (path) => {
    const world = fakeWorld();
    const url = `sqlite://${path}`;
    // The two have clocks of their own.
    const options = backendOptions({ expiresSeconds: null });
    await using reader = await openBackend(world, url, options);
    for (let n = 0; n < 3; n++) await stored(reader, resultRecord(`before${n}`, "SUCCESS", n));
    const { ready } = awaited(reader, ["a"]);
    await world.clock.settle();
    for (const suffix of ["", "-wal", "-shm", "-results"]) Deno.removeSync(path + suffix);
    await using writer = await openBackend(realTestWorld(), url, options);
    // Its rows are counted anew, below what the reader has seen.
    await stored(writer, resultRecord("a", "SUCCESS", 1));
    await world.clock.advance(2000);
    assert.equal((await ready)[0]!.result, 1);
    await stored(reader, resultRecord("b", "SUCCESS", 2));
    assert.equal((await writer.fetch("b"))?.result, 2);
  });
});

Deno.test("sqlite: results wait for as long as another process keeps the file locked, and the log says so once", async () => {
  await withFolder(async (path) => {
    const world = fakeWorld();
    await using backend = await openBackend(world, `sqlite://${path}`, backendOptions());
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    let error: Error | null | undefined;
    backend.store(resultRecord("a", "SUCCESS", 1), (end) => error = end);
    while (world.log.messages("ERROR").length === 0) await world.clock.advance(250);
    await world.clock.advance(250);
    assert.equal(error, undefined);
    assert.equal(world.log.messages("ERROR").length, 1);
    assert.match(world.log.messages("ERROR")[0]!, /database is locked: results wait for it/);
    other.exec("ROLLBACK");
    other.close();
    await world.clock.advance(250);
    assert.equal(error, null);
    assert.equal((await backend.fetch("a"))?.result, 1);
  });
});

Deno.test("sqlite: expired rows are not read, and go a few at a time while others are stored", async () => {
  await withFolder(async (path) => {
    const world = fakeWorld();
    const backend: Backend = await openBackend(
      world,
      `sqlite://${path}`,
      backendOptions({ expiresSeconds: 10 }),
    );
    for (let n = 0; n < 500; n++) backend.store(resultRecord(`t${n}`, "SUCCESS", n), null);
    await backend.saveGroup("g", "[]");
    await backend.startChord("g", 1);
    await backend.flush();
    await world.clock.advance(10_001);
    assert.equal(await backend.fetch("t0"), null);
    assert.equal(await backend.fetchGroup("g"), null);
    const reader = new DatabaseSync(path);
    const count = (table: string) => Number(reader.prepare(`SELECT count(*) AS n FROM ${table}`).get()!["n"]);
    assert.equal(count("result"), 500);
    await stored(backend, resultRecord("new", "SUCCESS", 1));
    assert.equal(count("result"), 301);
    await backend.cleanup();
    assert.deepEqual(["result", "result_group", "result_chord"].map(count), [1, 0, 0]);
    reader.close();
    await backend.close();
    world.clock.checkNothingArmed();
  });
});

const OPENER = `
import { openBackend } from "${new URL("../../../lib/backend/mod.ts", import.meta.url)}";
import { connect } from "${new URL("../../../lib/transport/mod.ts", import.meta.url)}";
import { backendOptions } from "${new URL("../../conformance/backend.ts", import.meta.url)}";
import { CONNECT_OPTIONS } from "${new URL("../../support/connect_options.ts", import.meta.url)}";
import { realTestWorld } from "${new URL("../../support/real_test_world.ts", import.meta.url)}";
const [folder, count] = Deno.args;
const world = realTestWorld();
await (await connect(world, "sqlite://" + folder + "/first.db", CONNECT_OPTIONS)).close();
console.log("ready");
await Deno.stdin.read(new Uint8Array(1));
for (let n = 0; n < Number(count); n++) {
  await using store = await openBackend(world, "sqlite://" + folder + "/store" + n, backendOptions());
  await using broker = await connect(world, "sqlite://" + folder + "/broker" + n, CONNECT_OPTIONS);
}
`;

Deno.test("sqlite: processes that make one database at the same moment all open it, as store and as broker", async () => {
  await withFolder(async (path) => {
    const folder = path.slice(0, path.lastIndexOf("/"));
    await Deno.writeTextFile(`${folder}/opener.ts`, OPENER);
    const config = filePath(new URL("../../../deno.json", import.meta.url));
    const children = [1, 2, 3].map(() =>
      new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", "--no-check", "--config", config, `${folder}/opener.ts`, folder, "40"],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn()
    );
    await Promise.all(children.map(async (child) => {
      const reader = child.stdout.getReader();
      await reader.read();
      reader.releaseLock();
    }));
    await Promise.all(children.map(async (child) => {
      const writer = child.stdin.getWriter();
      await writer.write(new Uint8Array(1));
      await writer.close();
    }));
    for (const child of children) {
      const { code, stderr } = await child.output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
    }
  });
});

Deno.test("sqlite: a file that another process holds is waited for", async () => {
  await withFolder(async (path) => {
    await using backend = await openBackend(realTestWorld(), `sqlite://${path}`, backendOptions());
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    let isDone = false;
    const waits = stored(backend, resultRecord("a", "SUCCESS", 1)).then(() => isDone = true);
    const counted = backend.startChord("g", 1);
    await eventually(() => true, "a turn");
    assert.equal(isDone, false);
    other.exec("COMMIT");
    await Promise.all([waits, counted]);
    other.close();
    assert.equal((await backend.fetch("a"))?.result, 1);
  });
});
