/** `lovage multi` from outside: its words compared with Python's, and fleets of real processes on a real broker. */

import assert from "node:assert/strict";
import { Cluster } from "../../lib/multi/mod.ts";
import { processMark } from "../../lib/platform/mod.ts";
import { lovage, TASKS } from "../support/programs.ts";
import { DaemonFolder } from "../support/daemons.ts";
import { eventually, freePort } from "../support/ports.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { askPython, startRedis } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";
import { mustRun } from "../support/run.ts";

/** Celery's MultiTool over many command lines, one process for all: what it printed, per line. */
const PYTHON = `
import io, json, sys
from celery.bin.multi import MultiTool
answers = []
for words in json.load(sys.stdin):
    out = io.StringIO()
    try:
        MultiTool(stdout=out, stderr=io.StringIO(), nosplash=True, no_color=True).execute_from_commandline(["multi", *words])
        answers.append(out.getvalue())
    except Exception as exc:
        answers.append("raised " + type(exc).__name__)
json.dump(answers, sys.stdout)
`;

const python = (lines: readonly string[][]): Promise<string[]> => askPython(["-c", PYTHON], lines);

/** What we make of the same words, in Celery's way of printing it. */
function ours([name, ...words]: readonly string[]): string {
  const first = name === "expand" || name === "get" ? words.shift()! : "";
  const { nodes } = Cluster.parse(words, { world: realTestWorld() });
  switch (name) {
    case "names":
      return nodes.map((node) => node.name).join("\n");
    case "show":
      return nodes.map((node) => node.argv().join(" ")).join("\n");
    case "get":
      return nodes.find((node) => node.name === first)?.argv().join(" ") ?? "";
    default:
      return nodes.map((node) => node.expand(first)).join("\n");
  }
}

/** A line as a set of words: the order of options is not promised. What only Python's line can have is taken out. */
function sorted(text: string): string[][] {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.map((line) => {
    const words = line.split(/\s+/).filter((word) => !word.startsWith("--executable="));
    if (words[0]?.endsWith("python3")) words.shift();
    if (words[0] === "-m" && words[1] === "celery") words.splice(0, 2);
    else if (words[0] === "celery") words.shift();
    return words.sort();
  });
}

const FILES = ["--pidfile=/tmp/%n.pid", "--logfile=/tmp/%n%I.log"];
/** The examples of Celery's own documentation, and the corners of its grammar. */
const DOCUMENTED = `
show Leslie -E
show 3 -c 3
show 3 --range-prefix=worker -c 3
show image video data -c 3
show 2 --hostname=worker.example.com -c 3
show foo@worker.example.com bar@worker.example.com -c 3
show foo@%h bar@%h
show foo@%n bar@x.%d
show 10 -l INFO -Q:1-3 images,video -Q:4,5 data -Q default -L:4,5 DEBUG
show 3 -c 3 -c:1 10
show image video data -c 3 -c:image 10
show 5 -c 3 -c:1-3 10
show 5 -c 3 -c:1,2,3 10
show foo bar baz xuzzy -c 3 -c:foo,bar,baz 10
show foo bar -c 3 -c:1,2 9 -l:2 DEBUG
show 2 -A tasks -b redis://h/0 -C --workdir=/srv --config=conf
show 2 -A tasks -- -l DEBUG worker.prefetch_multiplier=8
show 2 --append=--purge --prefix=pre -c:celery2@h 4 --suffix=h
show foo --cmd=celery\\ worker\\ --detach -E
show w1@h w2 -c:w1 4 -c:w2@h 3 --hostname=h
names foo bar --suffix=""
names 0
names 3 foo
get celery1@h 2 --hostname=h -A tasks -c 1
expand /x/%n-%h-%d-%N-%i%I.log foo@a.b 2
`.trim().split("\n").map((line) => line.split(/(?<!\\) /).map((word) => word.replaceAll("\\ ", " ")));

