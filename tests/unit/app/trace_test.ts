import { deepStrictEqual as equal, match, ok, strictEqual } from "node:assert/strict";
import { currentTask } from "../../../lib/app/mod.ts";
import { Ignore, Reject, SoftTimeLimitExceeded, TaskRevokedError } from "../../../lib/wire/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { documentOf, MiniWorker, type Outcome } from "./mini_worker.ts";

class ValueError extends Error {}

Deno.test("a synchronous task gives its outcome at once, without a promise", async () => {
  await using worker = new MiniWorker({}, (app) => app.task("unit.add", (x: number, y: number) => x + y));
  const message = await worker.message("unit.add", [1], { y: 2 }, { taskId: "t1", groupId: "g" });
  const outcome = worker.run(message) as Outcome;
  ok(!(outcome instanceof Promise));
  strictEqual(outcome.kind, "success");
  strictEqual(outcome.summary, "3");
  strictEqual(outcome.state, "SUCCESS");
  const document = documentOf(outcome);
  match(String(document["date_done"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$/);
  delete document["date_done"];
  equal(document, {
    status: "SUCCESS",
    result: 3,
    traceback: null,
    children: [],
    group_id: "g",
    task_id: "t1",
  });
});

Deno.test("a failure is an exception as Python has it, with a traceback of the user's frames alone", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.fail", { throws: [ValueError] }, function thrower(text: string) {
      throw new ValueError(text);
    });
  });
  const outcome = await worker.call("unit.fail", ["boom"]);
  strictEqual(outcome.kind, "failure");
  strictEqual(outcome.summary, "ValueError('boom')");
  strictEqual(outcome.expected, true);
  const document = documentOf(outcome);
  equal(document["result"], { exc_type: "ValueError", exc_message: ["boom"], exc_module: "builtins" });
  const traceback = String(document["traceback"]);
  ok(traceback.startsWith("Traceback (most recent call last):\n"));
  ok(traceback.endsWith(", in thrower\nValueError: boom\n"), traceback);
  match(traceback, /File ".*trace_test\.ts", line \d+, in thrower/);
  ok(!traceback.includes("/lib/app/"), traceback);
});

Deno.test("arguments that do not fit fail as in Python", async () => {
  await using worker = new MiniWorker({}, (app) => app.task("unit.add", (x: number, y: number) => x + y));
  const outcome = await worker.call("unit.add", [1]);
  strictEqual(outcome.summary, `TypeError("add() missing 1 required positional argument: 'y'")`);
});

Deno.test("a result that cannot be carried is a failure, not a crash", async () => {
  await using worker = new MiniWorker({}, (app) => app.task("unit.bad", () => () => 1));
  const outcome = await worker.call("unit.bad");
  strictEqual(outcome.kind, "failure");
  strictEqual((documentOf(outcome)["result"] as { exc_type: string }).exc_type, "EncodeError");
});

Deno.test("ignored results store nothing; errors neither, unless the task asks", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.quiet", { ignoreResult: true }, () => 1);
    app.task("unit.quietFail", { ignoreResult: true }, () => {
      throw new ValueError("x");
    });
    app.task("unit.told", { ignoreResult: true, storeErrorsEvenIfIgnored: true }, () => {
      throw new ValueError("x");
    });
  });
  strictEqual((await worker.call("unit.quiet")).document, null);
  strictEqual((await worker.call("unit.quietFail")).document, null);
  strictEqual((await worker.call("unit.told")).state, "FAILURE");
});

Deno.test("Ignore and Reject store nothing", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.ignore", () => {
      throw new Ignore();
    });
    app.task("unit.reject", async () => {
      await Promise.resolve();
      throw new Reject("not wanted", { requeue: true });
    });
  });
  const ignored = await worker.call("unit.ignore");
  equal([ignored.kind, ignored.state], ["ignore", null]);
  const rejected = await worker.call("unit.reject");
  equal([rejected.kind, rejected.requeue, rejected.document], ["reject", true, null]);
  strictEqual(rejected.summary, "reject requeue=True: not wanted");
});

Deno.test("a bound task sees its whole request, stores states and sends events", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.bound", { bind: true }, async (self, x: number) => {
      await self.updateState("PROGRESS", { done: x });
      self.sendEvent("task-custom", { x });
      self.log.info("hello");
      const { id, retries, hostname, deliveryInfo, headers, group } = self.request;
      return { id, retries, hostname, key: deliveryInfo.routingKey, own: headers["own"], group };
    });
  });
  const outcome = await worker.call("unit.bound", [5], {}, { taskId: "t", headers: { own: 1 } });
  equal(documentOf(outcome)["result"], {
    id: "t",
    retries: 0,
    hostname: "w@unit",
    key: "celery",
    own: 1,
    group: null,
  });
  strictEqual(worker.states[0]![0], "PROGRESS");
  equal(JSON.parse(worker.states[0]![1]).result, { done: 5 });
  equal(worker.events, [["task-custom", { x: 5 }]]);
  equal(worker.lines, ["INFO hello"]);
});

