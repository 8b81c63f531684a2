import assert from "node:assert/strict";
import {
  chain,
  chord,
  chunks,
  group,
  Signature,
  signature,
  xmap,
  xstarmap,
} from "../../../lib/canvas/mod.ts";
import { type App, type AsyncResult, EagerResult, type Task } from "../../../lib/app/mod.ts";
import { Ignore, Reject } from "../../../lib/wire/mod.ts";
import golden from "../../golden/canvas-publish-5.6.3.json" with { type: "json" };
import { documentOf, MiniWorker } from "./mini_worker.ts";

class ValueError extends Error {}

interface Tasks {
  add: Task<[number, number], number>;
  mul: Task<[number, number], number>;
  tsum: Task<[number[]], number>;
  fail: Task<[string], number>;
}

function define(app: App): void {
  app.task("tasks.add", (x: number, y: number) => x + y);
  app.task("tasks.mul", (x: number, y: number) => x * y);
  app.task("tasks.tsum", (numbers: number[]) => numbers.reduce((a, b) => a + b, 0));
  app.task("tasks.echo", (value: unknown) => value);
  app.task("tasks.fail", (text: string) => {
    throw new ValueError(text);
  });
  app.task("tasks.on_error", (id: string) => id);
}
const tasksOf = (app: App): Tasks => ({
  add: app.tasks.need("tasks.add"),
  mul: app.tasks.need("tasks.mul"),
  tsum: app.tasks.need("tasks.tsum"),
  fail: app.tasks.need("tasks.fail"),
});

/** Ids become U0, U1 … in the order they are met; options that are null are left out, as is who is asked to reply. */
function canonical(value: unknown): unknown {
  const ids = new Map<string, string>();
  const walk = (one: unknown): unknown => {
    if (typeof one === "string" && /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(one)) {
      if (!ids.has(one)) ids.set(one, `U${ids.size}`);
      return ids.get(one);
    }
    if (Array.isArray(one)) return one.map(walk);
    if (one === null || typeof one !== "object") return one;
    const kept: Record<string, unknown> = {};
    for (const [name, inner] of Object.entries(one).sort(([a], [b]) => a < b ? -1 : 1)) {
      if (inner === null || name === "reply_to") continue;
      if (name === "add_to_parent" || name === "parent_id" && inner === null) continue;
      kept[name] = walk(inner);
    }
    return kept;
  };
  return walk(value);
}

Deno.test("canvases are published as Celery 5.6 publishes them", async () => {
  const sig = (name: string, ...args: unknown[]) => signature(`tasks.${name}`, { args });
  const cases: [string, () => Signature][] = [
    ["chain of 3", () => chain(sig("add", 1, 2), sig("mul", 4), sig("echo"))],
    [
      "chain with link_error",
      () => chain(sig("add", 1, 1), sig("mul", 2), sig("echo")).onError(sig("on_error")),
    ],
    ["group of 3", () => group([0, 1, 2].map((n) => sig("add", n, n)))],
    ["chord (2 header tasks)", () => chord([sig("add", 1, 1), sig("add", 2, 2)], sig("tsum"))],
    ["chord of one", () => chord([sig("add", 1, 1)], sig("tsum"))],
    [
      "chain | group (becomes chain ending in a group)",
      () => chain(sig("add", 1, 1), group(sig("mul", 2), sig("mul", 3))),
    ],
    ["group | task (becomes a chord)", () => group(sig("add", 1, 1), sig("add", 2, 2)).pipe(sig("tsum"))],
    [
      "task | group | task | task (chain ending in a chord)",
      () => sig("add", 1, 1).pipe(group(sig("mul", 2), sig("mul", 3)), sig("tsum"), sig("echo")),
    ],
    [
      "chord whose header holds a chain and whose body is a chain",
      () =>
        chord([chain(sig("add", 1, 1), sig("mul", 3)), sig("add", 2, 2)], chain(sig("tsum"), sig("echo"))),
    ],
    [
      "group of chords",
      () => group<unknown>(chord([sig("add", 1, 1), sig("add", 2, 2)], sig("tsum")), sig("add", 9, 9)),
    ],
    [
      "chord in chord header",
      () => chord([chord([sig("add", 1, 1), sig("add", 2, 2)], sig("tsum")), sig("add", 3, 3)], sig("tsum")),
    ],
    ["map", () => xmap(sig("tsum"), [[1, 2], [3, 4]])],
    ["starmap", () => xstarmap(sig("add"), [[1, 2], [3, 4]])],
    ["chunks(3)", () => chunks(sig("add"), [0, 1, 2, 3, 4, 5, 6].map((n) => [n, n]), 3)],
    ["stamped chain", () => chain(sig("add", 1, 2), sig("mul", 4), sig("echo")).stamp({ tenant: "acme" })],
  ];
  for (const [scenario, make] of cases) {
    await using worker = new MiniWorker({}, define);
    await make().applyAsync();
    const want = golden.messages.find((one) => one.scenario === scenario)!;
    const got = worker.sent.map(({ headers, args, kwargs, embed }) => ({
      headers: Object.fromEntries(
        Object.keys(want.published[0]!.headers).map((name) => [name, headers[name]]),
      ),
      body: [args, kwargs, embed],
    }));
    assert.deepEqual(canonical(got), canonical(want.published), scenario);
  }
});