Deno.test("multi: names, show, get and expand as Celery has them, documented and by chance", async () => {
  const random = (() => {
    let state = 20_250_101;
    return (below: number) => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) % 65_536 % below;
  })();
  const pick = <T>(from: readonly T[]): T => from[random(from.length)]!;
  const scope = ["", "", "", ":1", ":2", ":1-2", ":1,2", ":w1", ":w1,image", ":image"];
  const byChance = Array.from({ length: 300 }, () => {
    const words = pick([["3"], ["2"], ["w1", "w2"], ["image", "w1", "w3"], ["w1@a.b", "image"], ["12"]])
      .slice();
    for (let n = random(6); n > 0; n--) {
      const where = pick(scope);
      words.push(...pick([
        [`-c${where}`, String(random(9))],
        [`--concurrency${where}=${random(9)}`],
        [`-Q${where}`, "a,b"],
        [`-E${where}`],
        [`--purge${where}`],
        [`-l${where}`, "DEBUG"],
        ["--hostname=h.example"],
        ["--range-prefix=r"],
        ["--prefix=p"],
        ["-A", "tasks"],
        [`--logfile${where}=%d/%n-%h%I.log`],
        ["--suffix=s"],
      ]));
    }
    return [pick(["show", "show", "names"]), ...words];
  });
  const lines = [...DOCUMENTED, ...byChance].map((line) =>
    line[0] === "show" || line[0] === "get" ? [...line, ...FILES] : line
  )
    .map((line) =>
      line.includes("--")
        ? [...line.slice(0, line.indexOf("--")), ...FILES, "--", ...line.slice(line.indexOf("--") + 1, -2)]
        : line
    );
  const theirs = await python(lines);
  let refused = 0;
  for (const [n, line] of lines.entries()) {
    let mine: string;
    try {
      mine = ours(line);
    } catch {
      // Where Celery prints its usage instead of an answer we refuse in one line.
      assert.match(theirs[n]!, /^usage:|^raised/, line.join(" "));
      refused++;
      continue;
    }
    assert.deepEqual(sorted(mine), sorted(theirs[n]!), line.join(" "));
  }
  assert.ok(refused < lines.length / 4, `${refused} of ${lines.length} refused`);
});

Deno.test("multi: names, get and expand print JSON as well", async () => {
  const env = { LOVAGE_HOME: await Deno.makeTempDir() };
  const json = async (...words: string[]) =>
    JSON.parse((await lovage(["multi", ...words, "--json"], { env })).out);
  assert.deepEqual(await json("names", "2", "--hostname=h"), ["celery1@h", "celery2@h"]);
  assert.deepEqual(await json("expand", "%n.pid", "2", "--hostname=h"), ["celery1.pid", "celery2.pid"]);
  const files = ["--pidfile=/tmp/%n.pid", "--logfile=/tmp/%n.log"];
  const argv = await json("get", "celery1@h", "2", "--hostname=h", "-A", "a b", ...files);
  assert.deepEqual(argv, [
    "-A",
    "a b",
    "worker",
    "--detach",
    "--pidfile=/tmp/celery1.pid",
    "--logfile=/tmp/celery1.log",
    "-n",
    "celery1@h",
  ]);
  await Deno.remove(env.LOVAGE_HOME, { recursive: true });
});

