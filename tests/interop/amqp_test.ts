/**
 * Lovage and Python Celery 5.2.6 in one cluster over RabbitMQ: tasks and results both ways, with results in Redis and
 * as messages (rpc), quorum queues with native delayed delivery, and the commands.
 *
 * One RabbitMQ and one Redis serve the whole file; every test has a virtual host of its own.
 */

import assert from "node:assert/strict";
import { App, chain, group, type SendOptions } from "lovage";
import { connect, exchange, queue } from "../../lib/transport/mod.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";
import { eventually } from "../support/ports.ts";
import {
  lovage,
  type Place,
  PythonClient,
  startPythonWorker,
  startWorker,
  TASKS,
} from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import {
  type RabbitServer,
  type RedisServer,
  requirePython,
  startRabbit,
  startRedis,
} from "../support/servers.ts";

let rabbit: RabbitServer;
let redis: RedisServer;
let used = 0;

Deno.test.beforeAll(async () => {
  [rabbit, redis] = await Promise.all([startRabbit(), startRedis()]);
  await rabbit.addVhosts(Array.from({ length: 16 }, (_, n) => `i${n}`));
});
Deno.test.afterAll(async () => {
  await Promise.all([rabbit?.stop(), redis?.stop()]);
});

/** A place of one test's own. */
function newPlace(results: "redis" | "rpc", conf: Record<string, unknown> = {}): Place {
  const n = used++;
  return {
    broker: rabbit.url({ vhost: `i${n}` }),
    backend: results === "rpc" ? "rpc://" : redis.url(n),
    conf,
  };
}

function openApp(place: Place, conf: Record<string, unknown> = {}): App {
  return new App("interop", {
    broker_url: place.broker!,
    result_backend: place.backend!,
    ...place.conf,
    ...conf,
  }, { world: realTestWorld() });
}

