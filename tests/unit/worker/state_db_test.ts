/** What a worker remembers over restarts: its file, written whole, read carefully. */

import assert from "node:assert/strict";
import { Rig } from "./rig.ts";

function inFolder(run: (path: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = Deno.makeTempDirSync();
    try {
      await run(`${folder}/deep/%n.db`);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  };
}

/** Reads and writes of files are no turns of the fake clock. */
async function eventually(done: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!done()) {
    if (performance.now() > end) throw new Error("not done in time");
    await new Promise((next) => setTimeout(next, 1));
  }
}

Deno.test(
  "statedb: revoked ids and the clock survive; an id past its expiry does not",
  inFolder(async (path) => {
    const file = path.replace("%n", "w1");
    const first = new Rig({ options: { statedb: path } });
    void first.worker.run();
    await eventually(() => first.log().some((line) => line.includes("ready.")));
    first.worker.revoke(["a", "b"]);
    first.app.clock.adjust(41);
    await first.worker.stop("warm");
    await first.app.close();
    assert.equal(Deno.statSync(file).mode! & 0o777, 0o600);
    assert.deepEqual([...Deno.readDirSync(file.slice(0, -6))].map(({ name }) => name), ["w1.db"]);

    const second = new Rig({ options: { statedb: path } });
    void second.worker.run();
    await eventually(() => second.log().some((line) => line.includes("ready.")));
    assert.deepEqual([...second.worker.parts.revoked.entries()].map(([id]) => id), ["a", "b"]);
    assert(second.app.clock.value > 42, String(second.app.clock.value));
    await second.worker.stop("warm");
    await second.app.close();

    const wallMs = second.world.clock.wallMs() + 4 * 3_600_000;
    const late = new Rig({ options: { statedb: path }, world: { wallMs } });
    void late.worker.run();
    await eventually(() => late.log().some((line) => line.includes("ready.")));
    assert.equal(late.worker.parts.revoked.size, 0);
    await late.worker.stop("warm");
    await late.app.close();
  }),
);

for (
  const [what, bytes] of [
    ["garbage", new TextEncoder().encode("no cbor at all \xff\x00")],
    ["half a file", new Uint8Array([0xa3, 0x66, 0x6c])],
    ["another document", new Uint8Array([0x82, 0x01, 0x02])],
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
      await eventually(() => rig.log().some((line) => line.includes("ready.")));
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