Deno.test("multi: mistakes are told, with a status", async () => {
  const folder = await Deno.makeTempDir();
  const env = { LOVAGE_HOME: folder };
  const bogus = await lovage(["multi", "strat", "2"], { env });
  assert.deepEqual([bogus.code, bogus.err], [64, 'Invalid command: strat: did you mean "start"?\n']);
  assert.match(bogus.out, /^lovage multi v\d[^]*usage: lovage multi start/);
  assert.equal((await lovage(["multi"], { env })).code, 64);
  const help = await lovage(["multi", "help"], { env });
  assert.deepEqual([help.code, /-c:1-3 10/.test(help.out)], [0, true]);
  assert.equal((await lovage(["multi", "--help"], { env })).code, 0);
  const nobody = await lovage(["multi", "get", "nope", "2"], { env });
  assert.deepEqual(
    [nobody.code, nobody.out, nobody.err],
    [1, "", 'Error: No node "nope": multi names lists them\n'],
  );
  const bare = ["--uid app", "--app:1 tasks", "--schedule-filename x", "--suffix x"];
  for (const words of bare) {
    const text = `Missing value: in multi, write ${words.replace(/(:1)? .*/, "")}=VALUE\n`;
    const units = await lovage(["multi", "systemd", "3", ...words.split(" ")], { env });
    assert.deepEqual([units.code, units.out, units.err], [64, "", `Error: ${text}`]);
    // Celery's grammar: the value is a node.
    const names = await lovage(["multi", "names", "3", ...words.split(" ")], { env });
    assert.deepEqual([names.code, names.err], [0, `Warning: ${text}`]);
    assert.match(names.out, new RegExp(`^(?:.*\n)*.*${words.split(" ")[1]}`));
  }
  const hostile = [
    "../x",
    "a\nb",
    "a b",
    "a%i",
    "a%%",
    "a/b",
    ".hidden",
    "a..b",
    "$(id)",
    "a'b",
    "x@../y",
    "@h",
    "é\u202e",
  ];
  for (const name of hostile) {
    assert.throws(
      () => Cluster.parse([name], { world: realTestWorld() }),
      /Cannot use .* as a node name/,
      name,
    );
  }
  for (const name of hostile.slice(0, 2)) {
    for (const command of ["start", "stop", "systemd"]) {
      const { code, err, out } = await lovage(["multi", command, "--nosplash", name, "-A", TASKS], { env });
      assert.deepEqual([code, err.trim().split("\n").length, out], [64, 1, ""], `${command} ${name}: ${err}`);
    }
  }
  assert.deepEqual([...Deno.readDirSync(folder)], [], "nothing was made");
  await Deno.remove(folder, { recursive: true });
});

/** A folder of a fleet's own, with words for its files. */
function place(folder: string, url: string) {
  const files = [`--pidfile=${folder}/run/%n.pid`, `--logfile=${folder}/log/%n.log`];
  const run = (...words: string[]) =>
    lovage(["multi", ...words], { broker: url, env: { LOVAGE_HOME: `${folder}/home`, NO_COLOR: "1" } });
  const pid = (name: string) => Number(Deno.readTextFileSync(`${folder}/run/${name}.pid`));
  const left = () => [...Deno.readDirSync(`${folder}/run`)].map((entry) => entry.name);
  return { files, run, pid, left, app: ["-A", TASKS, "-b", url, "-P", "solo", "-l", "INFO"] };
}

