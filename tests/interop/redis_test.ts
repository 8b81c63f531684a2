/**
 * Lovage and Python Celery 5.2.6 in one cluster over Redis: each sends what the other runs, and both share a queue.
 *
 * One Redis and one Python client serve the whole file; every test has databases of its own.
 */

import assert from "node:assert/strict";
import { App } from "lovage";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";
import { eventually } from "../support/ports.ts";
import { type Place, PythonClient, startPythonWorker, startWorker } from "../support/programs.ts";

Deno.test("Python sends, Lovage runs", async (t) => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  await using worker = await startWorker(place, ["-P", "processes", "-c", "2"]);
  await using python = await PythonClient.start(place);
  const value = async (id: string) => {
    const answer = await python.get(id);
    assert.equal(answer.error, undefined, `${answer.error} ${answer.args}`);
    return answer.value;
  };

  await t.step("values come back as they went", async () => {
    assert.equal(await value(await python.send("t.add", [2, 3])), 5);
    const odd = { "ключ": ["žluťoučký", null, true, 1.5, "🌿"], big: 9007199254740993 / 1 };
    assert.deepEqual(await value(await python.send("t.echo", [odd])), odd);
  });

  await t.step("integers beyond 2^53 keep every digit", async () => {
    const { value } = await python.ask({
      do: "eval",
      code: "app.send_task('t.echo', [2**62 + 1]).get(timeout=60) == 2**62 + 1",
    });
    assert.equal(value, true);
  });

  await t.step("keyword arguments bind by name, defaults hold", async () => {
    assert.deepEqual(await value(await python.send("t.kw", [], {}, { c: "z", a: 1 })), [1, 10, "z"]);
    assert.deepEqual(await value(await python.send("t.kw", [1], {}, { b: 2 })), [1, 2, "c"]);
    const missing = await python.get(await python.send("t.kw", []));
    assert.equal(missing.error, "TypeError");
    assert.match(missing.args![0]!, /missing 1 required positional argument: 'a'/);
    const unknown = await python.get(await python.send("t.kw", [1], {}, { d: 2 }));
    assert.match(unknown.args![0]!, /unexpected keyword argument 'd'/);
  });

  await t.step("a failure raises the class that Python knows", async () => {
    for (
      const [kind, text, bases] of [["ValueError", "boom", "ValueError"], ["TypeError", "no", "TypeError"], [
        "KeyError",
        "k",
        "KeyError",
      ]]
    ) {
      const got = await python.get(await python.send("t.fail", [kind, text]));
      assert.equal(got.state, "FAILURE");
      assert.deepEqual([got.error, got.module, got.args], [kind, "builtins", [text]]);
      assert.ok(got.bases!.includes(bases!));
      assert.match(got.traceback!, /^Traceback \(most recent call last\):/);
      assert.match(got.traceback!, new RegExp(`^${kind}: .?${text}.?$`, "m"));
    }
    // Python makes a class of its own where it cannot import the module: what is stored is what counts.
    for (const [kind, type, module] of [["ShopError", "ShopError", "shop.errors"], ["other", "Error", "t"]]) {
      const id = await python.send("t.fail", [kind, "closed"]);
      assert.equal((await python.get(id)).error, type);
      const stored = JSON.parse(await redis.cli("-n", "1", "get", `celery-task-meta-${id}`));
      assert.deepEqual(stored.result, { exc_type: type, exc_message: ["closed"], exc_module: module });
    }
  });

  await t.step("retries count, wait and give up", async () => {
    assert.equal(await value(await python.send("t.retry", [2, 0.1])), 2);
    const gaveUp = await python.get(await python.send("t.exhaust", []));
    assert.deepEqual([gaveUp.error, gaveUp.args], ["ValueError", ["gave up"]]);
  });

  await t.step("eta and countdown are kept, expired tasks are revoked", async () => {
    const began = Date.now() / 1000;
    const ran = await value(await python.send("t.at", [], { countdown: 1.5 })) as number;
    assert.ok(ran - began >= 1.4, `ran ${ran - began} s after sending`);
    const late = await python.get(await python.send("t.at", [], { countdown: 1, expires: 0.2 }));
    assert.deepEqual([late.state, late.error, late.args], ["REVOKED", "TaskRevokedError", ["expired"]]);
  });

  await t.step("ignored results and Ignore store nothing, unless the sender wants the result", async () => {
    const ids = [
      await python.send("t.quiet", [], { ignore_result: true }),
      await python.send("t.ignored"),
    ];
    await eventually(() => worker.text.includes(`t.quiet[${ids[0]}] succeeded`), "quiet has run");
    await eventually(() => worker.text.includes(`t.ignored[${ids[1]}] ignored`), "ignored is logged");
    assert.equal(await redis.cli("-n", "1", "exists", ...ids.map((id) => `celery-task-meta-${id}`)), "0");
    assert.equal(await value(await python.send("t.quiet", [], { ignore_result: false })), "unseen");
  });

  await t.step("a rejected task fails for whoever waits for it, and is told as a failure", async () => {
    const id = await python.send("t.rejected");
    const rejected = await python.get(id);
    assert.deepEqual([rejected.state, rejected.error, rejected.module, rejected.args], [
      "FAILURE",
      "Reject",
      "celery.exceptions",
      ["not wanted", "False"],
    ]);
    await eventually(() => worker.text.includes(`t.rejected[${id}] reject requeue=False`), "it is logged");
  });

  await t.step("a state of one's own is seen while the task runs", async () => {
    const id = await python.send("t.progress", [1]);
    const meta = await eventually(
      async () => {
        const { value } = await python.ask({ do: "meta", id });
        return (value as { status: string }).status === "PROGRESS" ? value as { result: unknown } : null;
      },
      "PROGRESS",
    );
    assert.deepEqual(meta.result, { done: 50, note: "půlka" });
    assert.equal(await value(id), "done");
  });

  await t.step("compressed bodies, other serialisers where accepted, 1 MB", async () => {
    assert.equal(await value(await python.send("t.size", ["x".repeat(1_000_000)])), 1_000_000);
    assert.equal(await value(await python.send("t.add", [1, 1], { compression: "gzip" })), 2);
    const refused = await python.send("t.add", [1, 1], { serializer: "yaml" });
    await eventually(() => /Refusing|Can't decode message body/.test(worker.text), `a line about ${refused}`);
  });

  await t.step("link and link_error call back", async () => {
    const { value: linked } = await python.ask({
      do: "eval",
      code:
        "[r := s('t.add', 1, 2).apply_async(link=s('t.add', 10).set(task_id='link-1')), r.get(timeout=60)][1]",
    });
    assert.equal(linked, 3);
    assert.equal(await value("link-1"), 13);
    await python.ask({
      do: "eval",
      code:
        "s('t.fail', 'ValueError', 'x').apply_async(task_id='bad-1', link_error=s('t.echo').set(task_id='err-1')).id",
    });
    assert.equal(await value("err-1"), "bad-1");
  });

  await t.step("a chain passes its value on", async () => {
    const { value } = await python.ask({
      do: "eval",
      code: "chain(s('t.add', 1, 2), s('t.add', 3), s('t.add', 4)).apply_async().get(timeout=60)",
    });
    assert.equal(value, 10);
  });

  await t.step("an unknown task fails as NotRegistered", async () => {
    const got = await python.get(await python.send("t.nowhere"));
    assert.equal(got.error, "NotRegistered");
    assert.match(worker.text, /Received unregistered task of type 't\.nowhere'\./);
  });
});