for (const results of ["redis", "rpc"] as const) {
  Deno.test(`Python sends, Lovage runs, results by ${results}`, async (t) => {
    const place = newPlace(results);
    await using worker = await startWorker(place, ["-P", "processes", "-c", "2"]);
    await using python = await PythonClient.start(place);
    const evaluate = async (code: string) => (await python.ask({ do: "eval", code })).value;

    await t.step("values come back as they went", async () => {
      assert.equal(await evaluate("s('t.add', 2, 3).delay().get(timeout=60)"), 5);
      const odd = { "ключ": ["žluťoučký", null, true, 1.5, "🌿"] };
      assert.deepEqual(
        await evaluate(
          `s('t.echo', ${
            JSON.stringify(odd).replace("null", "None").replace("true", "True")
          }).delay().get(timeout=60)`,
        ),
        odd,
      );
      assert.equal(await evaluate("s('t.echo', 2**62 + 1).delay().get(timeout=60) == 2**62 + 1"), true);
      assert.equal(await evaluate("s('t.size', 'x' * 1000000).delay().get(timeout=60)"), 1_000_000);
      assert.equal(await evaluate("s('t.add', 1, 1).apply_async(compression='gzip').get(timeout=60)"), 2);
    });

    await t.step("keyword arguments, failures, retries, countdown", async () => {
      assert.deepEqual(await evaluate("s('t.kw', c='z', a=1).delay().get(timeout=60)"), [1, 10, "z"]);
      const failed = await evaluate(
        "repr(s('t.fail', 'ValueError', 'boom').delay().get(timeout=20, propagate=False))",
      );
      assert.equal(failed, "ValueError('boom')");
      assert.equal(await evaluate("s('t.retry', 2, 0.1).delay().get(timeout=60)"), 2);
      assert.equal(
        await evaluate("repr(s('t.exhaust').delay().get(timeout=20, propagate=False))"),
        "ValueError('gave up')",
      );
      const began = Date.now() / 1000;
      const ran = await evaluate("s('t.at').apply_async(countdown=1.5).get(timeout=60)") as number;
      assert.ok(ran - began >= 1.4, `ran ${ran - began} s after sending`);
    });

    await t.step("a group and a chain", async () => {
      assert.deepEqual(
        await evaluate("group(s('t.add', n, n) for n in range(5)).apply_async().get(timeout=60)"),
        [
          0,
          2,
          4,
          6,
          8,
        ],
      );
      assert.equal(await evaluate("chain(s('t.add', 1, 2), s('t.add', 3)).apply_async().get(timeout=60)"), 6);
    });

    await t.step("remote control", async () => {
      assert.deepEqual(Object.values((await evaluate("app.control.ping(timeout=3)") as object[])[0]!), [{
        ok: "pong",
      }]);
      const registered = await evaluate("app.control.inspect(timeout=3).registered()") as Record<
        string,
        string[]
      >;
      assert.ok(Object.values(registered)[0]!.some((name) => name.startsWith("t.add")));
      assert.match(worker.text, /ready\./);
    });
  });

  Deno.test(`Lovage sends, Python runs, results by ${results}`, async (t) => {
    const place = newPlace(results);
    await using worker = await startPythonWorker(place);
    const app = openApp(place);
    try {
      await t.step("values, errors, countdown", async () => {
        assert.equal(await (await app.sendTask("t.add", { args: [2, 3] })).get({ timeout: 120 }), 5);
        const odd = { "ключ": ["žluťoučký", null, true, 1.5, "🌿"] };
        assert.deepEqual(await (await app.sendTask("t.echo", { args: [odd] })).get({ timeout: 120 }), odd);
        const failing = await app.sendTask("t.fail", { args: ["ValueError", "boom"] });
        await assert.rejects(failing.get({ timeout: 120 }), { name: "ValueError", message: "boom" });
        const began = Date.now() / 1000;
        const ran = await (await app.sendTask("t.at", { args: [], countdown: 1.5 })).get({
          timeout: 20,
        }) as number;
        assert.ok(ran - began >= 1.4, `ran ${ran - began} s after sending`);
        assert.equal(
          await (await app.sendTask("t.size", { args: ["x".repeat(1_000_000)] })).get({ timeout: 120 }),
          1_000_000,
        );
      });
      await t.step("many at once", async () => {
        const sent = await app.sendMany(
          Array.from({ length: 300 }, (_, n) => ({ task: "t.add", args: [n, 1] })),
        );
        const values = await Promise.all(sent.map((one) => one.get({ timeout: 120 })));
        assert.deepEqual(values, Array.from({ length: 300 }, (_, n) => n + 1));
      });
      assert.match(worker.text, /succeeded/);
    } finally {
      await app.close();
    }
  });
}

/** What `result_extended` adds to a result, as `AsyncResult` of either language names it. */
const EXTENDED = ["name", "args", "kwargs", "worker", "queue", "retries"] as const;

/** Calls, how they end, and what a result that came over rpc says of each. */
const EXTENDED_CALLS: readonly {
  task: string;
  args: unknown[];
  kwargs: Record<string, unknown>;
  state: string;
  retries: number;
}[] = [
  { task: "t.kw", args: [1, { deep: ["ж", null] }], kwargs: { c: 2.5 }, state: "SUCCESS", retries: 0 },
  { task: "t.fail", args: ["ValueError", "boom"], kwargs: {}, state: "FAILURE", retries: 0 },
  { task: "t.retry", args: [2, 0], kwargs: {}, state: "SUCCESS", retries: 2 },
];