Deno.test("canvases of every shape come to what they should", async () => {
  await using worker = new MiniWorker({}, define);
  const { add, mul, tsum } = tasksOf(worker.app);
  const cases: [Signature, unknown][] = [
    [chain(add.s(1, 2), mul.s(4), add.s(1)), 13],
    [chord([add.s(1, 1), add.s(2, 2)], tsum.s()), 6],
    [chord([add.s(1, 1)], tsum.s()), 2],
    [chord([] as Signature[], tsum.s()), 0],
    [chain(add.s(1, 1), group(mul.s(2), mul.s(10)), tsum.s(), add.s(1)), 25],
    [chord([chain(add.s(1, 1), mul.s(3)), add.s(2, 2)], chain(tsum.s(), add.s(100))), 110],
    [chord([chord([add.s(1, 1), add.s(2, 2)], tsum.s()), add.s(3, 3)], tsum.s()), 12],
    [chain(group(add.s(1, 1), add.s(2, 2)), group(tsum.s(), tsum.s()), tsum.s()), 12],
    [tsum.map([[1, 2], [3, 4]]), [3, 7]],
    [add.starmap([[1, 2], [3, 4]]), [3, 7]],
    [add.si(2, 2).pipe(add.si(3, 3)), 6],
    [chain(add.s(1, 1), chain(mul.s(2), mul.s(3))), 12],
  ];
  for (const [canvas, want] of cases) {
    const text = JSON.stringify(canvas).slice(0, 300);
    const read = Signature.fromWire(JSON.parse(JSON.stringify(canvas)));
    for (const one of [canvas, read]) {
      const result = await one.applyAsync();
      await worker.drain();
      assert.deepEqual((await worker.stored(result.id))?.result, want, text);
    }
  }
});

Deno.test("a group gives its members' values, a chunk its lists", async () => {
  await using worker = new MiniWorker({}, define);
  const { add } = tasksOf(worker.app);
  const results = await group(add.s(1, 1), add.s(2, 2)).applyAsync();
  const parts = await add.chunks([[1, 1], [2, 2], [3, 3]], 2).applyAsync();
  await worker.drain();
  assert.deepEqual(await results.get({ timeout: 5 }), [2, 4]);
  assert.deepEqual(await parts.get({ timeout: 5 }), [[2, 4], [6]]);
});

Deno.test("a failed header fails the body with ChordError, and its errbacks hear of it", async () => {
  await using worker = new MiniWorker({}, define);
  const { add, fail, tsum } = tasksOf(worker.app);
  const body = tsum.s().onError(signature("tasks.on_error"));
  const result = await chord([add.s(1, 1), fail.s("bad")], body).applyAsync();
  await worker.drain();
  const meta = await worker.stored(result.id);
  assert.equal(meta?.state, "FAILURE");
  const { excType, args } = meta.result as { excType: string; args: string[] };
  assert.equal(excType, "ChordError");
  assert.match(args[0]!, /^Dependency [0-9a-f-]+ raised ValueError\('bad'\)$/);
  const told = worker.sent.at(-1)!;
  assert.deepEqual([told.headers["task"], told.args], ["tasks.on_error", [result.id]]);
});