Deno.test("multi: a fleet is started, repaired, changed and stopped", async (t) => {
  await using redis = await startRedis();
  await using daemons = await DaemonFolder.make();
  const folder = daemons.path;
  const { files, run, pid, left, app } = place(folder, redis.url());

  await t.step("start returns when all are ready", async () => {
    const { code, out, err } = await run("start", "4", ...app, ...files, "-Q:3", "other");
    assert.equal(code, 0, err);
    assert.match(out, /^lovage multi v.*\n> Starting nodes\.\.\.\n(\t> celery\d@\S+: OK\n){4}$/);
    for (const n of [1, 2, 3, 4]) {
      assert.match(Deno.readTextFileSync(`${folder}/log/celery${n}.log`), / ready\./);
    }
  });

  await t.step("a node that runs is not started twice, nor harmed", async () => {
    const before = pid("celery1");
    const { code, out, err } = await run("start", "1", ...app, ...files);
    assert.equal(code, 1);
    assert.match(out, /FAILED\n$/);
    assert.match(err, new RegExp(`already exists\\.\nSeems we're already running\\? \\(pid: ${before}\\)`));
    assert.equal(pid("celery1"), before);
    assert.notEqual(processMark(before), null);
  });

  await t.step("one killed with -9 comes back with what it was started with, no options given", async () => {
    const before = pid("celery3");
    Deno.kill(before, "SIGKILL");
    const { code, out, err } = await run("restart", "celery3");
    assert.equal(code, 0, err);
    assert.match(
      out,
      /Could not signal celery3@\S+ \(\d+\): No such process\n> Restarting node celery3@\S+: OK\n$/,
    );
    assert.notEqual(pid("celery3"), before);
    const command = Deno.readTextFileSync(`/proc/${pid("celery3")}/cmdline`).split("\0");
    assert.equal(command[command.indexOf("-Q") + 1], "other");
  });

  await t.step("options given now win, and are remembered in turn", async () => {
    assert.equal((await run("restart", "celery3", "--queues=third")).code, 0);
    assert.equal((await run("restart", "celery3", "-QUIT")).code, 0);
    const command = Deno.readTextFileSync(`/proc/${pid("celery3")}/cmdline`);
    assert.match(command, /--queues=third/);
    assert.doesNotMatch(command, /\0other\0|QUIT/);
  });

  await t.step("stop does not wait, tells the signal, and speaks JSON", async () => {
    const before = pid("celery4");
    const { code, out } = await run("stop", "celery4", "celery9", "-QUIT", "--json");
    assert.equal(code, 0);
    const [four, nine] = JSON.parse(out);
    assert.deepEqual([four.status, four.pid, nine.status, nine.pid], ["signalled", before, "down", null]);
    await eventually(() => processMark(before) === null, "celery4 to end");
  });

  await t.step("kill kills, and clears away", async () => {
    const before = pid("celery1");
    const { code, out } = await run("kill", "celery1");
    assert.equal(code, 0);
    assert.match(out, new RegExp(`\nSending KILL to node celery1@\\S+ \\(${before}\\)\n`));
    assert.equal(processMark(before), null);
    assert.ok(!left().includes("celery1.pid"));
  });

  await t.step("stopwait waits for the rest; nothing is left", async () => {
    const pids = [pid("celery2"), pid("celery3")];
    const { code, out } = await run("stopwait", "4");
    assert.equal(code, 0);
    assert.match(
      out,
      /> celery1@\S+: DOWN\n> celery4@\S+: DOWN\n> Stopping nodes\.\.\.\n\t> celery2@\S+: TERM -> \d+\n/,
    );
    assert.match(out, /> Waiting for 2 nodes -> \d+, \d+\.\.\.\./);
    assert.deepEqual(pids.map(processMark), [null, null]);
    assert.deepEqual(left(), []);
    assert.match((await run("stop", "4")).out, /(> celery\d@\S+: DOWN\n){4}$/);
  });

  await t.step("show and start speak JSON", async () => {
    const shown = JSON.parse((await run("show", "w1", ...app, ...files, "--json")).out);
    assert.deepEqual([shown.length, shown[0].pidfile], [1, `${folder}/run/w1.pid`]);
    assert.ok(shown[0].command.includes("--detach"));
    const started = JSON.parse((await run("start", "w1", ...app, ...files, "--json")).out);
    assert.deepEqual([started[0].status, started[0].pid], ["ok", pid("w1")]);
    assert.equal(JSON.parse((await run("stopwait", "w1", "--json")).out)[0].status, "stopped");
    assert.match(JSON.parse((await run("names", "w1", "--json")).out)[0], /^w1@/);
  });
});

