/** Small files: whole or not at all, over nothing but files, for whom they are. */

import assert from "node:assert/strict";
import { OperatingError } from "../../../lib/base/mod.ts";
import {
  keepPrivate,
  readFile,
  removeFile,
  replaceBytes,
  replaceFile,
  stateFolderMode,
} from "../../../lib/platform/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

async function inFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const mask = Deno.umask(0);
  try {
    await body(folder);
  } finally {
    Deno.umask(mask);
    Deno.removeSync(folder, { recursive: true });
  }
}

const modeOf = (path: string) => (Deno.statSync(path).mode! & 0o777).toString(8);
const namesIn = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

Deno.test("replaceFile, replaceBytes: the mode asked for whatever the umask, and nothing beside", () =>
  inFolder(async (folder) => {
    // As long as a name can be, with what a name can hold.
    const path = `${folder}/${"é\\ %".padEnd(250, "x")}`;
    for (const mask of [0, 0o077, 0o277]) {
      Deno.umask(mask);
      replaceFile(path, "text", 0o644);
      assert.equal(modeOf(path), "644");
      await replaceBytes(path, new Uint8Array([1]));
      assert.equal(modeOf(path), "600");
    }
    assert.equal(namesIn(folder).length, 1);
  }));

Deno.test("replaceFile, replaceBytes, readFile, removeFile: a folder, pipe or device is left alone", () =>
  inFolder(async (folder) => {
    const path = `${folder}/x`;
    const makers = [
      () => Deno.mkdirSync(path),
      () => void new Deno.Command("mkfifo", { args: [path] }).outputSync(),
      () => Deno.symlinkSync("/dev/null", path),
    ];
    for (const make of makers) {
      make();
      assert.throws(() => replaceFile(path, "text"), OperatingError);
      await assert.rejects(
        replaceBytes(path, new Uint8Array(1)),
        /^OperatingError: Cannot write ".*x": it is a /,
      );
      assert.equal(readFile(path), null);
      if (!Deno.lstatSync(path).isSymlink) assert.equal(removeFile(path), false);
      assert.deepEqual(namesIn(folder), ["x"]);
      Deno.removeSync(path);
    }
  }));

Deno.test("keepPrivate: a file of ours alone, and no more than the rights of others", () =>
  inFolder((folder) => {
    const path = `${folder}/x`;
    Deno.writeTextFileSync(path, "");
    Deno.chmodSync(path, 0o664);
    keepPrivate(path);
    assert.equal(modeOf(path), "600");
    Deno.chmodSync(path, 0o400);
    keepPrivate(path);
    assert.equal(modeOf(path), "400");
    keepPrivate(`${folder}/none`);
    keepPrivate("/dev/null");
    assert.equal(modeOf("/dev/null"), "666");
    if (Deno.uid() !== 0) return;
    Deno.chmodSync(path, 0o664);
    Deno.chownSync(path, 65534, 65534);
    keepPrivate(path);
    assert.equal(modeOf(path), "664");
  }));

Deno.test("stateFolderMode: the user's own state folder is nobody else's; a folder that was named is read by others", () => {
  const { host } = fakeWorld({ env: { LOVAGE_HOME: "/srv/state" } });
  assert.equal(stateFolderMode("/srv/state", host), 0o700);
  assert.equal(stateFolderMode("/srv/state/run", host), 0o700);
  assert.equal(stateFolderMode("/srv/states", host), 0o755);
  assert.equal(stateFolderMode("/var/run/celery", host), 0o755);
});