Deno.test("Lovage sends, Python runs", async (t) => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  await using worker = await startPythonWorker(place);
  await using app = new App("client", { broker_url: redis.url(0), result_backend: redis.url(1) }, {
    world: realTestWorld(),
  });
  const send = (task: string, args: unknown[] = [], options = {}) => app.sendTask(task, { args, ...options });
  const get = async (task: string, args: unknown[] = [], options = {}) =>
    await (await send(task, args, options)).get({ timeout: 120 });

  await t.step("values come back as they went", async () => {
    assert.equal(await get("t.add", [2, 3]), 5);
    const odd = { "ключ": ["žluťoučký", null, true, 1.5, "🌿"] };
    assert.deepEqual(await get("t.echo", [odd]), odd);
    assert.equal(await get("t.echo", [2n ** 62n + 1n]), 2n ** 62n + 1n);
    assert.equal(await get("t.size", ["ž".repeat(1_000_000)]), 1_000_000);
    assert.equal(await get("t.add", [1, 1], { compression: "gzip" }), 2);
  });

  await t.step("keyword arguments", async () => {
    assert.deepEqual(await get("t.kw", [1], { kwargs: { c: "z" } }), [1, 10, "z"]);
  });

  await t.step("a failure is thrown with its class's name, arguments and traceback", async () => {
    const sent = await send("t.fail", ["ValueError", "boom"]);
    const error = await sent.get({ timeout: 120 }).then(() => null, (error: Error) => error);
    assert.ok(error instanceof Error);
    assert.equal(error.name, "ValueError");
    assert.equal(error.message, "boom");
    assert.match(await sent.traceback() ?? "", /tasks\.py/);
    assert.ok(
      await (await send("t.fail", ["TypeError", "x"])).get({ timeout: 120 }).catch((e) => e) instanceof
        TypeError,
    );
  });

  await t.step("retry, countdown, expires", async () => {
    assert.equal(await get("t.retry", [2, 0.1]), 2);
    const began = Date.now() / 1000;
    assert.ok(await get("t.at", [], { countdown: 1 }) as number - began >= 0.95);
    const late = await send("t.at", [], { countdown: 1, expires: 0.2 });
    const error = await late.get({ timeout: 120 }).catch((error: Error) => error) as Error;
    assert.equal(error.name, "TaskRevokedError");
    assert.equal(await late.state(), "REVOKED");
  });

  await t.step("chain and link", async () => {
    const { chain } = await import("lovage");
    const s = (task: string, args: unknown[]) => app.signature(task, { args });
    const sent = await chain(s("t.add", [1, 2]), s("t.add", [3]), s("t.add", [4])).applyAsync();
    assert.equal(await sent.get({ timeout: 120 }), 10);
  });

  await t.step("the message is Celery's own, header for header", async () => {
    await worker.stop();
    await redis.cli("del", "celery");
    const { id } = await send("t.add", [2, 3]);
    const envelope = JSON.parse(await redis.cli("lindex", "celery", "0"));
    const golden = JSON.parse(
      await Deno.readTextFile(new URL("../golden/redis-publish-5.6.3.json", import.meta.url)),
    );
    const simple = golden.messages.find((one: { scenario: string }) =>
      /^(simple|plain|add)/.test(one.scenario)
    ) ??
      golden.messages[0];
    assert.deepEqual(Object.keys(envelope).sort(), Object.keys(simple.envelope).sort());
    assert.deepEqual(Object.keys(envelope.headers).sort(), Object.keys(simple.envelope.headers).sort());
    assert.deepEqual(Object.keys(envelope.properties).sort(), Object.keys(simple.envelope.properties).sort());
    assert.deepEqual([envelope.headers.id, envelope.headers.argsrepr], [id, "(2, 3)"]);
  });
});

