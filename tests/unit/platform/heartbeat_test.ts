/** Signs of life in files: who turns, who stands still and who is gone, without a broker. */

import assert from "node:assert/strict";
import type { Host } from "../../../lib/base/mod.ts";
import { Heartbeat, localNodes } from "../../../lib/platform/heartbeat.ts";
import { FakeClock } from "../../support/fake_world.ts";
import { disposableFolder } from "../../support/temporary.ts";

function hostIn(home: string, pid = Deno.pid): Host {
  const env = (name: string): string | null => ({ LOVAGE_HOME: home, TMPDIR: home })[name] ?? null;
  return { pid, cwd: home, env } as unknown as Host;
}

async function inFolder(run: (folder: string) => void | Promise<void>): Promise<void> {
  await using place = await disposableFolder();
  const folder = place.path;
  await run(folder);
}

Deno.test("Heartbeat: a file for each node, touched while the loop turns, and gone at the end", () =>
  inFolder(async (folder) => {
    const [clock, host] = [new FakeClock(), hostIn(folder)];
    const heartbeat = new Heartbeat(clock, host);
    let state = "starting";
    const own = `${folder}/own`;
    heartbeat.start(host, () => ({ kind: "worker", node: "a/b@web1", state }), own);
    const [node] = localNodes(host, Date.now());
    assert.ok(node, `nothing in ${[...Deno.readDirSync(`${folder}/nodes`)].map(({ name }) => name)}`);
    assert.deepEqual({ ...node, ageMs: 0 }, {
      kind: "worker",
      node: "a/b@web1",
      state: "starting",
      pid: Deno.pid,
      isAlive: true,
      isTurning: true,
      ageMs: 0,
    });
    assert.deepEqual(JSON.parse(Deno.readTextFileSync(own)), {
      kind: "worker",
      node: "a/b@web1",
      state: "starting",
      pid: Deno.pid,
    });
    state = "running";
    heartbeat.changed();
    assert.equal(localNodes(host, Date.now())[0]!.state, "running");
    Deno.utimeSync(own, 1000, 1000);
    await clock.advance(2000);
    assert.ok(Deno.statSync(own).mtime!.getTime() > 1_000_000);
    // Somebody cleans up: it is written again.
    Deno.removeSync(own);
    await clock.advance(2000);
    assert.ok(Deno.statSync(own).isFile);
    heartbeat.close();
    assert.deepEqual(localNodes(host, Date.now()), []);
    assert.throws(() => Deno.statSync(own), Deno.errors.NotFound);
    assert.equal(clock.armed.length, 0);
  }));

Deno.test("localNodes: one that is touched no more stands still; one whose process ended is gone, and later forgotten", () =>
  inFolder((folder) => {
    const host = hostIn(folder);
    const heartbeat = new Heartbeat(new FakeClock(), host);
    heartbeat.start(host, () => ({ kind: "beat", node: "beat@web1", state: "running" }), null);
    const still = localNodes(host, Date.now() + 20_000)[0]!;
    assert.deepEqual([still.kind, still.isAlive, still.isTurning], ["beat", true, false]);
    assert.ok(still.ageMs >= 20_000);
    // No process has a number beyond the system's largest.
    const dead = new Heartbeat(new FakeClock(), hostIn(folder, 2 ** 30));
    dead.start(host, () => ({ kind: "worker", node: "w@web1", state: "running" }), null);
    const gone = localNodes(host, Date.now()).find(({ node }) => node === "w@web1")!;
    assert.deepEqual([gone.isAlive, gone.isTurning], [false, false]);
    assert.deepEqual(localNodes(host, Date.now() + 90_000_000).map(({ node }) => node), ["beat@web1"]);
    assert.ok([...Deno.readDirSync(`${folder}/nodes`)].every(({ name }) => !name.startsWith("w%40")));
    dead.close();
    heartbeat.close();
  }));

Deno.test("Heartbeat: a file that cannot be written is told at the start", () =>
  inFolder((folder) => {
    const host = hostIn(folder);
    const heartbeat = new Heartbeat(new FakeClock(), host);
    assert.throws(
      () => heartbeat.start(host, () => ({ kind: "beat", node: "b", state: "x" }), `${folder}/no/such`),
      { name: "UsageError", exitCode: 73, message: /^Cannot write heartbeat file / },
    );
    heartbeat.close();
  }));

Deno.test("Heartbeat: what is not a heartbeat file is neither replaced nor removed", () =>
  inFolder((folder) => {
    const host = hostIn(folder);
    const facts = () => ({ kind: "worker" as const, node: "w@h", state: "running" });
    const path = `${folder}/tasks.ts`;
    const texts = ["export const app = 1;\n", "{}", "null", '{"kind": "worker"}', "5", "\n".repeat(20_000)];
    for (const text of texts) {
      Deno.writeTextFileSync(path, text);
      const heartbeat = new Heartbeat(new FakeClock(), host);
      assert.throws(() => heartbeat.start(host, facts, path), {
        name: "UsageError",
        exitCode: 73,
        message: `Cannot write heartbeat file "${path}": the file there is not a heartbeat file`,
      });
      heartbeat.close();
      assert.equal(Deno.readTextFileSync(path), text);
    }
    // One that was made ahead, and one that a worker that was killed has left.
    for (const text of ["", "\n", '{"kind":"beat","node":"b","state":"running","pid":7}\n']) {
      Deno.writeTextFileSync(path, text);
      const heartbeat = new Heartbeat(new FakeClock(), host);
      heartbeat.start(host, facts, path);
      assert.match(Deno.readTextFileSync(path), /"w@h"/);
      heartbeat.close();
      assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
    }
    const heartbeat = new Heartbeat(new FakeClock(), host);
    heartbeat.start(host, facts, path);
    Deno.writeTextFileSync(path, "somebody's");
    heartbeat.close();
    assert.equal(Deno.readTextFileSync(path), "somebody's");
  }));