Deno.test("what a task sends is its child and carries its root, through awaits and beside other tasks", async () => {
  await using worker = new MiniWorker({}, (app) => {
    const leaf = app.task("unit.leaf", () => 1);
    app.task("unit.tree", async (wait: number) => {
      for (let n = 0; n < wait; n++) await Promise.resolve();
      await leaf.applyAsync([], {}, { taskId: `child-${wait}` });
      await leaf.applyAsync([], {}, { taskId: `hidden-${wait}`, addToParent: false });
      return currentTask()?.id;
    });
  });
  const messages = [
    await worker.message("unit.tree", [7], {}, { taskId: "a", rootId: "root" }),
    await worker.message("unit.tree", [2], {}, { taskId: "b" }),
  ];
  const [a, b] = await Promise.all(messages.map((message, seq) => worker.run(message, seq)));
  equal(documentOf(a!)["children"], [[["child-7", null], null]]);
  strictEqual(documentOf(a!)["result"], "a");
  strictEqual(documentOf(b!)["result"], "b");
  const child = worker.sent.find((one) => one.headers["id"] === "child-7")!;
  equal([child.headers["root_id"], child.headers["parent_id"]], ["root", "a"]);
  strictEqual(currentTask(), null);
});

Deno.test("the soft limit: the signal aborts with it, and the pending await may be caught", async () => {
  const world = fakeWorld();
  const gate = Promise.withResolvers<void>();
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.soft", { bind: true }, async (self) => {
      try {
        await new Promise((_, reject) => {
          self.signal.addEventListener("abort", () => reject(self.signal.reason));
          gate.resolve();
        });
      } catch (error) {
        return error instanceof SoftTimeLimitExceeded ? "caught" : "other";
      }
    });
  }, world);
  const running = worker.run(await worker.message("unit.soft"), 9);
  await gate.promise;
  worker.tracer.interrupt(9, new SoftTimeLimitExceeded());
  strictEqual((await running).summary, "'caught'");
  equal(world.clock.armed, []);
});

Deno.test("the soft limit: a task that does not listen is given up at the next turn", async () => {
  const world = fakeWorld();
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.deaf", () => new Promise(() => {}));
  }, world);
  const running = worker.run(await worker.message("unit.deaf"), 9);
  worker.tracer.interrupt(9, new SoftTimeLimitExceeded());
  world.clock.advance(1);
  const outcome = await running;
  strictEqual(outcome.kind, "failure");
  equal(documentOf(outcome)["result"], {
    exc_type: "SoftTimeLimitExceeded",
    exc_message: [],
    exc_module: "billiard.exceptions",
  });
});

Deno.test("an interruption that is no soft limit ends as terminated", async () => {
  const world = fakeWorld();
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.deaf", () => new Promise(() => {}));
  }, world);
  const running = worker.run(await worker.message("unit.deaf"), 9);
  worker.tracer.interrupt(9, new TaskRevokedError("terminated"));
  world.clock.advance(1);
  strictEqual((await running).kind, "terminated");
});

Deno.test("an unknown task and a broken body are failures of their own", async () => {
  await using worker = new MiniWorker();
  const unknown = await worker.call("unit.none", [], {}, { taskId: "t" });
  strictEqual(unknown.summary, "NotRegistered('unit.none')");
  const message = await worker.message("celery.accumulate");
  const broken = await worker.run({ ...message, body: "e30=" });
  strictEqual(broken.kind, "failure");
});

Deno.test("hooks run in order, and one that throws changes nothing", async () => {
  const seen: string[] = [];
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.hooked", {
      beforeStart: () => seen.push("before"),
      onSuccess: (_, result) => {
        seen.push(`success ${result}`);
        throw new Error("hook");
      },
    }, () => (seen.push("run"), 1));
    app.task("unit.failing", {
      onFailure: async (self, error) => {
        await Promise.resolve();
        seen.push(`${self.name} ${(error as Error).message}`);
      },
      afterReturn: (_, state) => seen.push(state),
    }, () => {
      throw new ValueError("v");
    });
  });
  strictEqual((await worker.call("unit.hooked")).kind, "success");
  strictEqual((await worker.call("unit.failing")).kind, "failure");
  equal(seen, ["before", "run", "success 1", "unit.failing v", "FAILURE"]);
  match(worker.lines[0]!, /A hook of task unit.hooked.* raised: .*hook/);
});

Deno.test("result_extended adds what the task was called with", async () => {
  await using worker = new MiniWorker(
    { result_extended: true },
    (app) => app.task("unit.add", (x: number, y: number) => x + y),
  );
  const document = documentOf(await worker.call("unit.add", [1, 2]));
  equal(
    [
      document["name"],
      document["args"],
      document["kwargs"],
      document["worker"],
      document["retries"],
      document["queue"],
    ],
    ["unit.add", [1, 2], {}, "w@unit", 0, "celery"],
  );
});

Deno.test("a task stays a function", async () => {
  await using worker = new MiniWorker();
  const add = worker.app.task("unit.add", (x: number, y: number) => x + y);
  strictEqual(add(1, 2) === 3, true);
  strictEqual(add.name, "unit.add");
  const bound = worker.app.task(
    "unit.bound",
    { bind: true },
    (self, x: number) => [self.request.calledDirectly, x],
  );
  equal(bound(4), [true, 4]);
});