for (const runner of ["Lovage", "Python"] as const) {
  Deno.test(`result_extended over rpc: ${runner} runs, and the other and Lovage read the call`, async (t) => {
    const place = newPlace("rpc", { result_extended: true });
    const name = ["-n", "extended@h", "-Q", "extended.queue"];
    await using _worker = runner === "Lovage"
      ? await startWorker(place, ["-P", "processes", "-c", "1", ...name])
      : await startPythonWorker(place, name);
    await using python = await PythonClient.start(place);
    // Celery has sent it with rpc since its main branch of 2026 (#10431); before, the message has the result alone.
    const isSent = runner === "Lovage" || (await python.ask({
      do: "eval",
      code: "'_get_result_meta' in __import__('inspect').getsource(app.backend._to_result)",
    })).value as boolean;
    for (const { task, args, kwargs, state, retries } of EXTENDED_CALLS) {
      const expected = isSent
        ? [task, args, kwargs, "extended@h", "extended.queue", retries]
        : [task, null, null, null, null, null];
      await t.step(`${task}, read by Lovage`, async () => {
        await using app = openApp(place);
        const sent = await app.sendTask(task, { args, kwargs, queue: "extended.queue" });
        await sent.get({ timeout: 120, propagate: false });
        assert.equal(await sent.state(), state);
        const read = EXTENDED.map((one) => sent[one]());
        assert.deepEqual(await Promise.all(read), expected);
      });
      if (runner === "Python") continue;
      await t.step(`${task}, read by Python`, async () => {
        const id = await python.send(task, args, { queue: "extended.queue" }, kwargs);
        // One object: rpc keeps a result only there where it was read.
        const { value } = await python.ask({
          do: "eval",
          code: `(lambda it: (it.get(timeout=120, propagate=False), it.state, [getattr(it, one) for one in ` +
            `${JSON.stringify(EXTENDED)}])[1:])(app.AsyncResult('${id}'))`,
        });
        assert.deepEqual(value, [state, expected]);
      });
    }
  });
}

Deno.test("both share a queue: 400 tasks, each runs once", async () => {
  const place = newPlace("redis");
  // Each a name of its own: newer Celery has the control queue of a name to itself.
  await using ours = await startWorker(place, ["-P", "solo", "-n", "ours@h"]);
  await using _theirs = await startPythonWorker(place, ["-n", "theirs@h"]);
  await using python = await PythonClient.start(place);
  const { value } = await python.ask({
    do: "eval",
    code: "group(s('t.who', n) for n in range(400)).apply_async().get(timeout=40)",
  });
  const counts = { lovage: 0, python: 0 };
  for (const who of value as ("lovage" | "python")[]) counts[who]++;
  assert.equal(counts.lovage + counts.python, 400);
  assert.ok(counts.lovage > 0 && counts.python > 0, JSON.stringify(counts));
  assert.match(ours.text, /succeeded/);
});

for (const pool of ["processes", "solo"]) {
  Deno.test(`a task sends to queues that nobody has declared: they are made, from ${pool}`, async () => {
    const place = newPlace("redis");
    await using _worker = await startWorker(place, ["-P", pool, "-c", "1"]);
    await using app = openApp(place);
    const ways = ["q1", "q1", "q2", "amq.topic/nobody.listens"];
    const sent = await (await app.sendTask<string[]>("t.send_to", { args: [ways] })).get({ timeout: 120 });
    assert.deepEqual(sent.slice(0, 3), ["", "", ""]);
    assert.match(sent[3]!, /no queue is bound to it for routing key "nobody.listens"/);
    await using connection = await connect(realTestWorld(), place.broker!, CONNECT_OPTIONS);
    assert.deepEqual([await connection.queueLength("q1"), await connection.queueLength("q2")], [2, 1]);
  });
}

