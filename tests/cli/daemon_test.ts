/** A worker as a daemon and as a service: --detach, pid file, user, mask, HUP, USR1, and what it tells systemd. */

import assert from "node:assert/strict";
import { processMark } from "../../lib/platform/mod.ts";
import { LOVAGE, lovage, Program, TASKS } from "../support/programs.ts";
import { DaemonFolder } from "../support/daemons.ts";
import { eventually, freePort } from "../support/ports.ts";
import { startRedis } from "../support/servers.ts";
import { runProgram } from "../support/run.ts";

const text = (path: string) => Deno.readTextFileSync(path);
const link = (path: string) => Deno.readLinkSync(path);

function within(folder: string, url: string) {
  const env = { LOVAGE_HOME: `${folder}/home`, NO_COLOR: "1" };
  const words = (
    ...more: string[]
  ) => [
    "-A",
    TASKS,
    "-b",
    url,
    "worker",
    "-P",
    "solo",
    "-l",
    "INFO",
    "-n",
    "w@h",
    `--pidfile=${folder}/%n.pid`,
    `--logfile=${folder}/%n.log`,
    ...more,
  ];
  const start = (...more: string[]) => lovage(words("-D", ...more), { env });
  const pid = () => Number(text(`${folder}/w.pid`));
  const stop = async (signal: Deno.Signal = "SIGTERM") => {
    const id = pid();
    Deno.kill(id, signal);
    await eventually(() => processMark(id) === null, () => `${id} to end: ${text(`${folder}/w.log`)}`);
  };
  return { env, words, start, pid, stop, log: () => text(`${folder}/w.log`) };
}

Deno.test("worker --detach: a session of its own, no stream of ours, ready when the parent returns", async (t) => {
  await using redis = await startRedis();
  await using daemons = await DaemonFolder.make();
  const folder = daemons.path;
  const { start, pid, stop, log } = within(folder, redis.url());

  await t.step("it is ready, and hangs on nothing of the parent's", async () => {
    assert.deepEqual(await start("--umask", "027"), { code: 0, out: "", err: "" });
    const id = pid();
    assert.match(log(), / w@h ready\.\n/);
    assert.doesNotMatch(log(), /banner|\[config\]/);
    const stat = text(`/proc/${id}/stat`).split(") ")[1]!.split(" ");
    assert.equal(Number(stat[3]), id, "leads its session");
    for (const fd of [0, 1, 2]) assert.equal(link(`/proc/${id}/fd/${fd}`), "/dev/null");
    assert.equal(Deno.statSync(`${folder}/w.log`).mode! & 0o777, 0o640, "the mask holds for its files");
    assert.equal(text(`${folder}/w.pid`), `${id}\n`);
  });

  await t.step("a second one is refused with 73 and harms nothing", async () => {
    const id = pid();
    const { code, err } = await start();
    assert.equal(code, 73);
    assert.match(err, new RegExp(`already exists\\.\nSeems we're already running\\? \\(pid: ${id}\\)`));
    assert.equal(pid(), id);
  });

  await t.step("USR1 tells in the log what it is doing", async () => {
    Deno.kill(pid(), "SIGUSR1");
    await eventually(() => /w@h: running, consumer running/.test(log()), log);
  });

  await t.step("HUP: the log is opened again, and the worker starts again under the same pid", async () => {
    const id = pid();
    const mark = processMark(id);
    Deno.renameSync(`${folder}/w.log`, `${folder}/w.log.1`);
    Deno.kill(id, "SIGHUP");
    await eventually(() => {
      try {
        return / w@h ready\.\n/.test(log());
      } catch {
        return false;
      }
    }, "ready in the new log");
    assert.equal(pid(), id);
    assert.equal(processMark(id), mark, "the same process");
    assert.doesNotMatch(log(), /Stale pidfile/);
    for (const fd of [0, 1, 2]) assert.equal(link(`/proc/${id}/fd/${fd}`), "/dev/null");
    assert.equal((await start()).code, 73, "and holds its pid file");
    const call = await lovage([
      "-A",
      TASKS,
      "-b",
      redis.url(),
      "--result-backend",
      redis.url(),
      "call",
      "t.add",
      "-a",
      "[1, 2]",
    ]);
    assert.equal(call.code, 0);
    await eventually(() => /Task t\.add\[.*succeeded/.test(log()), log);
  });

  await t.step("TERM after HUP means the end", async () => {
    const id = pid();
    // Both at once: one that has started again when the second comes may not listen yet.
    for (const signal of ["SIGSTOP", "SIGHUP", "SIGTERM", "SIGCONT"] as const) Deno.kill(id, signal);
    await eventually(() => processMark(id) === null, log);
    assert.throws(() => text(`${folder}/w.pid`), Deno.errors.NotFound);
  });

  await t.step("of many that find a dead one's pid file, one wins", async () => {
    await Deno.writeTextFile(`${folder}/w.pid`, "999999\n");
    const starts = await Promise.all([1, 2, 3, 4].map(() => start()));
    assert.deepEqual(starts.map(({ code }) => code).sort(), [0, 73, 73, 73]);
    await stop("SIGINT");
    // `home` is $LOVAGE_HOME, where `status --local` finds nodes.
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name !== "home");
    assert.deepEqual(left.sort(), ["w.log", "w.log.1"]);
  });
});

