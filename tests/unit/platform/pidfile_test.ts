/** Pid files: made whole, taken over from the dead alone, removed only by their own. */

import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { acquirePidfile, isOwnerAlive, readPidfile, removeStalePidfile } from "../../../lib/platform/mod.ts";

async function inFolder(body: (path: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "pidfile-" });
  try {
    await body(`${folder}/w.pid`);
    assert.deepEqual(
      [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name !== "w.pid"),
      [],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("acquirePidfile: pid and newline, 0644; release removes it, twice is once", () =>
  inFolder((path) => {
    const pidfile = acquirePidfile(path);
    assert.equal(Deno.readTextFileSync(path), `${Deno.pid}\n`);
    assert.equal(Deno.statSync(path).mode! & 0o777 & ~Deno.umask(), 0o644 & ~Deno.umask());
    assert.equal(readPidfile(path), Deno.pid);
    pidfile.release();
    assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
    pidfile.release();
  }));

Deno.test("acquirePidfile: a living process's file is refused with 73, in Celery's words", () =>
  inFolder(async (path) => {
    const other = new Deno.Command("sleep", { args: ["30"] }).spawn();
    try {
      Deno.writeTextFileSync(path, `${other.pid}\n`);
      assert.throws(() => acquirePidfile(path), (error) => {
        assert(error instanceof UsageError);
        assert.equal(error.exitCode, 73);
        assert.equal(
          error.message,
          `ERROR: Pidfile (${path}) already exists.\nSeems we're already running? (pid: ${other.pid})`,
        );
        return true;
      });
      assert.equal(readPidfile(path), other.pid);
      assert.equal(removeStalePidfile(path), false);
      // Older than the process: that pid is another's by now.
      const before = new Date(Date.now() - 3_600_000);
      Deno.utimeSync(path, before, before);
      assert.equal(isOwnerAlive(other.pid, path), false);
      assert.equal(removeStalePidfile(path), true);
    } finally {
      other.kill("SIGKILL");
      await other.status;
    }
  }));

Deno.test("acquirePidfile: a dead one's file, an empty one and no number are taken over and told; ours quietly", () =>
  inFolder((path) => {
    for (const text of ["999999\n", "", "not a pid\n", "-1\n", "0\n"]) {
      const told: string[] = [];
      Deno.writeTextFileSync(path, text);
      acquirePidfile(path, (message) => told.push(message));
      assert.deepEqual([readPidfile(path), told], [Deno.pid, ["Stale pidfile exists - Removing it."]], text);
    }
    acquirePidfile(path, () => assert.fail("it is our own: started again in place"));
    assert.equal(readPidfile(path), Deno.pid);
  }));

Deno.test("release: a file that is another's by now stays", () =>
  inFolder((path) => {
    const pidfile = acquirePidfile(path);
    Deno.writeTextFileSync(path, "999999\n");
    pidfile.release();
    assert.equal(readPidfile(path), 999999);
  }));

Deno.test("acquirePidfile: a folder that is not there is told, with 73", () => {
  assert.throws(
    () => acquirePidfile("/no/such/folder/w.pid"),
    /Cannot create pidfile "\/no\/such\/folder\/w\.pid"/,
  );
});
