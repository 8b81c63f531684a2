/**
 * `multi systemd`: the units as text, `systemd-analyze verify` over them, and a fleet under a systemd of the test's own
 * (a user manager in a namespace; needs root, unshare and systemd, and is left out where one cannot run).
 */

import assert from "node:assert/strict";
import { LOVAGE, lovage, TASKS } from "../support/programs.ts";
import { eventually } from "../support/ports.ts";
import { startRedis } from "../support/servers.ts";
import { SystemdUser } from "../support/systemd.ts";
import { filePath } from "../../lib/base/mod.ts";
import { runProgram } from "../support/run.ts";

const hasVerify = await new Deno.Command("systemd-analyze", {
  args: ["--version"],
  stdout: "null",
  stderr: "null",
})
  .output().then(({ success }) => success, () => false);

const list = (folder: string): string[] =>
  [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? list(`${folder}/${name}`).map((file) => `${name}/${file}`) : [name]
  ).sort();

Deno.test("multi systemd: printed, installed, checked by systemd-analyze, and removed to the last file", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "units %n $x -" });
  const env = { LOVAGE_HOME: `${folder}/home`, NO_COLOR: "1" };
  const units = `${folder}/units`;
  const hostile = ["-A", `/x "y" \\z $HOME/tasks.ts`, "-b", "redis://:p%40$w`d@h/0", "--time-limit=600"];
  const run = (...words: string[]) => lovage(["multi", "systemd", ...words], { env });

  await t.step("options that the worker would refuse at every start are refused here", async () => {
    for (
      const [words, reason] of [
        [["--no-such=1"], /^Error: Cannot make a unit for w1@\S+: Unknown option "--no-such=1"/],
        [
          ["--time-limit=soon"],
          /^Error: Cannot make a unit for w1@\S+: Cannot use --time-limit "soon": it must be/,
        ],
        [
          ["-O", "fast"],
          /^Error: Cannot make a unit for w1@\S+: Cannot use --optimization "fast": it must be one of default, fair/,
        ],
      ] as const
    ) {
      const { code, err } = await run("w1", "-A", "tasks.ts", ...words, "--install", units);
      assert.equal(code, 64, words.join());
      assert.match(err, reason);
    }
    assert.deepEqual([...Deno.readDirSync(folder)], []);
    const { code, out, err } = await run(
      "w1",
      "-A",
      "tasks.ts",
      "-B",
      "-s",
      "s",
      "-E",
      "-q",
      "-C",
      "-S",
      "db",
    );
    assert.equal(code, 0, err);
    assert.match(out, /--beat --schedule=s --task-events/);
  });

  await t.step(
    "a masked unit, or anything else that is not a file, is refused before anything is written",
    async () => {
      Deno.mkdirSync(`${folder}/masked`);
      Deno.symlinkSync("/dev/null", `${folder}/masked/lovage@.service`);
      const { code, err } = await run("w1", "-A", "tasks.ts", "--install", `${folder}/masked`);
      assert.equal(code, 64);
      assert.match(err, /Cannot write ".*lovage@\.service": it is a device/);
      assert.deepEqual([...Deno.readDirSync(`${folder}/masked`)].map(({ name }) => name), [
        "lovage@.service",
      ]);
      Deno.removeSync(`${folder}/masked`, { recursive: true });
    },
  );

  await t.step("printed: nothing is written", async () => {
    const { code, out } = await run("w1", "w2", ...hostile);
    assert.equal(code, 0);
    assert.match(out, /^# \/etc\/systemd\/system\/lovage@\.service$/m);
    assert.match(out, /^TimeoutStopSec=630$/m);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });

  await t.step("installed for the system and for a user; systemd-analyze finds nothing to say", async () => {
    for (const who of ["--system", "--user"]) {
      const { code, out, err } = await run("w1", "w2", "w+3", ...hostile, who, "--install", units);
      assert.equal(code, 0, err);
      assert.match(out, /Then: systemctl( --user)? daemon-reload/);
      assert.deepEqual(list(units), [
        "lovage-beat.service",
        "lovage.target",
        "lovage/beat.env",
        "lovage/installed.json",
        "lovage/node-w1.env",
        "lovage/node-w2.env",
        "lovage/node-w\\x2b3.env",
        "lovage@.service",
      ]);
      assert.equal(Deno.statSync(`${units}/lovage/node-w1.env`).mode! & 0o777, 0o600);
      if (!hasVerify) continue;
      const paths = ["lovage@w1.service", "lovage-beat.service", "lovage.target"].map((name) =>
        `${units}/${name}`
      );
      const verify = ["systemd-analyze", "verify", ...who === "--user" ? ["--user"] : [], ...paths];
      assert.deepEqual(await runProgram(verify, { env: { HOME: folder, XDG_RUNTIME_DIR: folder } }), {
        code: 0,
        out: "",
        err: "",
      });
    }
  });

  await t.step(
    "another fleet takes the place of the first; a file changed by hand is never lost",
    async () => {
      assert.equal((await run("w2", ...hostile, "--install", units)).code, 0);
      assert.ok(!list(units).includes("lovage/node-w1.env"));
      await Deno.writeTextFile(`${units}/lovage.target`, "[Unit]\nDescription=mine\n");
      const again = await run("w2", ...hostile, "--install", units);
      assert.deepEqual([again.code, again.err.split("\n").length], [64, 2]);
      assert.match(again.err, /lovage\.target": it was changed since it was installed/);
      await Deno.writeTextFile(`${units}/other.service`, "[Unit]\n");
      const removed = await run("--uninstall", units);
      assert.equal(removed.code, 1);
      assert.match(removed.err, /^kept .*lovage\.target: it was changed/);
      assert.deepEqual(list(units), ["lovage.target", "lovage/installed.json", "other.service"]);
      await Deno.remove(`${units}/lovage.target`);
      assert.equal((await run("--uninstall", units)).code, 0);
      assert.deepEqual(list(units), ["other.service"]);
      assert.equal((await run("--uninstall", units)).code, 64, "nothing of ours is left to remove");
    },
  );

  await t.step(
    "a foreign unit of that name is never written over, a forged list removes nothing else",
    async () => {
      await Deno.writeTextFile(`${units}/lovage.target`, "[Unit]\nDescription=foreign\n");
      assert.equal((await run("w1", ...hostile, "--install", units)).code, 64);
      assert.deepEqual(list(units), ["lovage.target", "other.service"]);
      await Deno.mkdir(`${units}/lovage`);
      await Deno.writeTextFile(`${folder}/precious`, "");
      const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
      await Deno.writeTextFile(`${units}/lovage/installed.json`, JSON.stringify({ "../precious": empty }));
      await run("--uninstall", units);
      assert.ok(Deno.statSync(`${folder}/precious`).isFile);
    },
  );

  await t.step("what cannot stand in a unit is refused in one line", async () => {
    for (
      const words of [["w1", "-A", "a\nExecStartPre=/bin/evil"], ["w1", "--uid=a b"], ["w1", "--cmd=x"], [], [
        "w1",
        "w2",
        "--uid:w1=a",
        "--uid:w2=b",
      ]]
    ) {
      const { code, out, err } = await run(...words);
      assert.deepEqual([code, out, err.split("\n").length], [64, "", 2], `${words}: ${err}`);
    }
  });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a fleet under systemd: started, watched, reloaded, repaired, stopped", async (t) => {
  const { DENO_DIR, HOME } = Deno.env.toObject();
  const env = { NO_COLOR: "1", DENO_DIR: DENO_DIR ?? `${HOME}/.cache/deno`, LOVAGE_CACHE: `${HOME}/.cache` };
  await using systemd = await SystemdUser.start(env);
  if (systemd === null) {
    console.log("left out: no systemd can run here");
    return;
  }
  await using redis = await startRedis();
  const sh = async (line: string) => {
    const { code, out } = await systemd.sh(line);
    return { code, out: out.trim() };
  };
  const program = LOVAGE.map((word) => `'${word}'`).join(" ");
  const words =
    `w1 w2 -A '${TASKS}' -b ${redis.url()} --result-backend=${redis.url()} -c 1 -l INFO --logfile=${systemd.home}/%n.log --statedb='/tmp/a "b" \\c $HOME'`;
  const show = async (name: string) => {
    const { out } = await sh(`systemctl --user show -p ActiveState,MainPID,StatusText,NRestarts ${name}`);
    return Object.fromEntries(out.split("\n").map((line) => line.split(/=(.*)/s).slice(0, 2))) as Record<
      string,
      string
    >;
  };
  const until = (what: string, look: () => Promise<boolean>) => eventually(look, what, { everyMs: 100 });

  await t.step("start: active once ready, with a status", async () => {
    const installed = await sh(`${program} multi systemd ${words} --user --install`);
    assert.equal(installed.code, 0, installed.out);
    // A shorter watchdog, for this test alone.
    await sh("mkdir -p $XDG_CONFIG_HOME/systemd/user/lovage@w2.service.d");
    await sh(
      "printf '[Service]\\nWatchdogSec=3\\n' > $XDG_CONFIG_HOME/systemd/user/lovage@w2.service.d/test.conf",
    );
    const started = await sh(
      "systemctl --user daemon-reload && systemctl --user start lovage.target lovage-beat",
    );
    assert.equal(started.code, 0, started.out);
    await until(
      "both active",
      async () => (await sh("systemctl --user is-active lovage@w1 lovage@w2")).code === 0,
    );
    assert.match((await show("lovage@w1")).StatusText!, /^w1@\S+: ready, 0 running, 0 processed$/);
    assert.equal((await show("lovage-beat")).ActiveState, "active");
    const { out: line } = await sh(`tr '\\0' '\\n' < /proc/${(await show("lovage@w1")).MainPID}/cmdline`);
    assert.ok(line.split("\n").includes('--statedb=/tmp/a "b" \\c $HOME'), line);
  });

  await t.step("reload: the same process, ready again, no restart counted", async () => {
    const before = await show("lovage@w1");
    assert.equal((await sh("systemctl --user reload lovage@w1")).code, 0);
    const isReadyAgain = () =>
      Deno.readTextFileSync(`${systemd.home}/w1.log`).match(/ ready\.$/gm)?.length === 2;
    await until("ready again", () => Promise.resolve(isReadyAgain()));
    await until("active", async () => /ready/.test((await show("lovage@w1")).StatusText!));
    const after = await show("lovage@w1");
    assert.deepEqual([after.MainPID, after.NRestarts], [before.MainPID, "0"]);
  });

  await t.step("killed: started again", async () => {
    const before = await show("lovage@w1");
    await sh(`kill -9 ${before.MainPID}`);
    await until("a new process", async () => {
      const now = await show("lovage@w1");
      return now.ActiveState === "active" && now.NRestarts === "1" && now.MainPID !== before.MainPID;
    });
  });

  await t.step("a loop that stands still is noticed by the watchdog", async () => {
    const before = await show("lovage@w2");
    assert.equal(before.NRestarts, "0", "it was fed until now");
    await sh(`kill -STOP ${before.MainPID}`);
    await until("a new process", async () => {
      const now = await show("lovage@w2");
      return now.ActiveState === "active" && now.NRestarts === "1";
    });
  });

  await t.step("a module that throws: failed, with its status, and not ready", async () => {
    await sh("echo 'throw new Error(\"boom\")' > $HOME/throws.ts");
    await sh(
      "sed -i 's#--app=[^ ]*#--app='$HOME/throws.ts'#' $XDG_CONFIG_HOME/systemd/user/lovage/node-w2.env",
    );
    assert.notEqual((await sh("systemctl --user restart lovage@w2")).code, 0);
    assert.notEqual((await show("lovage@w2")).ActiveState, "active");
  });

  await t.step("stop: warm, and nothing is left", async () => {
    assert.equal((await sh("systemctl --user stop lovage.target lovage@w1 lovage-beat")).code, 0);
    await until("inactive", async () => (await show("lovage@w1")).ActiveState === "inactive");
    assert.equal((await show("lovage-beat")).ActiveState, "inactive");
  });

  await t.step("the system's unit with its hardening lets a worker and its tasks work", async () => {
    const folder = "$XDG_CONFIG_HOME/systemd/user";
    const hard = await sh(`${program} multi systemd w1 ${words.slice(6)} --system --install ${folder}`);
    assert.equal(hard.code, 0, hard.out);
    // A namespace in a container may not hide what these hide; the system's own manager may. %h is the test's home here.
    await sh(
      `sed -i '/^ProtectKernelLogs\\|^ProtectKernelTunables\\|^Environment=HOME/d' ${folder}/lovage@.service`,
    );
    // The checkout may lie below /tmp, which PrivateTmp hides.
    const checkout = filePath(new URL("../..", import.meta.url)).replace(/\/$/, "");
    await sh(`sed -i 's#^PrivateTmp=.*#&\\nBindReadOnlyPaths=${checkout}#' ${folder}/lovage@.service`);
    assert.equal((await sh("systemctl --user daemon-reload && systemctl --user start lovage@w1")).code, 0);
    const { MainPID } = await show("lovage@w1");
    const { out: status } = await sh(`cat /proc/${MainPID}/status /proc/${MainPID}/mounts`);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, / \/usr \S+ ro,/);
    const call = await lovage(["-A", TASKS, "call", "t.add", "-a", "[2, 3]", "--wait", "--timeout", "60"], {
      broker: redis.url(),
      backend: redis.url(),
      env: { CELERY_BROKER_URL: redis.url(), CELERY_RESULT_BACKEND: redis.url() },
    });
    assert.deepEqual([call.code, call.out], [0, "5\n"], call.err);
    assert.equal((await sh("systemctl --user stop lovage@w1")).code, 0);
  });
});
