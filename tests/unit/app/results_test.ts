import assert from "node:assert/strict";
import { OperatingError, UsageError } from "../../../lib/base/mod.ts";
import { AppControl } from "../../../lib/mailbox/mod.ts";
import { App, appExtensions, type AsyncResult, GroupResult, runAsTask } from "../../../lib/app/mod.ts";
import { exchange, queue } from "../../../lib/transport/mod.ts";
import {
  bodyBytes,
  RemoteError,
  type ResultTuple,
  TaskRevokedError,
  TimeoutError,
} from "../../../lib/wire/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

appExtensions.control = (app) => new AppControl(app);
let stores = 0;

/** An App over a memory store of its own. */
function withStore(settings = {}) {
  const world = fakeWorld();
  const url = `memory://results-${stores++}`;
  const app = new App("t", { broker_url: "memory://", result_backend: url, ...settings }, { world });
  return { app, world };
}

class ValueError extends Error {}

Deno.test("AsyncResult: get gives the value, before and after it is there", async () => {
  const { app } = withStore();
  await using _ = app;
  await app.backend.storeResult("a", { x: 1 }, "SUCCESS");
  assert.deepEqual(await app.AsyncResult("a").get({ timeout: 5 }), { x: 1 });
  const waiting = app.AsyncResult<number>("b").get();
  await app.backend.storeResult("b", null, "STARTED");
  await app.backend.storeResult("b", 7, "SUCCESS");
  assert.equal(await waiting, 7);
});

Deno.test("AsyncResult.exists: whether the store has anything of it, which it is asked each time", async () => {
  const { app } = withStore();
  await using _ = app;
  const result = app.AsyncResult("a");
  assert.equal(await result.exists(), false);
  await app.backend.storeResult("a", null, "STARTED");
  assert.equal(await result.exists(), true);
  await app.backend.storeResult("a", 1, "SUCCESS");
  assert.equal(await result.get({ timeout: 5 }), 1);
  // Its end is kept here; that somebody else forgot it is seen nevertheless.
  await app.AsyncResult("a").forget();
  assert.deepEqual([await result.exists(), await result.state()], [false, "SUCCESS"]);
});

Deno.test("AsyncResult: results of a type that is not accepted are not read", async () => {
  const { app, world } = withStore();
  await using _ = app;
  await app.backend.storeResult("a", 1, "SUCCESS");
  const read = async (settings: object) => {
    const given = { broker_url: "memory://", result_backend: app.conf.result_backend, ...settings };
    await using reader = new App("reader", given, { world });
    return await reader.AsyncResult("a").get({ timeout: 5 });
  };
  await assert.rejects(read({ accept_content: ["yaml"] }), { name: "ContentDisallowed" });
  await assert.rejects(read({ result_accept_content: ["yaml"] }), { name: "ContentDisallowed" });
  assert.equal(await read({ accept_content: ["yaml"], result_accept_content: ["json"] }), 1);
});

Deno.test("AsyncResult: is not thenable, and costs nothing to make", async () => {
  const { app } = withStore();
  const result = app.AsyncResult("x");
  assert.equal((result as { then?: unknown }).then, undefined);
  assert.equal(await Promise.resolve(result), result);
  assert.equal(app.backend.opened, null);
  await app.close();
});

Deno.test("AsyncResult: states on the way and what is known", async () => {
  const { app } = withStore();
  await using _ = app;
  const result = app.AsyncResult("a");
  assert.equal(await result.state(), "PENDING");
  assert.equal(await result.info(), null);
  const heard: unknown[] = [];
  const waiting = result.get({ onMessage: (meta) => heard.push([meta.state, meta.result]) });
  await app.backend.open();
  await app.backend.storeResult("a", { done: 50 }, "PROGRESS");
  assert.deepEqual([await result.state(), await result.info(), await result.ready()], ["PROGRESS", {
    done: 50,
  }, false]);
  await app.backend.storeResult("a", "end", "SUCCESS");
  assert.equal(await waiting, "end");
  assert.deepEqual(heard.at(-1), ["SUCCESS", "end"]);
  assert.ok(await result.ready() && await result.successful() && !await result.failed());
  assert.match((await result.dateDone())!, /^2024-01-02T03:04:05\.678000\+00:00$/);
  assert.deepEqual(await result.children(), null);
});

Deno.test("AsyncResult: a failure is thrown as its own class with the remote traceback", async () => {
  const { app } = withStore();
  await using _ = app;
  await app.backend.storeResult("f", new ValueError("bad"), "FAILURE", { traceback: "Traceback: there" });
  await app.backend.storeResult("t", new TypeError("no"), "FAILURE");
  await app.backend.storeResult("r", new TaskRevokedError("revoked"), "REVOKED");
  await assert.rejects(app.AsyncResult("f").get(), (error: unknown) => {
    assert.ok(error instanceof RemoteError);
    assert.deepEqual([error.name, error.module, error.args, error.traceback], [
      "ValueError",
      "builtins",
      ["bad"],
      "Traceback: there",
    ]);
    return true;
  });
  await assert.rejects(app.AsyncResult("t").get(), TypeError);
  await assert.rejects(app.AsyncResult("r").get(), TaskRevokedError);
  const error = await app.AsyncResult("f").get({ propagate: false });
  assert.ok(error instanceof RemoteError);
  assert.equal(await app.AsyncResult("f").traceback(), "Traceback: there");
  assert.ok(await app.AsyncResult("f").failed());
});