Deno.test("quorum queues: native delayed delivery holds what is not due, in the broker", async (t) => {
  const conf = {
    task_default_queue_type: "quorum",
    task_default_exchange: "celery",
    task_default_exchange_type: "topic",
  };
  const place = newPlace("redis", conf);
  await using worker = await startWorker(place, ["-P", "solo"]);
  const app = openApp(place);
  await using connection = await connect(realTestWorld(), place.broker!, CONNECT_OPTIONS);
  try {
    await t.step(
      "28 queues are declared with their times, and the task queue is a quorum queue",
      async () => {
        const vhost = decodeURIComponent(new URL(place.broker!).pathname.slice(1));
        const text = await rabbit.ctl("-q", "list_queues", "-p", vhost, "name", "arguments", "type");
        for (let level = 0; level < 28; level++) {
          const line = text.split("\n").find((one) => one.startsWith(`celery_delayed_${level}\t`)) ?? "";
          const next = level === 0 ? "celery_delayed_delivery" : `celery_delayed_${level - 1}`;
          assert.match(line, new RegExp(`"x-message-ttl",.*?${2 ** level * 1000}\\b`), line);
          assert.match(line, new RegExp(`"x-dead-letter-exchange",.*?"${next}"`), line);
          assert.match(line, /rabbit_quorum_queue|quorum/);
        }
        assert.match(text, /^celery\t.*quorum/m);
      },
    );
    await t.step("a task, a group of groups of tasks", async () => {
      assert.equal(await (await app.sendTask("t.add", { args: [1, 2] })).get({ timeout: 120 }), 3);
      const sent = await app.sendMany(
        Array.from({ length: 60 }, (_, n) => ({ task: "t.add", args: [n, 1] })),
      );
      assert.equal((await Promise.all(sent.map((one) => one.get({ timeout: 120 })))).length, 60);
    });
    await t.step("a countdown waits in the broker: the worker has not received it", async () => {
      const began = Date.now() / 1000;
      const result = await app.sendTask("t.at", { args: [], countdown: 3 });
      assert.equal(worker.text.includes(result.id), false);
      assert.equal(await connection.queueLength("celery"), 0);
      assert.equal((await connection.queueLength("celery_delayed_1"))! > 0, true);
      const ran = await result.get({ timeout: 120 }) as number;
      assert.ok(ran - began >= 2.9 && ran - began < 8, `ran ${ran - began} s after sending`);
    });
    await t.step(
      "what Python sends without it is parked there by the worker; newer Celery parks it",
      async () => {
        await using python = await PythonClient.start(place);
        const kombu = "__import__('kombu')";
        const exchange = `${kombu}.Exchange('celery', type='topic')`;
        const declare = (rest: string) =>
          python.ask({
            do: "eval",
            code:
              `app.amqp.queues.add(${kombu}.Queue('celery', exchange=${exchange}, routing_key='celery', ` +
              `${rest})).name`,
          });
        // Whole seconds from 4 to 7 wait in this queue first.
        const isParked = async () => (await connection.queueLength("celery_delayed_2"))! > 0;
        const send = () => python.send("t.at", [], { countdown: 7.9 });
        const runs = async (id: string, sent: number) => {
          const answer = await python.get(id);
          assert.equal(answer.state, "SUCCESS", `${answer.error} ${answer.args}`);
          assert.ok(
            answer.value as number - sent >= 7.8,
            `ran ${answer.value as number - sent} s after sending`,
          );
        };
        // The Python at hand does not know the queue's type.
        await declare("no_declare=True");
        const began = Date.now() / 1000;
        const id = await send();
        await eventually(() => worker.text.includes(`${id}] received`), "received once");
        await eventually(isParked, "it is parked");
        await runs(id, began);
        // Since 5.5 it leaves a delay to the broker, too.
        if ((await requirePython()).version < 5.05) return;
        await declare("queue_arguments={'x-queue-type': 'quorum'}");
        const again = Date.now() / 1000;
        const parked = await send();
        await eventually(isParked, "it is parked by Python");
        await runs(parked, again);
      },
    );
    await t.step("a group of groups", async () => {
      const add = (n: number) => app.signature("t.add", { args: [n, n] });
      const all = group(group(add(1), add(2)), group(add(1), add(2)), group(add(1), add(2)));
      assert.deepEqual((await (await all.applyAsync()).get({ timeout: 120 })).flat(), [2, 4, 2, 4, 2, 4]);
    });
    // Each waits for its own time: together they take as long as the longest.
    await t.step(
      "times ahead and past, in order, at one instant, many, far, revoked, in a chain",
      async () => {
        const seconds = () => Date.now() / 1000;
        const runsAt = async (options: SendOptions, from: number, to: number) => {
          const began = seconds();
          const ran = await (await app.sendTask("t.at", options)).get({ timeout: 120 }) as number;
          assert.ok(ran - began >= from && ran - began < to, `${JSON.stringify(options)}: ${ran - began} s`);
          return ran;
        };
        const inMs = (ms: number) => new Date(Date.now() + ms);
        const instant = inMs(3000);
        const far = await app.sendTask("t.at", { eta: inMs(25 * 3600_000) });
        const revoked = await app.sendTask("t.at", { countdown: 5 });
        await app.control.revoke(revoked.id);
        const many = await app.sendMany(
          Array.from({ length: 100 }, () => ({ task: "t.at", options: { countdown: 2 } })),
        );
        const addLater = (...args: number[]) => app.signature("t.add", { args, countdown: 2 });
        const [, , , , , inOrder, , , , , sum] = await Promise.all([
          runsAt({ eta: inMs(5000) }, 4.9, 10),
          runsAt({ eta: inMs(5000).toISOString() }, 4.9, 10),
          runsAt({ eta: inMs(-5000) }, 0, 3),
          runsAt({ countdown: -5 }, 0, 3),
          runsAt({ countdown: 0 }, 0, 3),
          Promise.all([6, 4, 2].map((countdown) => runsAt({ countdown }, countdown - 0.1, countdown + 5))),
          runsAt({ countdown: 1 }, 0.9, 6),
          runsAt({ countdown: 5, queue: "celery" }, 4.9, 10),
          Promise.all(Array.from({ length: 5 }, () => runsAt({ eta: instant }, 1, 8))),
          Promise.all(many.map((one) => one.get({ timeout: 120 }))),
          chain(addLater(1, 2), addLater(3), addLater(4)).applyAsync().then((it) => it.get({ timeout: 120 })),
          assert.rejects(revoked.get({ timeout: 120 }), { name: "TaskRevokedError" }),
          app.sendTask("t.retry", { args: [2, 2], countdown: 2 }).then((it) => it.get({ timeout: 120 })),
        ]);
        assert.deepEqual([...inOrder].sort(), [...inOrder].reverse());
        assert.equal(sum, 10);
        assert.deepEqual([await far.state(), await far.ready()], ["PENDING", false]);
        assert.equal(await connection.queueLength("celery_delayed_16"), 1);
      },
    );
  } finally {
    await app.close();
  }
});

