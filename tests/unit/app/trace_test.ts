import assert from "node:assert/strict";
import { currentTask, signals } from "../../../lib/app/mod.ts";
import {
  Ignore,
  Reject,
  SoftTimeLimitExceeded,
  TaskRevokedError,
  TimeLimitExceeded,
  toWireException,
} from "../../../lib/wire/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { documentOf, MiniWorker, type Outcome } from "./mini_worker.ts";

class ValueError extends Error {}

Deno.test("a synchronous task gives its outcome at once, without a promise", async () => {
  await using worker = new MiniWorker({}, (app) => app.task("unit.add", (x: number, y: number) => x + y));
  const message = await worker.message("unit.add", [1], { y: 2 }, { taskId: "t1", groupId: "g" });
  const outcome = worker.run(message) as Outcome;
  assert.ok(!(outcome instanceof Promise));
  assert.equal(outcome.kind, "success");
  assert.equal(outcome.summary, "3");
  assert.equal(outcome.state, "SUCCESS");
  const document = documentOf(outcome);
  assert.match(String(document["date_done"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$/);
  delete document["date_done"];
  assert.deepEqual(document, {
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
  assert.equal(outcome.kind, "failure");
  assert.equal(outcome.summary, "ValueError('boom')");
  assert.equal(outcome.expected, true);
  const document = documentOf(outcome);
  assert.deepEqual(document["result"], {
    exc_type: "ValueError",
    exc_message: ["boom"],
    exc_module: "builtins",
  });
  const traceback = String(document["traceback"]);
  assert.ok(traceback.startsWith("Traceback (most recent call last):\n"));
  assert.ok(traceback.endsWith(", in thrower\nValueError: boom\n"), traceback);
  assert.match(traceback, /File ".*trace_test\.ts", line \d+, in thrower/);
  assert.ok(!traceback.includes("/lib/app/"), traceback);
});

Deno.test("arguments that do not fit fail as in Python", async () => {
  await using worker = new MiniWorker({}, (app) => app.task("unit.add", (x: number, y: number) => x + y));
  const outcome = await worker.call("unit.add", [1]);
  assert.equal(outcome.summary, `TypeError("add() missing 1 required positional argument: 'y'")`);
});

Deno.test("a result that cannot be carried is a failure, not a crash", async () => {
  await using worker = new MiniWorker({}, (app) => app.task("unit.bad", () => () => 1));
  const outcome = await worker.call("unit.bad");
  assert.equal(outcome.kind, "failure");
  assert.equal((documentOf(outcome)["result"] as { exc_type: string }).exc_type, "EncodeError");
});

Deno.test("whatever throws when it is read ends its task, and says what it can", async () => {
  const no = (): never => {
    throw new RangeError("no");
  };
  const revoked = (): object => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  };
  const throwing = (property: string, error = new ValueError("m")): Error =>
    Object.defineProperty(error, property, { get: no });
  const values: Record<string, () => unknown> = {
    getter: () => Object.defineProperty({}, "a", { get: no, enumerable: true }),
    then: () => Object.defineProperty({}, "then", { get: no }),
    asTuple: () => Object.defineProperty({}, "asTuple", { get: no }),
    toJson: () => ({ toJSON: no }),
    tag: () => Object.create({}, { [Symbol.toStringTag]: { get: no } }),
    thenable: () => ({ then: no }),
    rejecting: () => ({ then: (_: unknown, reject: (error: unknown) => void) => reject(revoked()) }),
    revoked,
    promised: () => Promise.resolve({ a: [revoked()] }),
  };
  const errors: Record<string, () => unknown> = {
    message: () => throwing("message"),
    stack: () => throwing("stack"),
    cause: () => throwing("cause"),
    args: () => Object.assign(new ValueError("m"), { args: [revoked(), 1n << 70n, Symbol("s")] }),
    argsGetter: () => throwing("args"),
    constructor: () => throwing("constructor"),
    name: () => throwing("name", new Error("m")),
    revoked: () => new Proxy(new ValueError("m"), { get: no, getPrototypeOf: no }),
    undefined: () => undefined,
    null: () => null,
    symbol: () => Symbol("s"),
    bare: () => Object.create(null),
    badStack: () => Object.assign(new ValueError("m"), { stack: "x\n    at f (file:///%E0%A4%A:1:1)" }),
  };
  class Picky extends Error {
    static override [Symbol.hasInstance](): boolean {
      return no();
    }
  }
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.value", (which: string) => values[which]!());
    app.task("unit.hooked", { afterReturn: () => {} }, (which: string) => values[which]!());
    app.task("unit.throw", { throws: [Picky] }, (which: string) => {
      throw errors[which]!();
    });
    app.task("unit.reject", { autoretryFor: [Picky] }, (which: string) => Promise.reject(errors[which]!()));
    app.task("unit.retries", { bind: true, maxRetries: 1 }, (self, which: string) => {
      throw self.retry({ exc: errors[which]!() });
    });
    app.task("unit.next", (value: unknown) => value);
  });
  for (
    const [name, kinds] of [["value", values], ["hooked", values], ["throw", errors], [
      "reject",
      errors,
    ]] as const
  ) {
    for (const which of Object.keys(kinds)) {
      const outcome = await worker.call(`unit.${name}`, [which]);
      assert.equal(outcome.kind, "failure", `${name} ${which}`);
      const { status, traceback } = documentOf(outcome);
      assert.equal(status, "FAILURE", `${name} ${which}`);
      assert.match(String(traceback), /^Traceback /);
      if (kinds === values && !/revoked|promised|rejecting/.test(which)) {
        assert.match(outcome.exception, /^RangeError\('no'\)$/);
      }
    }
  }
  for (const which of Object.keys(errors)) {
    if (which === "undefined" || which === "null") continue; // they stand for no error
    const outcome = await worker.call("unit.retries", [which]);
    assert.ok(["retry", "failure"].includes(outcome.kind), which);
  }
  assert.equal((await worker.call("unit.throw", ["stack"])).exception, "ValueError('m')");
  assert.equal((await worker.call("unit.throw", ["symbol"])).exception, "Error('Symbol(s)')");
  worker.waiting.length = 0;
  // What follows it is not sent.
  const link = worker.app.signature("unit.next");
  const linked = await worker.call("unit.value", ["getter"], {}, { link });
  assert.equal(linked.exception, "RangeError('no')");
  assert.deepEqual(worker.waiting, []);
});

Deno.test("a failure is told though the task has spoiled its own arguments", async () => {
  await using worker = new MiniWorker({ result_extended: true }, (app) => {
    app.task("unit.spoil", { bind: true }, (self, how: string) => {
      self.request.args.push(() => how);
      if (how === "throw") throw new ValueError("m");
    });
  });
  const thrown = await worker.call("unit.spoil", ["throw"]);
  assert.equal(thrown.exception, "ValueError('m')");
  const { exc_type: type, exc_message: args } = documentOf(thrown)["result"] as Record<string, unknown[]>;
  assert.deepEqual([type, args], [
    "ValueError",
    ["ValueError('m')", 'Cannot encode "args[1]": a function'],
  ]);
  assert.match((await worker.call("unit.spoil", ["return"])).exception, /^EncodeError\(/);
});

Deno.test("an event of one's own says what it cannot carry", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task(
      "unit.tells",
      { bind: true },
      (self) => self.sendEvent("task-progress", { at: 1, none: undefined }),
    );
    app.task("unit.loses", { bind: true }, (self) => self.sendEvent("task-file", { file: new Blob(["a"]) }));
  });
  await worker.call("unit.tells");
  assert.deepEqual(worker.events, [["task-progress", { at: 1, none: null }]]);
  assert.match((await worker.call("unit.loses")).exception, /EncodeError\('Cannot encode "file": a Blob/);
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
  const call = async (name: string) => {
    await worker.app.tasks.need(name).applyAsync();
    return await worker.run(worker.waiting.pop()!.message);
  };
  assert.equal((await call("unit.quiet")).document, null);
  assert.equal((await call("unit.quietFail")).document, null);
  assert.equal((await call("unit.told")).state, "FAILURE");
});

Deno.test("Reject without requeue is a failure to whoever waits: stored, its chain and errbacks told", async () => {
  const heard: unknown[] = [];
  const receiver = ({ taskId, exception }: { taskId: string; exception: unknown }) =>
    void heard.push([taskId, (exception as Error).name]);
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.reject", {
      onFailure: () => void heard.push("onFailure"),
      afterReturn: () => heard.push("x"),
    }, () => {
      throw new Reject("not wanted");
    });
    app.task("unit.add", (x: number) => x);
    app.task("unit.told", (id: string) => id);
    app.task("unit.quiet", { ignoreResult: true }, () => {
      throw new Reject("not wanted");
    });
  });
  const next = worker.app.signature("unit.add").set({ taskId: "later" });
  const errback = worker.app.signature("unit.told");
  const options = { taskId: "t", chain: [next], linkError: [errback] };
  const outcome = await worker.call("unit.reject", [], {}, options);
  assert.deepEqual([outcome.kind, outcome.state, outcome.requeue], ["reject", "FAILURE", false]);
  assert.equal(outcome.summary, "reject requeue=False: not wanted");
  assert.equal(outcome.exception, "Reject('not wanted', False)");
  const meta = JSON.parse(String(outcome.document));
  assert.deepEqual(meta.result, {
    exc_type: "Reject",
    exc_message: ["not wanted", false],
    exc_module: "celery.exceptions",
  });
  assert.deepEqual(outcome.also?.map(({ taskId, state }) => [taskId, state]), [["later", "FAILURE"]]);
  assert.deepEqual(worker.sent.at(-1)?.headers["task"], "unit.told");
  assert.deepEqual(worker.sent.at(-1)?.args, ["t"]);
  signals.taskFailure.connect(receiver);
  try {
    await worker.call("unit.reject", [], {}, { taskId: "t2" });
  } finally {
    signals.taskFailure.disconnect(receiver);
  }
  // As Celery: the signal, and none of the task's own hooks.
  assert.deepEqual(heard, [["t2", "Reject"]]);
  const quiet = await worker.call("unit.quiet", [], {}, { ignoreResult: true });
  assert.deepEqual([quiet.kind, quiet.state, quiet.document], ["reject", null, null]);
});