Deno.test("a chain that breaks fails every step after it, and its errbacks are sent with the failed id", async () => {
  await using worker = new MiniWorker({}, define);
  const { add, fail, tsum } = tasksOf(worker.app);
  const broken = fail.si("mid").set({ taskId: "mid" });
  const result = await chain(add.s(1, 1), broken, group(add.s(1), add.s(2)), tsum.s()).onError(
    signature("tasks.on_error"),
  ).applyAsync();
  await worker.drain();
  assert.equal((await worker.stored("mid"))?.state, "FAILURE");
  const last = await worker.stored(result.id);
  assert.deepEqual([last?.state, (last?.result as { excType: string }).excType], ["FAILURE", "ValueError"]);
  const told = worker.sent.at(-1)!;
  assert.deepEqual([told.headers["task"], told.args, told.headers["parent_id"]], [
    "tasks.on_error",
    ["mid"],
    "mid",
  ]);
});

Deno.test("a member of a chord that fails inside its chain does not stall the chord", async () => {
  await using worker = new MiniWorker({}, define);
  const { add, fail, tsum } = tasksOf(worker.app);
  const result = await chord([chain(fail.s("x"), add.s(1), add.s(2)), add.s(1, 1)], tsum.s()).applyAsync();
  await worker.drain();
  assert.equal((await worker.stored(result.id))?.state, "FAILURE");
});

Deno.test("callbacks get the result; several are a group; all are children", async () => {
  await using worker = new MiniWorker({}, define);
  const { add, mul } = tasksOf(worker.app);
  const outcome = await worker.call("tasks.add", [1, 2], {}, { taskId: "t", link: [add.s(10), mul.s(10)] });
  const sent = worker.sent.slice(-2);
  assert.deepEqual(sent.map((one) => one.args), [[3, 10], [3, 10]]);
  assert.equal(sent[0]!.headers["group"], sent[1]!.headers["group"]);
  assert.equal((documentOf(outcome)["children"] as unknown[]).length, 1);
});

Deno.test("self.addToChord adds a member that the body waits for", async () => {
  await using worker = new MiniWorker({}, (app) => {
    define(app);
    app.task("unit.grow", { bind: true }, async (self, n: number) => {
      if (n > 0) await self.addToChord(app.signature("unit.grow", { args: [n - 1] }));
      return 1;
    });
  });
  const { tsum } = tasksOf(worker.app);
  const result = await chord([worker.app.signature("unit.grow", { args: [2] })], tsum.s()).applyAsync();
  await worker.drain();
  assert.equal((await worker.stored(result.id))?.result, 3);
});

Deno.test("chord_unlock sends the body once all are ready, and asks again before", async () => {
  await using worker = new MiniWorker({}, define);
  const backend = await worker.app.openBackend();
  const unlock = () =>
    worker.call("celery.chord_unlock", ["gid", worker.app.signature("tasks.tsum").toJSON()], {
      interval: null,
      max_retries: null,
      result: [[["a", null], null], [["b", null], null]],
    });
  const early = await unlock();
  assert.deepEqual([early.kind, early.summary], ["retry", "Retry in 1s"]);
  for (const [id, value] of [["a", 1], ["b", 2]]) {
    const document = JSON.stringify({ status: "SUCCESS", result: value, task_id: id });
    backend.store({ taskId: String(id), state: "SUCCESS", document, guard: false, replyTo: null }, null);
  }
  await backend.flush();
  assert.equal((await unlock()).kind, "success");
  assert.deepEqual([worker.sent.at(-1)!.headers["task"], worker.sent.at(-1)!.args], ["tasks.tsum", [[1, 2]]]);
});

Deno.test("chord_unlock fails the body of a header that does not end", async () => {
  await using worker = new MiniWorker({}, define);
  const backend = await worker.app.openBackend();
  const body = worker.app.signature("tasks.tsum", { taskId: "the-body" }).toJSON();
  const kwargs = { interval: 0.5, max_retries: 0, result: [[["a", null], null]] };
  assert.equal((await worker.call("celery.chord_unlock", ["gid", body], kwargs)).kind, "success");
  const meta = await backend.fetch("the-body");
  assert.deepEqual([meta?.state, (meta?.result as { args: unknown[] }).args[0]], [
    "FAILURE",
    "Dependency a has not ended after 0 checks",
  ]);
});

Deno.test("accumulate, chain and cleanup are there", async () => {
  await using worker = new MiniWorker();
  assert.equal((await worker.call("celery.accumulate", [[1, 2], 3], { index: 0 })).summary, "[1, 2]");
  assert.equal((await worker.call("celery.accumulate", [1, 2])).summary, "[1, 2]");
  assert.match((await worker.call("celery.chain")).summary, /^NotImplementedError/);
  assert.equal((await worker.call("celery.backend_cleanup")).kind, "success");
});