Deno.test({
  name: "worker --uid --gid: another user and group, or one line that says why not",
  ignore: Deno.uid() !== 0,
  async fn() {
    await using redis = await startRedis();
    await using daemons = await DaemonFolder.make();
    const folder = daemons.path;
    const { start, pid, stop } = within(folder, redis.url());
    const ids = async (...words: string[]) =>
      new TextDecoder().decode((await new Deno.Command("getent", { args: words }).output()).stdout).split(
        ":",
      )[2]!;
    const group = await ids("group", "nogroup");
    assert.deepEqual(await start("--gid", "nogroup"), { code: 0, out: "", err: "" });
    assert.match(text(`/proc/${pid()}/status`), new RegExp(`^Gid:(\t${group}){4}$`, "m"));
    assert.match(text(`/proc/${pid()}/status`), new RegExp(`^Groups:\t${group} $`, "m"));
    assert.equal(Deno.statSync(`${folder}/w.pid`).gid, Number(group));
    await stop();
    await Deno.remove(`${folder}/w.log`);
    // From source the program may lie where only root may read.
    const started = await start("--uid", "nobody");
    if (started.code === 0) {
      const user = await ids("passwd", "nobody");
      assert.match(text(`/proc/${pid()}/status`), new RegExp(`^Uid:(\t${user}){4}$`, "m"));
      assert.equal(Deno.statSync(`${folder}/w.pid`).uid, Number(user));
      await stop();
    } else assert.match(started.err, /^Error: Cannot start ".*" again as user \d+: .*\n$/);
    const wrong = await start("--uid", "no-such-user");
    assert.deepEqual([wrong.code, wrong.err], [64, 'Error: Cannot find user "no-such-user"\n']);
    // The system would take 2^32 for 0, and an empty key for the whole list: root, both.
    for (const uid of ["4294967296", "4294967295", "", "--help"]) {
      const { code, err } = await start("--uid", uid);
      assert.deepEqual([code, err], [64, `Error: Cannot find user "${uid}"\n`]);
    }
    const none = await start("--gid", "4294967296");
    assert.deepEqual([none.code, none.err], [64, 'Error: Cannot find group "4294967296"\n']);
    assert.equal((await start("--umask", "9")).code, 64);
  },
});

Deno.test("worker --detach: a broker that is away is told while it is waited for, and ends with 69", async () => {
  await using daemons = await DaemonFolder.make();
  const folder = daemons.path;
  const { start } = within(folder, `redis://127.0.0.1:${freePort()}/0`);
  const { code, err } = await start("--ready-timeout", "8");
  assert.equal(code, 69);
  const told =
    /^consumer: Cannot connect to redis:.*\n[^]*^Error: Cannot start in the background: it was not ready after 8 s/m;
  assert.match(err, told);
  assert.throws(() => text(`${folder}/w.pid`), Deno.errors.NotFound);
});

Deno.test({
  name: "worker: one that runs as root says so, unless it was told that this is wanted",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    for (const force of ["", "1"]) {
      const env = { C_FORCE_ROOT: force, NO_COLOR: "1" };
      const { code, err } = await lovage(["-b", "memory://", "worker", "-P", "solo", "--burst", "-q"], {
        env,
      });
      assert.equal(code, 0);
      assert.equal(err.includes("run as root: use --uid to change the user"), force === "", err);
    }
  },
});

