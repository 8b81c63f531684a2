/** Pid files: made whole, taken over from the dead alone, removed only by their own. */

import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import {
  acquirePidfile,
  isOurs,
  isOwnerAlive,
  isWorkerCommand,
  readPidfile,
  removeStalePidfile,
} from "../../../lib/platform/mod.ts";
import { disposableFolder } from "../../support/temporary.ts";

/** A process whose command line can be read: between its start and its own words there is none. */
async function started(program: string, args: readonly string[]): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(program, { args: [...args] }).spawn();
  const isReady = () => Deno.readTextFileSync(`/proc/${child.pid}/cmdline`).endsWith(`\0${args.at(-1)}\0`);
  while (!isReady()) await new Promise((resolve) => setTimeout(resolve));
  return child;
}

async function inFolder(body: (path: string) => void | Promise<void>): Promise<void> {
  await using place = await disposableFolder();
  const folder = place.path;
  await body(`${folder}/w.pid`);
  assert.deepEqual(
    [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name !== "w.pid"),
    [],
  );
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
    const other = await started("sleep", ["300"]);
    try {
      Deno.writeTextFileSync(path, `${other.pid}\n`);
      assert.throws(() => acquirePidfile(path), (error) => {
        assert.ok(error instanceof UsageError);
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

Deno.test("acquirePidfile: a dead one's file, and one that a crash left empty, are taken over and told; ours quietly", () =>
  inFolder((path) => {
    for (const text of ["999999\n", "999999", "", " \n", "\0\0\0\0", "-1\n", "0\n"]) {
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

for (
  const [what, make] of [
    ["a module", (path: string) => Deno.writeTextFileSync(path, "export const x = 1;\n")],
    ["two numbers", (path: string) => Deno.writeTextFileSync(path, "1 2\n")],
    ["a long number", (path: string) => Deno.writeTextFileSync(path, "9".repeat(100))],
    ["a folder", (path: string) => Deno.mkdirSync(path)],
    ["a named pipe", (path: string) => void new Deno.Command("mkfifo", { args: [path] }).outputSync()],
    ["a device", (path: string) => Deno.symlinkSync("/dev/zero", path)],
    ["a link to nothing", (path: string) => Deno.symlinkSync("/no/such/file", path)],
  ] as const
) {
  Deno.test(`acquirePidfile: ${what} is refused with 73, says no pid, and stays as it is`, () =>
    inFolder((path) => {
      make(path);
      const { ino } = Deno.lstatSync(path);
      assert.throws(() => acquirePidfile(path), (error) => {
        assert.ok(error instanceof UsageError);
        assert.equal(error.exitCode, 73);
        assert.match(
          error.message,
          /^Cannot create pidfile ".*": (it is a|the file there is not a pid file)/,
        );
        return true;
      });
      assert.equal(readPidfile(path), null);
      assert.equal(removeStalePidfile(path), false);
      assert.equal(Deno.lstatSync(path).ino, ino);
    }));
}

Deno.test("acquirePidfile: /dev/null means none", () => {
  const before = Deno.statSync("/dev/null");
  acquirePidfile("/dev/null").release();
  assert.ok(Deno.statSync("/dev/null").isCharDevice);
  assert.equal(Deno.statSync("/dev/null").ino, before.ino);
});

Deno.test("isOurs: a process is not a worker because a pid file names it", () =>
  inFolder(async (path) => {
    // The same words in the place of another program's name.
    const programs = [["sleep", "300"], ["sh", "-c", "sleep 300; exit", "lovage", "worker"]];
    for (const [program, ...args] of programs) {
      const child = await started(program!, args);
      try {
        Deno.writeTextFileSync(path, `${child.pid}\n`);
        assert.equal(isOurs(child.pid, path), program === "sh");
        assert.equal(isOurs(child.pid, path, `/usr/bin/${program}`), true);
        // Written before the process began: of one that has ended since.
        const before = new Date(Date.now() - 3_600_000);
        Deno.utimeSync(path, before, before);
        assert.equal(isOurs(child.pid, path, program), false);
      } finally {
        child.kill("SIGKILL");
        await child.status;
      }
    }
  }));

Deno.test({
  name: "isOurs: what another user has written says nothing of our processes",
  ignore: Deno.uid() !== 0,
  fn: () =>
    inFolder(async (path) => {
      const child = await started("sh", ["-c", "sleep 300; exit", "lovage", "worker"]);
      try {
        Deno.writeTextFileSync(path, `${child.pid}\n`);
        assert.equal(isOurs(child.pid, path), true);
        Deno.chownSync(path, 65534, 65534);
        assert.equal(isOurs(child.pid, path), false);
      } finally {
        child.kill("SIGKILL");
        await child.status;
      }
    }),
});

Deno.test("isWorkerCommand: this program in every form, Celery's, and nobody else's", () => {
  const ours = [
    "/usr/local/bin/lovage -A tasks.ts worker -n w1@h",
    "/home/u/.cache/x/deno run -A --quiet /home/u/.cache/x/main.js beat",
    "deno run -A /srv/app/main.ts -A tasks.ts worker",
    "/usr/bin/python3 -m celery -A proj worker --detach",
    "/usr/bin/python3 /usr/bin/celery -A proj beat",
    "[celeryd:\u00a0w1@h:MainProcess]\u00a0-active-\u00a0(worker)",
    "celery\u00a0beat",
  ];
  const others = [
    "sleep 100",
    "/usr/sbin/sshd -D",
    "nginx:\u00a0worker\u00a0process",
    "node /srv/app.js worker",
    "tail -f /var/log/lovage.log",
    "vim celery.py",
    "",
  ];
  const words = (line: string) =>
    line.split(" ").filter(Boolean).map((word) => word.replaceAll("\u00a0", " "));
  for (const line of ours) assert.equal(isWorkerCommand(words(line)), true, line);
  for (const line of others) assert.equal(isWorkerCommand(words(line)), false, line);
  assert.equal(isWorkerCommand(words("/opt/run-worker --x"), "/opt/run-worker"), true);
});
