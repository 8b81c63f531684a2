/** The command line from outside: help, exit statuses, did-you-mean, bad input told in one line, JSON output. */

import assert from "node:assert/strict";
import { lovage, startWorker, TASKS } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";
import { eventually, freePort } from "../support/ports.ts";

Deno.test("help, version and mistakes", async (t) => {
  await t.step("--help lists the commands, --version is a version", async () => {
    const help = await lovage(["--help"]);
    assert.equal(help.code, 0);
    for (const name of ["worker", "call", "result", "purge", "list", "report"]) {
      assert.match(help.out, new RegExp(`^  ${name}\\b`, "m"));
    }
    assert.doesNotMatch(help.out, /pool-child/);
    assert.match((await lovage(["--version"])).out, /^\d+\.\d+\.\d+ \(lovage\)\n$/);
  });

  await t.step("every command has --help", async () => {
    for (const name of ["worker", "call", "result", "purge", "list", "report"]) {
      const { code, out } = await lovage([name, "--help"]);
      assert.equal(code, 0, name);
      assert.match(out, new RegExp(`^Usage: lovage ${name} `));
    }
  });

  await t.step("-h, help COMMAND, and --version behind a command", async () => {
    const { out } = await lovage(["call", "--help"]);
    assert.deepEqual(await lovage(["help", "call"]), await lovage(["call", "-h"]));
    assert.equal((await lovage(["help", "call"])).out, out);
    assert.match((await lovage(["worker", "--version"])).out, /^\d+\.\d+\.\d+ \(lovage\)\n$/);
    assert.equal((await lovage(["help", "purg"])).code, 64);
  });

  await t.step("empty and impossible values are refused before anything is done", async () => {
    const lines = [
      ["-b", "", "call", "x"],
      ["control", "shutdown", "-d", ""],
      ["worker", "-Q", ""],
      ["worker", "-P", "prefork", "-c", "100000000"],
      ["worker", "--autoscale", "100000000,1"],
      ["call", "x", "--eta", "tomorrow"],
      ["call", "x", "--priority", "42"],
      ["beat", "--max-interval=-5"],
    ];
    for (const line of lines) {
      const { code, out, err } = await lovage(line);
      assert.deepEqual([code, out], [64, ""], line.join(" "));
      assert.match(err, /^Error: [^\n]+\n(Try lovage [^\n]+\n)?$/);
    }
  });

  await t.step("an unknown command or option names the nearest and exits 64", async () => {
    const command = await lovage(["purg"]);
    assert.deepEqual([command.code, command.out], [64, ""]);
    assert.match(command.err, /No such command "purg": did you mean "purge"\?/);
    assert.match((await lovage(["shell"])).err, /No such command "shell": lovage run FILE runs a program/);
    assert.match((await lovage(["amqp"])).err, /No such command "amqp": rabbitmqadmin/);
    const option = await lovage(["worker", "--concurency", "2"]);
    assert.equal(option.code, 64);
    assert.match(option.err, /--concurrency/);
    assert.equal((await lovage([])).code, 64);
    assert.equal((await lovage(["worker", "-c", "none"])).code, 64);
    assert.match((await lovage(["call", "x", "-a", "{}"])).err, /must be a JSON array/);
  });
});