Deno.test("AsyncResult: timeout and abort leave no timer behind", async () => {
  const { app, world } = withStore();
  await using _ = app;
  const late = assert.rejects(app.AsyncResult("never").get({ timeout: 1.5 }), TimeoutError);
  await world.clock.advance(1600);
  await late;
  const abort = new AbortController();
  const stopped = assert.rejects(
    app.AsyncResult("never").get({ timeout: 9, signal: abort.signal }),
    /enough/,
  );
  await world.clock.settle();
  abort.abort(new Error("enough"));
  await stopped;
});

Deno.test("AsyncResult: the stack of a timeout has the line that waits", async () => {
  const { app, world } = withStore();
  await using _ = app;
  async function waiter(): Promise<unknown> {
    return await app.AsyncResult("never").get({ timeout: 1.5 });
  }
  const late = assert.rejects(waiter(), ({ stack }: Error) => /at async waiter /.test(stack ?? ""));
  await world.clock.advance(1600);
  await late;
});

Deno.test("AsyncResult: a parent that fails ends the wait soon; only the result is subscribed to", async () => {
  const { app, world } = withStore();
  await using _ = app;
  const last = app.resultFromTuple([["c", [["b", [["a", null], null]], null]], null]) as AsyncResult;
  const backend = await app.backend.open();
  const watched: string[] = [];
  const watch = backend.watch.bind(backend);
  backend.watch = (ids, ...on) => {
    watched.push(...ids);
    return watch(ids, ...on);
  };
  const waiting = assert.rejects(last.get(), /first step/);
  await app.backend.storeResult("b", null, "STARTED");
  await world.clock.advance(1000);
  await app.backend.storeResult("a", new ValueError("first step"), "FAILURE");
  await world.clock.advance(1000);
  await waiting;
  assert.deepEqual(watched, ["c"]);
  assert.deepEqual(last.asTuple(), [["c", [["b", [["a", null], null]], null]], null]);
});

Deno.test("AsyncResult: a body that failed tells the error of its header's member, farthest first", async () => {
  const { app } = withStore();
  await using _ = app;
  const members: ResultTuple[] = [[["m1", null], null], [["m2", null], null]];
  const bodyBehind = (before: ResultTuple[0][1]): ResultTuple => [["body", [["g", before], members]], null];
  const body = app.resultFromTuple(bodyBehind(null)) as AsyncResult;
  const waiting = assert.rejects(body.get(), /bad member/);
  await app.backend.storeResult("m1", 1, "SUCCESS");
  await app.backend.storeResult("m2", new ValueError("bad member"), "FAILURE");
  await app.backend.storeResult("body", new Error("Dependency m2 raised"), "FAILURE");
  await waiting;
  // Also where the end was seen before.
  const again = app.resultFromTuple(body.asTuple()) as AsyncResult;
  assert.equal(await again.state(), "FAILURE");
  await assert.rejects(again.get(), /bad member/);
  await assert.rejects(again.get({ followParents: false }), /Dependency m2/);
  assert.match(String(await again.get({ propagate: false })), /Dependency m2/);
  await app.backend.storeResult("a", new ValueError("before the header"), "FAILURE");
  const chained = app.resultFromTuple(bodyBehind([["a", null], null])) as AsyncResult;
  await assert.rejects(chained.get(), /before the header/);
});

Deno.test("AsyncResult: a result that is there is one, whatever its parents say", async () => {
  const { app } = withStore();
  await using _ = app;
  await app.backend.storeResult("a", new ValueError("its first attempt"), "FAILURE");
  await app.backend.storeResult("b", 1, "SUCCESS");
  assert.equal(await (app.resultFromTuple([["b", [["a", null], null]], null]) as AsyncResult).get(), 1);
});

Deno.test("AsyncResult: ignored results, no store, inside a task", async () => {
  const { app } = withStore();
  await using _ = app;
  app.publisher = { publish: () => Promise.resolve(), close: () => Promise.resolve() };
  const ignored = await app.sendTask("t", { ignoreResult: true });
  assert.equal(await ignored.get(), null);
  const none = new App("n", { broker_url: "memory://" }, { world: fakeWorld() });
  await assert.rejects(
    none.AsyncResult("x").get(),
    (error: unknown) =>
      error instanceof OperatingError && /No result backend is configured/.test(error.message),
  );
  const current = {
    id: "me",
    name: "t.me",
    rootId: "root",
    priority: 0,
    trail: true,
    request: null as never,
    isIdle: false,
    carrier: null,
    isUnsampled: false,
    addChild: () => {},
  };
  await runAsTask(current, async () => {
    await assert.rejects(app.AsyncResult("x").get(), /Never call result\.get\(\) within a task/);
  }, null);
});