Deno.test("what the sender says of ignore_result counts before what the task says", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.quiet", { ignoreResult: true }, () => 1);
    app.task("unit.loud", () => 1);
    app.task("unit.fails", { storeErrorsEvenIfIgnored: true }, () => {
      throw new ValueError("x");
    });
    app.task("unit.seen", { bind: true, ignoreResult: true }, (self) => self.request.ignoreResult);
  });
  const stored = async (name: string, ignore: boolean | null) => {
    const message = await worker.message(name);
    if (ignore === null) delete message.headers["ignore_result"];
    else message.headers["ignore_result"] = ignore;
    return (await worker.run(message)).state;
  };
  assert.equal(await stored("unit.quiet", null), null);
  assert.equal(await stored("unit.quiet", false), "SUCCESS");
  assert.equal(await stored("unit.quiet", true), null);
  assert.equal(await stored("unit.loud", true), null);
  assert.equal(await stored("unit.loud", null), "SUCCESS");
  assert.equal(await stored("unit.fails", true), "FAILURE");
  const message = await worker.message("unit.seen");
  message.headers["ignore_result"] = false;
  assert.equal((await worker.run(message)).summary, "False");
});

Deno.test("a task that its worker has ended does not run: errbacks that are functions, its hooks and the signal do", async () => {
  const heard: unknown[] = [];
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.stuck", {
      onFailure: (_self, error, id, args) => void heard.push(["onFailure", error, id, args]),
      afterReturn: (_self, state, error, id) => void heard.push(["afterReturn", state, error, id]),
    }, (_n: number) => void heard.push("it ran"));
    app.task("unit.errback", (request: { id: string }, error: unknown, _traceback: unknown) => {
      heard.push(["errback", error, request.id]);
      throw new Error("broken");
    });
    app.task("unit.told", (id: string) => id);
  });
  const linkError = [worker.app.signature("unit.errback"), worker.app.signature("unit.told")];
  const message = await worker.message("unit.stuck", [1], {}, { taskId: "t", linkError });
  const exception = toWireException(new TimeLimitExceeded(2), "");
  const sent = worker.sent.length;
  const run = (hooks: "all" | "signal" | "none") =>
    worker.tracer.run({
      ...{ seq: 1, message, hostname: "w", timeLimit: null, softTimeLimit: null },
      info: { exchange: "", routingKey: "celery", redelivered: false },
      ended: { exception, traceback: null, hooks },
    });
  const outcome = await run("all");
  assert.deepEqual([outcome.kind, outcome.state, outcome.document, outcome.chord], [
    "ignore",
    null,
    null,
    null,
  ]);
  const names = heard.map((one) => (one as unknown[])[0]);
  assert.deepEqual(names, ["errback", "onFailure", "afterReturn"]);
  const errors = heard.map((one) => (one as unknown[]).find((part) => part instanceof Error));
  assert.ok(errors.every((error) => error instanceof TimeLimitExceeded));
  // The errbacks that are messages are sent by the worker.
  assert.equal(worker.sent.length, sent);
  heard.length = 0;
  await run("signal");
  await run("none");
  assert.equal(heard.length, 2);
});

