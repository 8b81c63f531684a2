/**
 * Files of the embedded broker that cannot be used (damaged, not writable, a full disk): every command says so in one
 * line, what and where and what to do, and ends with 69; nothing waits for ever.
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { lovage, TASKS } from "../support/programs.ts";
import { disposableFolder } from "../support/temporary.ts";

/** The commands, and whether each writes to the broker. */
const COMMANDS: readonly (readonly string[])[] = [
  ["call", "t.add", "-a", "[1, 2]"],
  ["status"],
  ["purge", "-f"],
  ["worker", "-P", "solo", "-q"],
  ["beat", "-q", "-S", "memory"],
];

async function refuse(url: string, words: readonly string[], expected: RegExp): Promise<void> {
  const { code, out, err } = await lovage(["-A", TASKS, "-b", url, ...words], { env: { C_FORCE_ROOT: "1" } });
  const lines = err.trim().split("\n").filter((line) => !/WARNING/.test(line));
  assert.equal(lines.length, 1, `${words[0]}: ${err}`);
  assert.match(lines[0]!, expected);
  assert.deepEqual([out, code], ["", 69], words[0]);
}

Deno.test("a damaged database of the embedded broker is one line, and status 69", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/broker.db`;
  assert.equal(
    (await lovage(["-A", TASKS, "-b", `sqlite://${path}`, "call", "t.add", "-a", "[1, 2]"])).code,
    0,
  );
  const bytes = await Deno.readFile(path);
  for (let n = 4096; n < bytes.length; n++) bytes[n] = (n * 7919) & 0xff;
  await Deno.writeFile(path, bytes);
  const says =
    /Cannot open (database|the result store) ".*broker\.db": database disk image is malformed; move it and the files beside it away, or name another$/;
  for (const words of COMMANDS) await refuse(`sqlite://${path}`, words, says);
  await Deno.writeTextFile(`${folder.path}/text.db`, "this is no database at all. ".repeat(400));
  const none = /file is not a database; move it and the files beside it away, or name another$/;
  for (const words of [...COMMANDS, ["result", "x", "--timeout", "0"]]) {
    await refuse(`sqlite://${folder.path}/text.db`, words, none);
  }
});

/** Runs `mount` or `umount`; false where it is refused. */
async function did(program: string, ...args: string[]): Promise<boolean> {
  return (await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output()).success;
}

/** Whether a small disk of its own can be mounted: root in a machine of its own may. */
async function canMount(): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  await using folder = await disposableFolder();
  return await did("mount", "-t", "tmpfs", "tmpfs", folder.path) && await did("umount", folder.path);
}

const FULL_DISK = "a full disk and one that may only be read are one line, and status 69";
Deno.test(FULL_DISK, { ignore: !await canMount() }, async (t) => {
  await using folder = await disposableFolder();
  const disk = `${folder.path}/disk`;
  await Deno.mkdir(disk);
  assert.ok(await did("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk));
  const path = `${disk}/broker.db`;
  try {
    assert.equal(
      (await lovage(["-A", TASKS, "-b", `sqlite://${path}`, "call", "t.add", "-a", "[1, 2]"])).code,
      0,
    );
    {
      // So that nothing of its log of writes is free to be written over.
      using database = new DatabaseSync(path);
      database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    await t.step("full", async () => {
      await new Deno.Command("dd", {
        args: ["if=/dev/zero", `of=${disk}/fill`, "bs=4k"],
        stderr: "null",
      }).output();
      const says =
        /Cannot (use|open) (database|the result store) ".*": .*(full|I\/O).*; (make room on|look at) its disk$/;
      for (const words of COMMANDS) await refuse(`sqlite://${path}`, words, says);
      await Deno.remove(`${disk}/fill`);
    });
    await t.step("not writable", async () => {
      assert.ok(await did("mount", "-o", "remount,ro", disk));
      const says =
        /(unable to open database file|readonly database); this user must be able to write it and its folder$/;
      for (const words of [...COMMANDS, ["result", "x", "--timeout", "0"]]) {
        await refuse(`sqlite://${path}`, words, says);
      }
      assert.ok(await did("mount", "-o", "remount,rw", disk));
    });
    assert.equal(
      (await lovage(["-A", TASKS, "-b", `sqlite://${path}`, "call", "t.add", "-a", "[1, 2]"])).code,
      0,
    );
  } finally {
    assert.ok(await did("umount", "-l", disk));
  }
});
