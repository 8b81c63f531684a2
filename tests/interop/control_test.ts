/**
 * One cluster of a Python worker and two Lovage workers: Celery's own command line prints all three alike, and ours
 * prints to the character what Celery's prints. On the embedded broker the same without Python.
 */

import assert from "node:assert/strict";
import { App, appExtensions } from "../../lib/app/mod.ts";
import { AppControl } from "../../lib/mailbox/mod.ts";
import { eventually } from "../support/ports.ts";
import { environment, lovage, type Place, startPythonWorker, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { requirePython, startRabbit, startRedis } from "../support/servers.ts";
import { type Finished, runProgram } from "../support/run.ts";

appExtensions.control = (app) => new AppControl(app);

/** Celery's command line. It waits for replies to the end of its time: 5 s, since its 1 s is short on a busy machine. */
async function celery(args: readonly string[], place: Place): Promise<Finished> {
  const { celery } = await requirePython();
  return await runProgram([...celery, "-b", place.broker!, ...args, "-t", "5"], { env: environment(place) });
}

/** Replies come in any order: blocks by node, sorted, and what varies from call to call taken out. */
function blocks(text: string): string[] {
  return text.replaceAll(/"clock": \d+|[\d.]+MB/g, "…").replaceAll(/'time_start': [\d.]+/g, "…")
    .split(/^(?=-> |\n\d)/m).sort();
}

const NODES = ["l1@test", "l2@test", "p1@test"];

Deno.test("one cluster of Python and Lovage workers on Redis", async (t) => {
  await requirePython();
  await using redis = await startRedis();
  const url = redis.url();
  const place: Place = { broker: url, backend: url };
  await using _one = await startWorker(place, ["-n", "l1@test", "-P", "solo", "-Q", "one"]);
  await using two = await startWorker(place, ["-n", "l2@test", "-P", "threads", "-c", "1", "-Q", "two"]);
  await using three = await startPythonWorker(place, ["-n", "p1@test", "-Q", "three"]);
  await using app = new App("asker", { broker_url: url, result_backend: url }, {
    world: realTestWorld(),
  });

  await t.step("every command answered by all three, printed alike by both command lines", async () => {
    const questions = [
      "status",
      "inspect ping",
      "inspect active",
      "inspect reserved",
      "inspect scheduled",
      "inspect revoked",
      "inspect active_queues",
      "inspect clock",
      "inspect query_task abc",
    ];
    const orders = [
      "control time_limit t.add 5 10",
      "control rate_limit t.add 10/m",
      "control rate_limit nope 10/m",
      "control autoscale 3 1",
      "control heartbeat",
      "control revoke abc",
      "control add_consumer extra",
      "control cancel_consumer extra",
    ];
    for (const commands of [questions, orders]) {
      // Celery's all at once: each waits its five seconds.
      const answers = await Promise.all(commands.map((command) => celery(command.split(" "), place)));
      for (const [n, command] of commands.entries()) {
        const theirs = answers[n]!;
        const ours = await lovage(["-b", url, ...command.split(" ")], place);
        // Celery's status is 0 also where every node answers with an error; ours tells.
        const isRefused = !/^->.*: OK$/m.test(theirs.out);
        assert.deepEqual([ours.code, ours.err], [isRefused ? 1 : theirs.code, ""], command);
        assert.deepEqual(blocks(ours.out), blocks(theirs.out), command);
        for (const node of NODES) assert.ok(theirs.out.includes(`->  ${node}: `), `${command}: ${node}`);
      }
    }
    assert.match((await lovage(["-b", url, "status"], place)).out, /\n3 nodes online\.\n$/);
  });

  await t.step("stats have one shape", async () => {
    const { out } = await celery(["inspect", "stats", "-j"], place);
    const stats = JSON.parse(out) as Record<string, Record<string, Record<string, unknown>>>;
    const keys = (value: Record<string, unknown>) => Object.keys(value).sort();
    for (const node of ["l1@test", "l2@test"]) {
      const [ours, theirs] = [stats[node]!, stats["p1@test"]!];
      assert.deepEqual(keys(ours), keys(theirs));
      // What Celery has told since 5.3, and kombu since 5.6.
      const all = (part: string, added: string) => [...new Set([...keys(theirs[part]!), added])].sort();
      assert.deepEqual(keys(ours["broker"]!), all("broker", "credential_provider"));
      assert.deepEqual(keys(ours["pool"]!), all("pool", "implementation"));
      assert.deepEqual(keys(ours["rusage"]!), keys(theirs["rusage"]!));
    }
  });

  await t.step("app.control asks all three and waits for no longer than they take", async () => {
    const begin = performance.now();
    const inspect = app.control.inspect({ timeout: 30 });
    assert.deepEqual(Object.keys(await inspect.ping()).sort(), NODES);
    assert.deepEqual(Object.keys(await inspect.registered("rate_limit")).sort(), NODES);
    assert.ok(performance.now() - begin < 25_000);
    const some = await app.control.inspect({ pattern: "l*", matcher: "glob", timeout: 5 }).ping();
    assert.deepEqual(Object.keys(some).sort(), ["l1@test", "l2@test"]);
  });

  await t.step("a task is revoked before it arrives, in either language, and while it runs", async () => {
    await app.control.revoke(["gone-1", "gone-2"], { reply: true, timeout: 10 });
    for (const [taskId, queue] of [["gone-1", "two"], ["gone-2", "three"]] as const) {
      await app.sendTask("t.add", { args: [1, 1], taskId, queue });
      await assert.rejects(app.AsyncResult(taskId).get({ timeout: 120 }), /revoked/);
    }
    const running = await app.sendTask("t.sleep", { args: [60], queue: "two" });
    await eventually(
      async () => (await app.control.inspect({ destination: "l2@test" }).active())["l2@test"]?.length === 1,
      () => `a running task:\n${two.text}`,
    );
    await app.control.terminate(running.id, { reply: true, timeout: 10 });
    // Who hears of it and does not run the task stores REVOKED at once; who runs it says that it was terminated.
    await assert.rejects(running.get({ timeout: 120 }), /terminated|revoked/);
  });

  await t.step("a worker that hangs is named, and costs the timeout and no more", async () => {
    two.signal("SIGSTOP");
    const begin = performance.now();
    const { code, out, err } = await lovage(["-b", url, "status", "-t", "5"], place);
    assert.ok(performance.now() - begin < 25_000, "not more");
    two.signal("SIGCONT");
    assert.equal(code, 0);
    assert.match(out, /\n2 nodes online\.\n$/);
    assert.equal(err, "Warning: 1 node did not reply within 5 s: l2@test\n");
  });

  await t.step("shutdown ends workers of both languages", async () => {
    const { code } = await lovage(["-b", url, "control", "shutdown", "-d", "p1@test,l2@test"], place);
    assert.equal(code, 0);
    assert.equal((await three.ended).code, 0);
    assert.equal((await two.ended).code, 0);
    await two.says(/Got shutdown from remote/);
  });
});

Deno.test("one cluster on RabbitMQ, which does not count who listens", async () => {
  await requirePython();
  await using rabbit = await startRabbit();
  const place: Place = { broker: rabbit.url() };
  await using _one = await startWorker(place, ["-n", "l1@test", "-P", "solo", "-Q", "one"]);
  await using _two = await startPythonWorker(place, ["-n", "p1@test", "-Q", "two"]);
  const commands = ["status", "inspect active_queues", "control rate_limit t.add 10/m"];
  const answers = await Promise.all(commands.map((command) => celery(command.split(" "), place)));
  for (const [n, command] of commands.entries()) {
    const words = command.split(" ");
    const theirs = answers[n]!;
    const ours = await lovage(["-b", place.broker!, ...words], place);
    assert.deepEqual([ours.code, ours.err], [theirs.code, ""], command);
    assert.deepEqual(blocks(ours.out), blocks(theirs.out), command);
    assert.match(theirs.out, /l1@test[^]*p1@test|p1@test[^]*l1@test/);
  }
  const begin = performance.now();
  const long = await lovage(["-b", place.broker!, "status", "-t", "30"], place);
  assert.match(long.out, /\n2 nodes online\.\n$/);
  assert.ok(performance.now() - begin < 25_000);
  const named = await lovage(["-b", place.broker!, "inspect", "ping", "-j", "-d", "p1@test"], place);
  assert.equal(named.out, '{"p1@test": {"ok": "pong"}}\n');
});

Deno.test("the embedded broker: workers of several processes are asked, told, and counted", async () => {
  const folder = await Deno.makeTempDir();
  const broker = `sqlite:///${folder}/broker.db`;
  const place: Place = { broker, backend: broker };
  await using _one = await startWorker(place, ["-n", "l1@test", "-P", "solo"]);
  await using two = await startWorker(place, ["-n", "l2@test", "-P", "solo", "-Q", "two"]);
  const ask = (...words: string[]) => lovage(["-b", broker, ...words], place);
  assert.match((await ask("status")).out, /^(-> {2}l[12]@test: OK\n){2}\n2 nodes online\.\n$/);
  for (const words of [["status", "-j"], ["status", "-j", "--min", "2", "--wait", "5"]]) {
    assert.deepEqual(Object.keys(JSON.parse((await ask(...words)).out) as object).sort(), [
      "l1@test",
      "l2@test",
    ]);
  }
  const queues = await ask("inspect", "active_queues", "-j");
  const names = JSON.parse(queues.out) as Record<string, { name: string }[]>;
  assert.deepEqual(names["l2@test"]!.map(({ name }) => name), ["two"]);
  const told = await ask("control", "rate_limit", "t.add", "1/s");
  assert.deepEqual([told.code, told.out.match(/new rate limit set successfully/g)?.length], [0, 2]);
  two.signal("SIGKILL");
  await two.ended;
  assert.match((await ask("status", "-t", "5")).out, /\n1 node online\.\n$/);
  await Deno.remove(folder, { recursive: true }).catch(() => {});
});

Deno.test("pool_restart: changed code is in force, modules that are named are loaded, others are refused", async () => {
  const folder = await Deno.makeTempDir();
  const broker = `sqlite:///${folder}/broker.db`;
  const place: Place = { broker, backend: broker };
  const write = (name: string, text: string) => Deno.writeTextFile(`${folder}/${name}.ts`, text);
  const main = (value: number) => `
    import { App } from "lovage";
    export const app = new App("restarted", {
      broker_url: "${broker}", result_backend: "${broker}", worker_pool_restarts: true,
    });
    app.task("t.version", () => ${value});`;
  await write("main", main(1));
  await write("more", `import { app } from "./main.ts"; app.task("t.more", () => "more");`);
  await using worker = await startWorker(place, ["-n", "l1@test", "-c", "2"], { app: `${folder}/main.ts` });
  await using app = new App("asker", { broker_url: broker, result_backend: broker }, {
    world: realTestWorld(),
  });
  const version = async () => await (await app.sendTask("t.version")).get({ timeout: 120 });
  assert.equal(await version(), 1);
  const wrong = await app.control.poolRestart({ modules: ["../../etc/passwd"], reply: true, timeout: 20 });
  assert.match(JSON.stringify(wrong), /ImportError\(/);
  assert.match(JSON.stringify(wrong), /outside of the program|there is no/);
  await write("main", main(2));
  const reply = await app.control.poolRestart({ modules: ["more"], reload: true, reply: true, timeout: 20 });
  assert.deepEqual(reply, { "l1@test": { ok: "reload started" } });
  assert.equal(await (await app.sendTask("t.more")).get({ timeout: 120 }), "more");
  await eventually(async () => await version() === 2, () => `the new code:\n${worker.text}`);
  const { writes } = (await app.control.inspect({ timeout: 20 }).stats())["l1@test"]!.pool as unknown as {
    writes: { total: number; raw: string; all: string };
  };
  assert.equal(writes.raw.split(", ").reduce((sum, one) => sum + Number(one), 0), writes.total);
  assert.equal(writes.all.split(", ").length, 2);
  await Deno.remove(folder, { recursive: true }).catch(() => {});
});