Deno.test("Ignore and Reject with requeue store nothing", async () => {
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
  assert.deepEqual([ignored.kind, ignored.state], ["ignore", null]);
  const rejected = await worker.call("unit.reject");
  assert.deepEqual([rejected.kind, rejected.requeue, rejected.document], ["reject", true, null]);
  assert.equal(rejected.summary, "reject requeue=True: not wanted");
});

Deno.test("a bound task sees its whole request, stores states and sends events", async () => {
  await using worker = new MiniWorker({}, (app) => {
    app.task("unit.bound", { bind: true }, async (self, x: number) => {
      await self.updateState("PROGRESS", { done: x });
      self.sendEvent("task-custom", { x });
      self.log.info("hello");
      const { id, retries, hostname, deliveryInfo, headers, group, timelimit } = self.request;
      return { id, retries, hostname, key: deliveryInfo.routingKey, own: headers["own"], group, timelimit };
    });
  });
  const outcome = await worker.call("unit.bound", [5], {}, {
    taskId: "t",
    headers: { own: 1 },
    timeLimit: 9,
    softTimeLimit: 8,
  });
  assert.deepEqual(documentOf(outcome)["result"], {
    id: "t",
    retries: 0,
    hostname: "w@unit",
    key: "celery",
    own: 1,
    group: null,
    timelimit: [9, 8],
  });
  assert.equal(worker.states[0]![0], "PROGRESS");
  assert.deepEqual(JSON.parse(worker.states[0]![1]).result, { done: 5 });
  assert.deepEqual(worker.events, [["task-custom", { x: 5 }]]);
  assert.deepEqual(worker.lines, ["INFO hello"]);
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
  assert.deepEqual(documentOf(a!)["children"], [[["child-7", null], null]]);
  assert.equal(documentOf(a!)["result"], "a");
  assert.equal(documentOf(b!)["result"], "b");
  const child = worker.sent.find((one) => one.headers["id"] === "child-7")!;
  assert.deepEqual([child.headers["root_id"], child.headers["parent_id"]], ["root", "a"]);
  assert.equal(currentTask(), null);
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
  assert.equal((await running).summary, "'caught'");
  assert.deepEqual(world.clock.armed, []);
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
  assert.equal(outcome.kind, "failure");
  assert.deepEqual(documentOf(outcome)["result"], {
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
  assert.equal((await running).kind, "terminated");
});

Deno.test("an unknown task and a broken body are failures of their own", async () => {
  await using worker = new MiniWorker();
  const unknown = await worker.call("unit.none", [], {}, { taskId: "t" });
  assert.equal(unknown.summary, "NotRegistered('unit.none')");
  const message = await worker.message("celery.accumulate");
  const broken = await worker.run({ ...message, body: "e30=" });
  assert.equal(broken.kind, "failure");
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
  assert.equal((await worker.call("unit.hooked")).kind, "success");
  assert.equal((await worker.call("unit.failing")).kind, "failure");
  assert.deepEqual(seen, ["before", "run", "success 1", "unit.failing v", "FAILURE"]);
  assert.match(worker.lines[0]!, /A hook of task unit.hooked.* raised: .*hook/);
});

Deno.test("result_extended adds what the task was called with", async () => {
  await using worker = new MiniWorker(
    { result_extended: true },
    (app) => app.task("unit.add", (x: number, y: number) => x + y),
  );
  const document = documentOf(await worker.call("unit.add", [1, 2]));
  assert.deepEqual(
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
  assert.equal(add(1, 2) === 3, true);
  assert.equal(add.name, "unit.add");
  const bound = worker.app.task(
    "unit.bound",
    { bind: true },
    (self, x: number) => [self.request.calledDirectly, x],
  );
  assert.deepEqual(bound(4), [true, 4]);
});