Deno.test("delays in classic queues, for a direct exchange, beside a queue that cannot be bound", async () => {
  const quorum = { queue_arguments: { "x-queue-type": "quorum" } };
  const conf = {
    broker_native_delayed_delivery_queue_type: "classic",
    task_queues: {
      elsewhere: { exchange: "clash", exchange_type: "topic", routing_key: "x", ...quorum },
      here: { exchange: "here", exchange_type: "direct", routing_key: "here", ...quorum },
    },
  };
  const place = newPlace("redis", conf);
  await using connection = await connect(realTestWorld(), place.broker!, CONNECT_OPTIONS);
  await connection.declareExchange(exchange("clash", { type: "fanout" }));
  await using worker = await startWorker(place, ["-P", "solo", "-Q", "here"]);
  await using app = openApp(place, { task_routes: [() => ({ queue: "here" })] });
  const began = Date.now() / 1000;
  const sent = await app.sendMany(
    Array.from({ length: 5 }, () => ({ task: "t.at", options: { countdown: 2.5 } })),
  );
  assert.equal(await connection.queueLength("celery_delayed_1"), 5);
  for (const one of sent) assert.ok(await one.get({ timeout: 120 }) as number - began >= 2.4, worker.text);
  const vhost = decodeURIComponent(new URL(place.broker!).pathname.slice(1));
  const text = await rabbit.ctl("-q", "list_queues", "-p", vhost, "name", "type");
  assert.match(text, /^celery_delayed_27\t.*classic/m);
  assert.match(text, /^here\t.*quorum/m);
});