Deno.test("AsyncResult: forget, revoke", async () => {
  const { app, world } = withStore();
  await using _ = app;
  await app.backend.storeResult("a", 1, "SUCCESS");
  const result = app.AsyncResult("a");
  assert.equal(await result.get(), 1);
  await result.forget();
  assert.equal(await result.state(), "PENDING");
  const workers = await app.connectBroker({ forWriting: false });
  const pidbox = exchange("celery.pidbox", { type: "fanout", durable: false });
  const revoked: unknown[] = [];
  await workers.subscribe(
    queue("w1@vm.celery.pidbox", { exchange: pidbox, routingKey: "", autoDelete: true }),
    ({ message }) => {
      const { method, arguments: { task_id, terminate, signal } } = JSON.parse(
        new TextDecoder().decode(bodyBytes(message)),
      );
      revoked.push([method, task_id, terminate, signal]);
    },
  );
  await result.revoke({ terminate: true, signal: "SIGKILL" });
  await new GroupResult("g", [app.AsyncResult("x"), app.AsyncResult("y")], app).revoke();
  await world.clock.settle();
  await workers.close();
  assert.deepEqual(revoked, [["revoke", "a", true, "SIGKILL"], ["revoke", ["x", "y"], false, "SIGTERM"]]);
});

Deno.test("GroupResult: join in order, iteration in order of completion, nested groups", async () => {
  const { app } = withStore();
  await using _ = app;
  const inner = new GroupResult("in", [app.AsyncResult("c"), app.AsyncResult("d")], app);
  const group = new GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b"), inner], app);
  const joined = group.join();
  const order: unknown[] = [];
  const iterating = (async () => {
    for await (const [id] of group.iterNative()) order.push(id);
  })();
  await app.backend.open();
  await Promise.resolve();
  assert.equal(await group.completedCount(), 0);
  for (const id of ["d", "b", "a", "c"]) await app.backend.storeResult(id, id.toUpperCase(), "SUCCESS");
  assert.deepEqual(await joined, ["A", "B", ["C", "D"]]);
  await iterating;
  assert.deepEqual(order.toSorted(), ["a", "b", "c", "d"]);
  assert.equal(await group.completedCount(), 4);
  assert.ok(await group.ready() && await group.successful() && !await group.failed());
});

Deno.test("GroupResult: the first failure is thrown, or returned in its place", async () => {
  const { app } = withStore();
  await using _ = app;
  const group = new GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")], app);
  await app.backend.storeResult("a", 1, "SUCCESS");
  await app.backend.storeResult("b", new ValueError("bad"), "FAILURE");
  await assert.rejects(group.join(), /bad/);
  const [one, two] = await group.join({ propagate: false });
  assert.equal(one, 1);
  assert.ok(two instanceof RemoteError);
  await assert.rejects(group.maybeThrow(), /bad/);
  assert.ok(await group.failed());
});

Deno.test("GroupResult: save, restore, delete; tuples both ways", async () => {
  const { app } = withStore();
  await using _ = app;
  const group = new GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")], app, app.AsyncResult("p"));
  await group.save();
  const restored = await app.GroupResult.restore("g");
  assert.deepEqual(restored?.asTuple(), [["g", [["p", null], null]], [[["a", null], null], [
    ["b", null],
    null,
  ]]]);
  await group.delete();
  assert.equal(await app.GroupResult.restore("g"), null);
  assert.throws(() => app.resultFromTuple([[1]] as never), UsageError);
});

Deno.test("a caller that takes each result before it sends the next call: the result itself ends the sending", async () => {
  const { app } = withStore();
  app.conf.broker_url = "amqp://confirms";
  await using _ = app;
  const taken: string[] = [];
  let isTaken = true;
  app.publisher = {
    // A broker that delivers, and is slow to say so.
    publish: async ([one]) => {
      const id = String(one!.message.headers["id"]);
      taken.push(id);
      await app.backend.storeResult(id, taken.length, "SUCCESS");
      if (!isTaken) await new Promise(() => {});
    },
    close: () => Promise.resolve(),
  };
  assert.equal(await (await app.sendTask("x")).get(), 1);
  isTaken = false;
  for (const n of [2, 3]) assert.equal(await (await app.sendTask("x")).get(), n);
  await app.sendTask("nobody asks for this one");
  let isSent = false;
  void app.sendTask("so this one's publish alone tells").then(() => isSent = true);
  await app.backend.getTaskMeta(taken[4]!);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual([taken.length, isSent], [5, false]);
});