Deno.test("standard output that takes nothing: a command says so in one line, a worker goes on", async () => {
  const shell = async (words: string[], end: string) => {
    const line = [...LOVAGE, ...words].map((word) => `'${word}'`).join(" ");
    const argv = ["bash", "-c", `set -o pipefail; ${line} ${end}`];
    const { code, err } = await runProgram(argv, { env: { C_FORCE_ROOT: "1" } });
    return { code, err };
  };
  const full = await shell(["--help"], "> /dev/full");
  assert.equal(full.code, 1);
  assert.match(full.err, /^Error: Cannot write to standard output: No space left on device[^\n]*\n$/);
  assert.equal((await shell(["--help"], "| true")).code, 141);
  const worker = ["-b", "memory://", "worker", "-P", "solo", "--burst"];
  assert.deepEqual(await shell(worker, "> /dev/full"), { code: 0, err: "" });
  assert.deepEqual(await shell(worker, "| true"), { code: 0, err: "" });
});

Deno.test("systemd's notifications: ready when it is, alive while it turns, stopping when it stops", async (t) => {
  await using redis = await startRedis();
  await using daemons = await DaemonFolder.make();
  const folder = daemons.path;
  const { env, words } = within(folder, redis.url());
  const path = `${folder}/notify`;
  const socket = Deno.listenDatagram({ transport: "unixpacket", path });
  const heard: string[] = [];
  const listening = (async () => {
    for await (const [bytes] of socket) heard.push(new TextDecoder().decode(bytes));
  })().catch(() => {});
  const since = (from: number, pattern: RegExp) => heard.slice(from).some((message) => pattern.test(message));
  const worker = new Program([...LOVAGE, ...words()], {
    ...Deno.env.toObject(),
    ...env,
    NOTIFY_SOCKET: path,
    WATCHDOG_USEC: "400000",
  });
  try {
    await t.step("READY=1 with a status, once it consumes", async () => {
      await eventually(() => since(0, /^READY=1$/m), () => heard.join("\n--\n"));
      assert.match(heard[0]!, /^EXTEND_TIMEOUT_USEC=\d+\nSTATUS=w@h: connecting to redis:/);
      assert.match(
        heard.find((message) => /READY=1/.test(message))!,
        /^STATUS=w@h: ready, 0 running, 0 processed$/m,
      );
      assert.match(text(`${folder}/w.log`), / w@h ready\./);
    });

    await t.step("WATCHDOG=1 while it turns, and none while it does not", async () => {
      await eventually(() => since(0, /^WATCHDOG=1$/m), () => heard.join("\n--\n"));
      Deno.kill(worker.pid, "SIGSTOP");
      await eventually(() => /^State:\tT/m.test(text(`/proc/${worker.pid}/status`)), "stopped");
      await new Promise((resolve) => setTimeout(resolve, 50));
      const from = heard.length;
      await new Promise((resolve) => setTimeout(resolve, 500));
      assert.equal(heard.length, from);
      Deno.kill(worker.pid, "SIGCONT");
      await eventually(() => since(from, /^WATCHDOG=1$/m), () => heard.join("\n--\n"));
    });

    await t.step("without its broker it lives, and says what it waits for", async () => {
      const from = heard.length;
      await redis.kill();
      await eventually(
        () => since(from, /^STATUS=w@h: connecting to the broker.*\nWATCHDOG=1$/m),
        () => heard.join("\n--\n"),
      );
      const later = heard.length + 3;
      await eventually(
        () => heard.length >= later && heard.slice(later - 2).every((one) => /^WATCHDOG=1$/m.test(one)),
        "life",
      );
      await redis.restart();
      await eventually(() => /^STATUS=w@h: ready.*\nWATCHDOG=1$/m.test(heard.at(-1)!), () => heard.at(-1)!);
    });

    await t.step("RELOADING=1 and READY=1 again around a restart in place", async () => {
      const from = heard.length;
      Deno.kill(worker.pid, "SIGHUP");
      await eventually(() => since(from, /^RELOADING=1\nMONOTONIC_USEC=\d+$/m), () => heard.join("\n--\n"));
      await eventually(() => since(from, /^READY=1$/m), () => heard.join("\n--\n"));
      assert.equal(worker.status, null, "the same process");
    });

    await t.step("STOPPING=1", async () => {
      const from = heard.length;
      assert.equal(await worker.stop(), 0);
      assert.ok(
        since(from, /^STOPPING=1\nSTATUS=w@h: stopping, 0 running$/m),
        heard.slice(from).join("\n--\n"),
      );
    });
  } finally {
    await worker.stop("SIGKILL");
    socket.close();
    await listening;
  }
});