Deno.test("broker_channel_error_retry: a worker waits for a queue that it cannot declare; else it ends", async () => {
  const place = newPlace("redis", { broker_channel_error_retry: true });
  const vhost = new URL(place.broker!).pathname.slice(1);
  await using connection = await connect(realTestWorld(), place.broker!, CONNECT_OPTIONS);
  await connection.declare(queue("clash", { queueArguments: { "x-max-priority": 3 } }));
  const refusal = /Cannot declare queue "clash": PRECONDITION_FAILED .*x-max-priority/;
  const words = ["-P", "solo", "-Q", "clash"];
  const ended = await lovage(["-A", TASKS, "worker", "-l", "INFO", ...words], { ...place, conf: {} });
  assert.match(ended.out + ended.err, refusal);
  assert.equal(ended.code, 1);
  await using worker = await startWorker(place, words, { isReady: false });
  await worker.says(refusal);
  await rabbit.ctl("delete_queue", "-p", vhost, "clash");
  await worker.says(/ ready\./);
});

Deno.test("the commands work on RabbitMQ", async (t) => {
  const place = newPlace("redis");
  const run = async (...args: string[]) => {
    const { code, out, err } = await lovage(["-A", TASKS, ...args], place);
    assert.equal(code, 0, `${args}: ${out}${err}`);
    return out;
  };
  await t.step("call, purge", async () => {
    await run("call", "t.add", "-a", "[1, 2]");
    await run("call", "t.add", "-a", "[3, 4]");
    assert.match(await run("purge", "-f"), /Purged 2 messages from 1 known task queue/);
  });
  await t.step("list bindings", async () => {
    assert.match(await run("list", "bindings"), /celery/);
  });
  await t.step("result", async () => {
    const id = (await run("call", "t.add", "-a", "[1, 2]")).trim();
    await using _worker = await startWorker(place);
    await eventually(
      async () => /3/.test((await lovage(["-A", TASKS, "result", id], place)).out),
      "the result",
      {
        everyMs: 200,
      },
    );
  });
  await t.step("migrate: to another virtual host, to Redis, and back; what is moved runs", async () => {
    const [other, store] = [newPlace("redis").broker!, redis.url(15)];
    const ids = [
      (await run("call", "t.add", "-a", "[5, 6]")).trim(),
      (await run("call", "t.add", "-a", "[7, 8]", "--priority", "5", "--countdown", "1")).trim(),
    ];
    for (const [from, to] of [[place.broker!, other], [other, store], [store, place.broker!]] as const) {
      assert.match(await run("migrate", from, to), /Migrating task 2\/2: t\.add/);
    }
    await using _worker = await startWorker(place);
    await using app = openApp(place);
    for (const [n, sum] of [11, 15].entries()) {
      assert.equal(await app.AsyncResult(ids[n]!).get({ timeout: 120 }), sum);
    }
  });
  await t.step("dead letters: listed, shown, put back", async () => {
    await run("call", "no.such.task");
    await using worker = await startWorker(place);
    await eventually(() => /unregistered task/.test(worker.text), "it is refused");
    await worker.stop();
    const [letter] = JSON.parse(await run("dead", "list", "-j")) as {
      id: string;
      task: string;
      queue: string;
    }[];
    assert.deepEqual([letter!.task, letter!.queue], ["no.such.task", "celery"]);
    assert.match(await run("dead", "show", letter!.id), /Unregistered task of type 'no\.such\.task'/);
    assert.match(await run("dead", "retry", letter!.id), /Put back 1/);
    assert.match(await run("purge", "-f"), /Purged 1 message/);
  });
  await t.step("priorities: the highest first", async () => {
    await using connection = await connect(realTestWorld(), place.broker!, CONNECT_OPTIONS);
    const urgent = queue("urgent", { queueArguments: { "x-max-priority": 10 } });
    await connection.declare(urgent);
    const app = openApp(place, { task_queue_max_priority: 10 });
    for (const priority of [0, 9, 5]) {
      await app.sendTask("t.echo", { args: [priority], queue: "urgent", priority });
    }
    await app.close();
    const got = [];
    for (let note; (note = await connection.take("urgent"));) got.push(note.message.properties.priority);
    assert.deepEqual(got, [9, 5, 0]);
  });
});