Deno.test("task_always_eager runs every call and canvas at once", async () => {
  await using worker = new MiniWorker({ task_always_eager: true }, define);
  const { add, mul, tsum, fail } = tasksOf(worker.app);
  const result = await add.delay(1, 2);
  assert.equal(result instanceof EagerResult, true);
  assert.equal(await result.get(), 3);
  assert.equal(await (await chain(add.s(1, 2), mul.s(2)).applyAsync()).get(), 6);
  assert.deepEqual(await (await group(add.s(1, 1), add.s(2, 2)).applyAsync()).get(), [2, 4]);
  assert.equal(await (await chord([add.s(1, 1), add.s(2, 2)], tsum.s()).applyAsync()).get(), 6);
  const failed = await fail.delay("no");
  assert.equal(await failed.state(), "FAILURE");
  await assert.rejects(failed.get(), ValueError);
  await assert.rejects(add.delay(1, (() => 1) as unknown as number), /./);
  assert.equal(worker.sent.length, 0);
});

Deno.test("a chain of chords is a chain, not chords in one another's bodies", async () => {
  await using worker = new MiniWorker({}, define);
  const { add, tsum } = tasksOf(worker.app);
  const sizes: number[] = [];
  for (const count of [3, 6]) {
    let canvas: Signature = chord([add.s(1, 1)], tsum.s());
    for (let n = 1; n < count; n++) canvas = canvas.pipe(chord([add.s(1)], tsum.s()));
    const before = worker.sent.length;
    const result = await canvas.applyAsync();
    await worker.drain();
    assert.equal(await (result as AsyncResult).get({ timeout: 5 }), count + 1);
    const sent = worker.sent.slice(before);
    assert.equal(sent.length, 2 * count);
    sizes.push(Math.max(...sent.map((one) => JSON.stringify(one.embed).length)));
  }
  // Twice as many chords, twice the size; nested in one another's bodies, hundreds of times.
  assert.ok(sizes[1]! < 3 * sizes[0]!, `${sizes}`);
});

Deno.test("an empty group in a chain is left out, sent and eager", async () => {
  for (const settings of [{}, { task_always_eager: true }]) {
    await using worker = new MiniWorker(settings, define);
    const { add, tsum } = tasksOf(worker.app);
    const cases: [string, Signature, unknown][] = [
      ["in the middle", chain(add.s(1, 1), group(), add.s(3)), 5],
      ["first", chain(group(), add.s(1, 2)), 3],
      ["last", chain(add.s(1, 1), add.s(1), group()), 3],
      ["twice", chain(add.s(1, 1), group(), group(), add.s(3)), 5],
      ["piped", add.s(1, 1).pipe(group(), add.s(3)), 5],
      ["behind a group", chain(group(add.s(1, 1), add.s(2, 2)), group(), group()), [2, 4]],
      ["between a group and a task", chain(group(add.s(1, 1), add.s(2, 2)), group(), tsum.s()), 6],
      ["behind a chord", chord([add.s(1, 1), add.s(2, 2)], tsum.s()).pipe(group(), add.s(1)), 7],
      ["written down", signature(chain(add.s(1, 1), add.s(3)).toJSON()), 5],
      // As a client that knows nothing of this writes it.
      [
        "not left out before",
        rawChain(group(), add.s(1, 1), group(), rawChain(group(), add.s(3)), group()),
        5,
      ],
    ];
    for (const [what, canvas, expected] of cases) {
      canvas.app ??= add.s(0, 0).app;
      const result = await canvas.applyAsync() as AsyncResult;
      await worker.drain();
      assert.deepEqual(await result.get({ timeout: 5 }), expected, what);
    }
    // Arguments for the first step come to the first that is a task.
    const partial = await rawChain(group(), add.s(1), add.s(3)).applyAsync([2]) as AsyncResult;
    await worker.drain();
    assert.equal(await partial.get({ timeout: 5 }), 6);
  }
});

/** A chain of just these steps, as it is read from a message. */
function rawChain(...tasks: Signature[]): Signature {
  const made = signature({
    ...chain(tasks[1]!, tasks[1]!).toJSON(),
    kwargs: { tasks: tasks.map((task) => task.toJSON()) },
  });
  made.app = tasks[1]!.app;
  return made;
}

