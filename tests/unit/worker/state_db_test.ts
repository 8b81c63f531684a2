/** The state of a worker over restarts: its file, written whole, read carefully. */

import assert from "node:assert/strict";
import { Rig } from "./rig.ts";
import { eventually } from "../../support/ports.ts";
import { disposableFolder } from "../../support/temporary.ts";

function inFolder(run: (path: string) => Promise<void>): () => Promise<void> {
  return async () => {
    await using place = await disposableFolder();
    const folder = place.path;
    await run(`${folder}/deep/%n.db`);
  };
}

Deno.test(
  "statedb: revoked ids and the clock survive; an id past its expiry does not",
  inFolder(async (path) => {
    const file = path.replace("%n", "w1");
    const first = new Rig({ options: { statedb: path } });
    void first.worker.run();
    await eventually(() => first.log().some((line) => line.includes("ready.")), "ready");
    first.worker.revoke(["a", "b"]);
    first.app.clock.adjust(41);
    await first.worker.stop("warm");
    await first.app.close();
    assert.equal(Deno.statSync(file).mode! & 0o777, 0o600);
    assert.deepEqual([...Deno.readDirSync(file.slice(0, -6))].map(({ name }) => name), ["w1.db"]);

    const second = new Rig({ options: { statedb: path } });
    void second.worker.run();
    await eventually(() => second.log().some((line) => line.includes("ready.")), "ready");
    assert.deepEqual([...second.worker.revoked.entries()].map(([id]) => id), ["a", "b"]);
    assert.ok(second.app.clock.value > 42, String(second.app.clock.value));
    await second.worker.stop("warm");
    await second.app.close();

    const wallMs = second.world.clock.wallMs() + 4 * 3_600_000;
    const late = new Rig({ options: { statedb: path }, world: { wallMs } });
    void late.worker.run();
    await eventually(() => late.log().some((line) => line.includes("ready.")), "ready");
    assert.equal(late.worker.revoked.size, 0);
    await late.worker.stop("warm");
    await late.app.close();
  }),
);

for (
  const [what, bytes] of [
    ["half a file", new Uint8Array([0xa3, 0x66, 0x6c])],
    ["a damaged one", new TextEncoder().encode("\u00a3flovage\u00ff no cbor").slice(1)],
    ["zeros", new Uint8Array(4096)],
    ["Celery's", new TextEncoder().encode("a shelf with zrevoked in it")],
    ["nothing", new Uint8Array(0)],
  ] as const
) {
  Deno.test(
    `statedb: ${what} is set aside with one line`,
    inFolder(async (path) => {
      const file = path.replace("%n", "w1");
      const folder = file.slice(0, -6);
      Deno.mkdirSync(folder);
      Deno.writeFileSync(file, bytes);
      const rig = new Rig({ options: { statedb: path } });
      void rig.worker.run();
      await eventually(() => rig.log().some((line) => line.includes("ready.")), "ready");
      const errors = rig.log("ERROR");
      assert.equal(errors.length, 1);
      assert.match(
        errors[0]!,
        /^Cannot read the state of this worker, set aside as ".*w1\.db\.broken-\d+": [^\n]+$/,
      );
      assert.deepEqual(Deno.readFileSync(/"(.*)"/.exec(errors[0]!)![1]!), bytes);
      await rig.worker.stop("warm");
      await rig.app.close();
    }),
  );
}

for (
  const [what, make] of [
    ["a module", (path: string) => Deno.writeTextFileSync(path, 'import { App } from "lovage";\n')],
    ["another document", (path: string) => Deno.writeFileSync(path, new Uint8Array([0x82, 0x01, 0x02]))],
    ["a folder", (path: string) => Deno.mkdirSync(path)],
    ["a device", (path: string) => Deno.symlinkSync("/dev/null", path)],
    ["a named pipe", (path: string) => void new Deno.Command("mkfifo", { args: [path] }).outputSync()],
  ] as const
) {
  Deno.test(
    `statedb: ${what} is refused, and stays as it is`,
    inFolder(async (path) => {
      const file = path.replace("%n", "w1");
      const folder = file.slice(0, -6);
      Deno.mkdirSync(folder);
      make(file);
      const { ino, size } = Deno.lstatSync(file);
      const rig = new Rig({ options: { statedb: path } });
      assert.equal(await rig.worker.run(), 73);
      const told = [...rig.log(), rig.world.terminal.errText].join("\n");
      assert.match(told, /Cannot use ".*w1\.db" as the state database: it is (not one|a )/);
      assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["w1.db"]);
      assert.equal(Deno.lstatSync(file).ino, ino);
      assert.equal(Deno.lstatSync(file).size, size);
      await rig.app.close();
    }),
  );
}