Deno.test("both on one queue: every task runs once, results come from both languages", async () => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  await using _ours = await startWorker(place, ["-P", "processes", "-c", "1"]);
  await using _theirs = await startPythonWorker(place);
  await using python = await PythonClient.start(place);
  const { ids } = await python.ask({ do: "many", task: "t.who", args: [], count: 600 });
  const seen = new Map<unknown, number>();
  for (const id of ids!) {
    const { value } = await python.get(id);
    seen.set(value, (seen.get(value) ?? 0) + 1);
  }
  assert.deepEqual([...seen.keys()].sort(), ["lovage", "python"]);
  assert.equal(seen.get("lovage")! + seen.get("python")!, 600);
  // A result may be there before the acknowledgement, which goes another way.
  await eventually(async () => await redis.cli("hlen", "unacked") === "0", "nothing unacked");
});

Deno.test("priorities in kombu's order on Redis: 0 first", async () => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  await using python = await PythonClient.start(place);
  const path = await Deno.makeTempFile();
  for (const priority of [9, 6, 3, 0]) {
    await python.send("t.record", [path], { priority, task_id: `p${priority}` });
  }
  await using _worker = await startWorker(place, ["-P", "solo"]);
  const ran = await eventually(
    async () => {
      const lines = (await Deno.readTextFile(path)).trim().split("\n");
      return lines.length === 4 ? lines : null;
    },
    "four tasks",
  );
  assert.deepEqual(ran, ["p0", "p3", "p6", "p9"]);
  await Deno.remove(path);
});

Deno.test("10,000 tasks from Python: none lost, none twice, nothing left behind", async () => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(0), backend: redis.url(1) };
  await using python = await PythonClient.start(place);
  const path = await Deno.makeTempFile();
  const { ids } = await python.ask({ do: "many", task: "t.record", args: [path], count: 10_000 });
  await using worker = await startWorker(place, ["-P", "processes", "-c", "2"]);
  const results = () => redis.cli("-n", "1", "dbsize");
  await eventually(async () => Number(await results()) >= 10_000, "10,000 results", {
    everyMs: 50,
  });
  const ran = (await Deno.readTextFile(path)).trim().split("\n");
  const told = worker.text.split("\n").filter((line) => /WARNING|ERROR|CRITICAL/.test(line)).join("\n");
  assert.equal(ran.length, 10_000, told);
  assert.deepEqual(new Set(ran), new Set(ids), told);
  await eventually(async () => await redis.cli("hlen", "unacked") === "0", "nothing unacked");
  assert.equal(await redis.cli("llen", "celery"), "0");
  await Deno.remove(path);
});