Deno.test("multi: a start that fails says why, ends with 1 and leaves nothing", async (t) => {
  await using redis = await startRedis();
  await using daemons = await DaemonFolder.make();
  const folder = daemons.path;
  const { files, run, left, app } = place(folder, redis.url());
  await Deno.writeTextFile(`${folder}/throws.ts`, 'throw new RangeError("my own mistake");\n');
  const away = `redis://127.0.0.1:${freePort()}/0`;
  const cases: [string, string[], RegExp][] = [
    ["its module throws", ["-A", `${folder}/throws.ts`], /RangeError: my own mistake[\s\S]*throws\.ts:1/],
    [
      "an option is wrong",
      [...app, "--concurency=2"],
      /Unknown option "--concurency=2": did you mean "--concurrency"/,
    ],
    [
      "the broker is away",
      [...app, "-b", away, "--ready-timeout=6"],
      /not ready after 6 s[\s\S]*connection refused/,
    ],
    ["its log cannot be written", [...app, "--logfile=/proc/none/%n.log"], /\/proc\/none/],
  ];
  for (const [name, words, pattern] of cases) {
    await t.step(name, async () => {
      const { code, out, err } = await run("start", "w1", "w2", ...files, ...words);
      assert.equal(code, 1);
      assert.equal(out.match(/FAILED/g)?.length, 2, out);
      assert.match(err, pattern);
      assert.doesNotMatch(err, /lib\/(cli|platform|multi)\//);
    });
  }
  assert.deepEqual(left(), []);
});

Deno.test("multi: a pid file whose process is another's now is no licence to kill", async () => {
  await using redis = await startRedis();
  await using daemons = await DaemonFolder.make();
  const folder = daemons.path;
  const { files, run, pid, app } = place(folder, redis.url());
  await Deno.mkdir(`${folder}/run`);
  const stranger = new Deno.Command("sleep", { args: ["60"] }).spawn();
  const path = `${folder}/run/w1.pid`;
  await Deno.writeTextFile(path, `${stranger.pid}\n`);
  // As after a reboot: the file is older than the process that has its number now.
  await Deno.utime(path, new Date(Date.now() - 3_600_000), new Date(Date.now() - 3_600_000));
  assert.match((await run("stop", "w1", ...files)).out, /Could not signal w1@\S+ \(\d+\): No such process/);
  await Deno.writeTextFile(path, `${stranger.pid}\n`);
  await Deno.utime(path, new Date(Date.now() - 3_600_000), new Date(Date.now() - 3_600_000));
  await run("kill", "w1", ...files);
  assert.notEqual(processMark(stranger.pid), null, "the stranger lives");
  await Deno.writeTextFile(path, `${stranger.pid}\n`);
  await Deno.utime(path, new Date(Date.now() - 3_600_000), new Date(Date.now() - 3_600_000));
  assert.equal((await run("start", "w1", ...app, ...files)).code, 0, "a stale file is taken over");
  assert.notEqual(pid("w1"), stranger.pid);
  assert.equal((await run("stopwait", "w1")).code, 0);
  stranger.kill("SIGKILL");
  await stranger.status;
});

Deno.test("Cluster: a script starts and stops a fleet through the library's door", async () => {
  await using redis = await startRedis();
  await using daemons = await DaemonFolder.make();
  const folder = daemons.path;
  const { left } = place(folder, redis.url());
  await Deno.writeTextFile(
    `${folder}/script.ts`,
    `import { Cluster } from "lovage";
const cluster = Cluster.of(["w1", "w2"], {
  app: ${JSON.stringify(TASKS)}, broker: ${JSON.stringify(redis.url())}, pool: "solo",
  pidfile: ${JSON.stringify(`${folder}/run/%n.pid`)}, logfile: ${JSON.stringify(`${folder}/log/%n.log`)},
});
const started = await cluster.start();
const pids = cluster.nodes.map((node) => cluster.pidOf(node));
const stopped = await cluster.stopwait();
console.log(JSON.stringify({ started, pids, stopped, after: cluster.nodes.map((node) => cluster.pidOf(node)) }));
`,
  );
  const config = filePath(new URL("../../deno.json", import.meta.url));
  const argv = [Deno.execPath(), "run", "-A", "--quiet", "--config", config, `${folder}/script.ts`];
  const said = await mustRun(argv, { env: { LOVAGE_HOME: `${folder}/home` } });
  const { started, pids, stopped, after } = JSON.parse(said);
  assert.deepEqual(started.map((one: { status: string }) => one.status), ["ok", "ok"]);
  assert.deepEqual(pids, started.map((one: { pid: number }) => one.pid));
  assert.deepEqual(stopped.map((one: { status: string }) => one.status), ["stopped", "stopped"]);
  assert.deepEqual([after, left()], [[null, null], []]);
});
