/**
 * Sizes and deaths: groups, chains and chords of thousands, and chords whose workers are killed midway. Every body runs
 * once and sees every result in order; nothing of a chord stays behind.
 */

import assert from "node:assert/strict";
import { type App, type AsyncResult, chain, chord, group, type GroupResult, type Signature } from "lovage";
import { canvasApp } from "../support/canvas_tasks.ts";
import { eventually } from "../support/ports.ts";
import { type Place, type Program, startWorker } from "../support/programs.ts";
import { type RedisServer, startRedis } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";
import { temporaryFile } from "../support/temporary.ts";

const TASKS = filePath(new URL("../support/canvas_tasks.ts", import.meta.url));

Deno.test("canvas: sizes", async (t) => {
  await using redis = await startRedis();
  const { app, place, runs } = placeOn(redis);
  await using _app = app;
  await using _worker = await worker(place, ["-P", "processes", "-c", "2"]);
  const step = stepOf(app);

  await t.step("a group of 10,000", async () => {
    const sent = await group(range(10_000).map((n) => step(n))).delay();
    const values = await sent.get({ timeout: 120 }) as string[];
    assert.deepEqual(values, range(10_000).map((n) => `s${n}()`));
    await sent.forget();
  });

  await t.step("a chain of 1,000", async () => {
    const sent = await chain(
      range(1000).map((n) => app.signature("c.step", { args: [`x/${n}`], immutable: n > 0 })),
    )
      .delay();
    assert.equal(await sent.get({ timeout: 120 }), "999()");
  });

  await t.step("a chord of 10,000: the body once, in order", async () => {
    const before = (await runs()).length;
    const sent = await chord(range(10_000).map((n) => step(n)), app.signature("c.step", { args: ["x/body"] }))
      .delay();
    const value = await sent.get({ timeout: 120 });
    assert.equal(value, `body([${range(10_000).map((n) => `s${n}()`).join(",")}])`);
    const after = (await runs()).slice(before);
    assert.equal(after.filter((line) => line.includes("x/body")).length, 1);
    assert.equal(after.length, 10_001);
    await nothingLeft(redis);
  });

  await t.step("chords nested five deep", async () => {
    let canvas: Signature = step(0);
    for (let level = 1; level <= 5; level++) {
      canvas = chord([step(level), canvas], app.signature("c.step", { args: [`x/b${level}`] }));
    }
    const value = await (await canvas.delay()).get({ timeout: 120 });
    assert.equal(value, "b5([s5(),b4([s4(),b3([s3(),b2([s2(),b1([s1(),s0()])])])])])");
    await nothingLeft(redis);
  });
});