Deno.test("a chord fails with its chained header or chained body, and its errback is sent once", async () => {
  await using worker = new MiniWorker({}, define);
  const { add, fail, tsum } = tasksOf(worker.app);
  const echo = signature("tasks.echo");
  const errback = signature("tasks.on_error");
  const cases: [string, Signature][] = [
    [
      "body of a chain",
      rawChain(rawChain(group(add.s(1, 1), fail.s("bad")), tsum.s()), add.s(1)).onError(errback),
    ],
    ["body piped", chain(chain(group(add.s(1, 1), fail.s("bad")), tsum.s()), add.s(1)).onError(errback)],
    [
      "header whose first step fails before a group",
      chord(
        [chain(fail.s("bad"), group(echo.clone(), echo.clone()), tsum.s()), add.s(1, 1)],
        tsum.s().onError(errback),
      ),
    ],
    [
      "header whose group fails",
      chord([chain(add.s(1, 1), group(echo.clone(), fail.si("bad")), tsum.s())], tsum.s().onError(errback)),
    ],
    [
      "header that breaks, body a chain",
      chord([chain(add.s(1, 1), fail.si("bad"), add.s(1))], chain(tsum.s(), add.s(1)).onError(errback)),
    ],
  ];
  for (const [what, canvas] of cases) {
    canvas.app ??= add.s(0, 0).app;
    const before = worker.sent.length;
    const result = await canvas.applyAsync();
    await worker.drain();
    assert.equal((await worker.stored(result.id))?.state, "FAILURE", what);
    const told = worker.sent.slice(before).filter((one) => one.headers["task"] === "tasks.on_error");
    assert.equal(told.length, 1, what);
  }
});

Deno.test("an eager chain ends with a step that is ignored or rejected", async () => {
  const ran: string[] = [];
  await using worker = new MiniWorker({ task_always_eager: true }, (app) => {
    define(app);
    app.task("unit.ignore", () => {
      throw new Ignore();
    });
    app.task("unit.reject", () => {
      throw new Reject("no");
    });
    app.task("unit.next", (value: unknown) => void ran.push(String(value)));
  });
  const { add } = tasksOf(worker.app);
  for (const [name, state] of [["unit.ignore", "IGNORED"], ["unit.reject", "REJECTED"]] as const) {
    const steps = [
      add.s(1, 1),
      worker.app.signature(name, { immutable: true }),
      worker.app.signature("unit.next"),
    ];
    const result = await chain(...steps).applyAsync() as AsyncResult;
    assert.equal(await result.state(), state);
    assert.equal(await (result.parent as AsyncResult).get(), 2);
    assert.equal(await result.exists(), true);
  }
  assert.deepEqual(ran, []);
});

Deno.test("apply runs here: retries at once, errors in the result or thrown", async () => {
  await using worker = new MiniWorker({}, (app) => {
    define(app);
    app.task("unit.retries", { bind: true }, (self) => {
      if (self.request.retries < 2) throw self.retry({ countdown: 100 });
      return self.request.retries;
    });
    app.task("unit.replaced", { bind: true }, (self, x: number) => {
      self.replace(app.signature("tasks.add", { args: [x, 1] }));
    });
  });
  const retries = await worker.app.tasks.need("unit.retries").apply();
  assert.equal(await retries.get(), 2);
  assert.equal(await (await worker.app.tasks.need("unit.replaced").apply([4])).get(), 5);
  const { fail } = tasksOf(worker.app);
  await assert.rejects(fail.apply(["x"], {}, { throw: true }), ValueError);
  worker.app.conf.task_eager_propagates = true;
  await assert.rejects(fail.apply(["x"]), ValueError);
});

Deno.test("eager tasks know their parent and root; a chain's callback runs once, with its end", async () => {
  const marks: unknown[] = [];
  await using worker = new MiniWorker({ task_always_eager: true }, (app) => {
    define(app);
    app.task("unit.mark", (value: unknown) => void marks.push(value));
    const ids = app.task("unit.ids", { bind: true }, ({ request }) => [request.rootId, request.parentId]);
    app.task(
      "unit.outer",
      { bind: true },
      async ({ request }) => [request.id, await (await ids.delay()).get()],
    );
  });
  const { add } = tasksOf(worker.app);
  const [id, inner] = await (await worker.app.tasks.need("unit.outer").delay()).get() as [string, unknown];
  assert.deepEqual(inner, [id, id]);
  const canvas = chain(add.s(1, 1), add.s(1));
  canvas.link(worker.app.signature("unit.mark"));
  assert.equal(await (await canvas.delay()).get(), 3);
  assert.deepEqual(marks, [3]);
});