Deno.test("modules and settings that are wrong are told in the user's own words", async (t) => {
  const folder = await Deno.makeTempDir();
  const write = (name: string, text: string) => Deno.writeTextFile(`${folder}/${name}`, text);
  await write("throws.ts", 'function deep() {\n  throw new RangeError("my own mistake");\n}\ndeep();\n');
  await write("noapp.ts", "export const x = 1;\n");
  await write(
    "twice.ts",
    'import { App } from "lovage";\nexport const app = new App("x");\napp.task("a", () => 1);\napp.task("a", () => 2);\n',
  );
  await write(
    "typo.ts",
    'import { App } from "lovage";\nexport const app = new App("x", { task_ack_late: true } as never);\n',
  );
  await write(
    "type.ts",
    'import { App } from "lovage";\nexport const app = new App("x", { task_time_limit: "soon" } as never);\n',
  );
  const cases: [string, RegExp][] = [
    ["missing.ts", /missing\.ts/],
    ["throws.ts", /RangeError: my own mistake[\s\S]*throws\.ts:2/],
    ["noapp.ts", /noapp\.ts/],
    ["twice.ts", /"a"/],
    ["typo.ts", /task_ack_late[\s\S]*task_acks_late/],
    ["type.ts", /task_time_limit/],
  ];
  for (const [name, words] of cases) {
    await t.step(name, async () => {
      const { code, err } = await lovage(["-A", `${folder}/${name}`, "worker"]);
      assert.notEqual(code, 0);
      assert.match(err, words);
      assert.doesNotMatch(err, /\/lib\/(app|cli|worker)\//, "none of our own stack");
    });
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a broker that refuses, or a wrong password: one clear line, 69, no secret", async () => {
  const away = `redis://:s3cret@127.0.0.1:${freePort()}/0`;
  const refused = await lovage(["-b", away, "call", "t.add", "-a", "[1, 1]"], { conf: {} });
  assert.equal(refused.code, 69);
  assert.match(refused.err, /^Error: .*127\.0\.0\.1/m);
  assert.doesNotMatch(refused.out + refused.err, /s3cret/);
  assert.equal(refused.err.trim().split("\n").length, 1);

  await using redis = await startRedis({ password: "right" });
  const wrong = redis.url(0).replace("right", "wr0ng");
  const denied = await lovage(["-b", wrong, "call", "t.add"]);
  assert.equal(denied.code, 69);
  assert.doesNotMatch(denied.out + denied.err, /wr0ng/);
});

Deno.test("call, result, purge, list bindings and report on Redis", async (t) => {
  await using redis = await startRedis();
  const place = { broker: redis.url(0), backend: redis.url(1) };
  const run = (...args: string[]) => lovage(["-A", TASKS, ...args], place);

  await t.step("call prints the id; purge empties the queue", async () => {
    const sent = await run("call", "t.add", "-a", "[2, 3]");
    assert.match(sent.out, /^[0-9a-f-]{36}\n$/);
    assert.equal((await run("purge", "-f")).out, "Purged 1 message from 1 known task queue.\n");
    assert.equal((await run("purge", "-f")).out, "No messages purged from 1 queue.\n");
    assert.equal((await run("purge")).code, 64, "nobody can be asked");
    assert.deepEqual(JSON.parse((await run("purge", "-f", "--json")).out), {
      purged: 0,
      queues: { celery: 0 },
    });
  });

  await t.step("list bindings", async () => {
    assert.match((await run("list", "bindings")).out, /^celery +celery +celery$/m);
    assert.deepEqual(JSON.parse((await run("list", "bindings", "-j")).out), [
      { queue: "celery", exchange: "celery", routing_key: "celery" },
    ]);
    assert.equal((await run("list", "bindngs")).code, 64);
  });

  await t.step("report masks secrets", async () => {
    const { out } = await lovage(["-A", TASKS, "-b", "redis://:hush@h/0", "report"], place);
    assert.match(out, /software -> lovage:/);
    assert.doesNotMatch(out, /hush/);
  });

  await using worker = await startWorker(place);
  await t.step("call --wait and result", async () => {
    assert.equal((await run("call", "--wait", "t.add", "-a", "[2, 3]")).out, "5\n");
    assert.equal(
      (await run("call", "--wait", "t.kw", "-k", '{"a": "ž"}', "-j")).out.includes('"state":"SUCCESS"'),
      true,
    );
    const failed = await run("call", "--wait", "t.fail", "-a", '["ValueError", "no"]');
    assert.deepEqual([failed.code, failed.out, failed.err], [1, "", "Error: ValueError: no\n"]);
    const { out: id } = await run("call", "t.echo", "-a", '["text"]', "--countdown", "0.1");
    assert.equal((await run("result", id.trim())).out, "text\n");
    const { out: bad } = await run("call", "t.fail", "-a", '["KeyError", "k"]');
    assert.equal((await run("result", bad.trim())).code, 1);
    assert.match((await run("result", bad.trim(), "--traceback")).out, /^Traceback/);
  });
  await t.step(
    "result --timeout 0 of a task that goes on shows its state and what it says of it",
    async () => {
      const id = (await run("call", "t.progress", "-a", "[600]")).out.trim();
      let told = await run("result", id, "--timeout", "0");
      await eventually(
        async () => {
          told = await run("result", id, "--timeout", "0");
          return told.err.includes("PROGRESS");
        },
        "its state is stored",
      );
      const text =
        'Error: TimeoutError: The operation timed out. Its state is PROGRESS: {"done":50,"note":"půlka"}\n';
      assert.deepEqual([told.code, told.out, told.err], [1, "", text]);
      const { out } = await run("result", id, "--timeout", "0", "-j");
      const { state, info } = JSON.parse(out);
      assert.deepEqual([state, info], ["PROGRESS", { done: 50, note: "půlka" }]);
    },
  );
  // It would wait for the task.
  await worker.stop("SIGKILL");
});

Deno.test("worker --burst works until the queues are empty, and tells by its status whether a task failed", async () => {
  const home = await Deno.makeTempDir();
  const place = { env: { LOVAGE_HOME: home } };
  for (const n of [1, 2, 3]) await lovage(["-A", TASKS, "call", "t.add", "-a", `[${n}, 1]`], place);
  const good = await lovage(["-A", TASKS, "worker", "--burst", "-P", "solo", "-l", "INFO"], place);
  assert.equal(good.code, 0, good.err);
  assert.equal(good.err.match(/succeeded in/g)?.length, 3);
  await lovage(["-A", TASKS, "call", "t.fail", "-a", '["ValueError", "x"]'], place);
  assert.equal((await lovage(["-A", TASKS, "worker", "--burst", "-P", "solo"], place)).code, 1);
  await lovage(["-A", TASKS, "call", "no.such.task"], place);
  assert.equal((await lovage(["-A", TASKS, "worker", "--burst", "-P", "solo"], place)).code, 1);
  await Deno.remove(home, { recursive: true });
});