Deno.test("100 chords, a worker killed midway, at least once: every body runs, and once but for what was in hand", async () => {
  await using redis = await startRedis();
  const conf = { delivery: "at-least-once", lease: 2 };
  const { app, place, runs } = placeOn(redis, conf);
  await using _app = app;
  const step = stepOf(app);
  const sent = [];
  for (const n of range(100)) {
    const body = app.signature("c.step", { args: [`x/body${n}`] });
    sent.push(await chord(range(20).map((m) => step(m)), body).delay());
  }
  const args = ["-P", "processes", "-c", "2"];
  await using second = await worker(place, [...args, "-n", "b@%h"]);
  const first: Program = await worker(place, [...args, "-n", "a@%h"]);
  await eventually(async () => (await runs()).length > 400, "a fifth has run");
  first.signal("SIGKILL");
  await first.ended;
  const wanted = `[${range(20).map((m) => `s${m}()`).join(",")}]`;
  for (const n of range(100)) assert.equal(await sent[n]!.get({ timeout: 120 }), `body${n}(${wanted})`);
  // What the killed worker had in hand is run again by design: at most 64 messages a process, one in 21 of them a body.
  const counts = new Map<string, number>();
  for (const line of (await runs()).filter((line) => line.includes("x/body"))) {
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  assert.equal(counts.size, 100);
  const doubled = [...counts.values()].filter((count) => count > 1);
  assert.ok(doubled.length <= 20 && doubled.every((count) => count === 2), `bodies run again: ${doubled}`);
  // A member that runs again after its chord's end begins a list anew, which goes by itself.
  const left = (await redis.cli("--scan", "--pattern", "celery-taskset-meta-*.[jst]")).split("\n").filter(
    Boolean,
  );
  for (const key of left) assert.ok(Number(await redis.cli("TTL", key)) > 0, `${key} stays for ever`);
  void second;
});

Deno.test("chords end as in Celery", async (t) => {
  await using redis = await startRedis();
  const { app, place } = placeOn(redis);
  await using _app = app;
  await using _worker = await worker(place, ["-P", "processes", "-c", "2"]);
  const step = (label: string) => app.signature("c.step", { args: [`x/${label}`] });

  await t.step("a header whose member is a chain that ends in a group keeps the shape", async () => {
    const sent = await chord([chain(step("a"), group(step("b"), step("c"))), step("d")], step("end")).delay();
    assert.equal(await sent.get({ timeout: 120 }), "end([[b(a()),c(a())],d()])");
  });

  await t.step(
    "a task that goes on as a canvas with a group at its end gives the list of its results",
    async () => {
      const swap = (kind: string) => app.signature("c.swap", { args: [kind, "x/w"] });
      const [list, other] = ["[w2(w1()),w3(w1())]", "[w3([w1(),w2()]),w4([w1(),w2()])]"];
      const canvases: [Signature, string][] = [
        [chord([step("a"), swap("chaingroup")], step("end")), `end([a(),${list}])`],
        [chord([step("a"), swap("chordgroup")], step("end")), `end([a(),${other}])`],
        [chain(swap("chaingroup"), step("end")), `end(${list})`],
      ];
      for (const [canvas, value] of canvases) {
        assert.equal(await (await canvas.delay()).get({ timeout: 120 }), value);
      }
      assert.deepEqual(await (await swap("chaingroup").delay()).get({ timeout: 120 }), [
        "w2(w1())",
        "w3(w1())",
      ]);
      const body = await chord([step("a")], app.signature("c.swap", { args: ["chaingroup", "x/w"] })).delay();
      assert.deepEqual(await body.get({ timeout: 120 }), ["w2(w1([a()]))", "w3(w1([a()]))"]);
      const grouped = await group(step("a"), swap("chordgroup")).delay();
      assert.deepEqual(await grouped.get({ timeout: 120 }), ["a()", [
        "w3([w1(),w2()])",
        "w4([w1(),w2()])",
      ]]);
    },
  );

  await t.step("a result of a nested group that does not come fails the body", async () => {
    const quiet = () => app.signature("c.quiet", { args: ["x/q"] });
    const sent = await chord([chain(step("a"), group(quiet(), quiet())), step("d")], step("end")).delay();
    await assert.rejects(
      sent.get({ timeout: 120 }),
      /Join error: TimeoutError\('The operation timed out\.'\)/,
    );
  });

  await t.step("errbacks are children of the body that did not run", async () => {
    const body = step("end").onError(app.signature("c.err", { kwargs: { label: "x/e" } }));
    const sent = await chord([step("a"), app.signature("c.boom", { args: ["x/b"] })], body).delay();
    await assert.rejects(sent.get({ timeout: 120 }), /boom/);
    // A client hears of the member first, through the body's parent.
    const children = () => (sent as AsyncResult).children();
    await eventually(async () => await children() !== null, "the body has ended");
    const [errbacks] = await children() as unknown as GroupResult[];
    assert.deepEqual(await errbacks!.get({ timeout: 120 }), ["erred"]);
  });

  await t.step("a body that is a chain has the header's last member as parent", async () => {
    const sent = await chain(step("a"), chord([step("b"), step("c")], chain(step("d"), step("e")))).delay();
    await sent.get({ timeout: 120 });
    const body = (sent as AsyncResult).parent as AsyncResult;
    const header = (body.parent as GroupResult).results.map((one) => one.id);
    const { parent_id } = JSON.parse(await redis.cli("GET", `celery-task-meta-${body.id}`));
    assert.ok(header.includes(parent_id), `${parent_id} is not in ${header}`);
  });

  await t.step("a revoked step ends its chain, and the chord that the chain is in", async () => {
    const first = step("a");
    first.freeze();
    await app.control.revoke(first.options.taskId!, { reply: true, limit: 1, timeout: 5 });
    const sent = await chord([chain(first, step("b")), step("c")], step("end")).delay();
    // By its id alone: nothing leads from there to the step that was revoked.
    await assert.rejects(app.AsyncResult(sent.id).get({ timeout: 120 }), /TaskRevokedError\('revoked'\)/);
  });

  await t.step("get and forget leave no channel and no key", async () => {
    // The mark that a header has ended may come after `forget`, and expires by itself.
    const keys = async () =>
      (await redis.cli("--scan", "--pattern", "celery-task*")).split("\n").filter((key) =>
        !key.endsWith(".o")
      ).sort();
    const before = await keys();
    const pair = () => group(step("b"), step("c"));
    const canvases = [
      step("a"),
      chain(step("a"), step("b")),
      pair(),
      chain(step("a"), pair(), step("d")),
      chord([chain(step("a"), pair()), step("d")], step("end")),
      chain(pair(), pair()),
    ];
    for (const canvas of canvases) {
      const sent = await canvas.delay();
      await sent.get({ timeout: 120 });
      // UNSUBSCRIBE leaves after the turn that `get` ends in: redis-cli can be there first.
      const channels = () => redis.cli("PUBSUB", "CHANNELS", "celery-task-meta-*");
      await eventually(async () => await channels() === "", "no channel is left");
      await sent.forget();
    }
    assert.deepEqual(await keys(), before);
    for (const mark of (await redis.cli("--scan", "--pattern", "celery-taskset-meta-*.o")).split("\n")) {
      assert.notEqual(await redis.cli("TTL", mark), "-1", `${mark} stays for ever`);
    }
  });
});

Deno.test("a chord that fails leaves nothing to be tried again: its messages are settled, the log speaks of it alone", async () => {
  await using redis = await startRedis();
  const { app, place } = placeOn(redis, { task_acks_late: true });
  await using _app = app;
  await using running = await worker(place, ["-P", "processes", "-c", "2"]);
  const boom = app.signature("c.boom", { args: ["x/b"] });
  const body = app.signature("c.step", { args: ["x/end"] });
  const sent = await chord([stepOf(app)(1), boom], body).delay();
  await assert.rejects(app.AsyncResult(sent.id).get({ timeout: 120 }), /boom/);
  await eventually(async () => (await redis.cli("HLEN", "unacked")) === "0", "every message is settled");
  assert.equal(await running.stop(), 0);
  assert.doesNotMatch(running.text, /lost|Retry|Cannot/);
});

function range(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}

function stepOf(app: App): (n: number) => Signature {
  return (n) => app.signature("c.step", { args: [`x/s${n}`] });
}

function worker(place: Place, args: string[]): Promise<Program> {
  return startWorker(place, args, { app: TASKS, level: "WARNING", isReady: false });
}

/** The counters of every chord are gone. */
async function nothingLeft(redis: RedisServer): Promise<void> {
  await eventually(
    async () => (await redis.cli("--scan", "--pattern", "celery-taskset-meta-*.[jst]")) === "",
    "no key of a chord is left",
  );
}

function placeOn(redis: RedisServer, conf: Record<string, unknown> = {}) {
  const log = temporaryFile();
  const place: Place = { broker: redis.url(0), backend: redis.url(0), conf, env: { TEST_LOG: log } };
  const app = canvasApp({ broker_url: place.broker, result_backend: place.backend, ...conf });
  const runs = async () => (await Deno.readTextFile(log)).split("\n").filter((line) => line !== "");
  return { app, place, runs };
}
