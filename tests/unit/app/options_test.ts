/** Options that there are not: each door of the library refuses them with the nearest name. */

import assert from "node:assert/strict";
import {
  App,
  Cluster,
  crontab,
  type Queue,
  queue,
  schedule,
  signals,
  signature,
  TestWorker,
  UsageError,
} from "../../../lib/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

const app = new App("options", { broker_url: "memory://" }, { world: fakeWorld() });
const add = app.task("t.add", (x: number, y: number) => x + y);
const bound = app.task("t.bound", { bind: true }, (self, options: object) => {
  throw self.retry(options);
});

/** What a program in plain JavaScript may write, and the compiler would refuse. */
const js = (value: unknown) => value as never;

const REFUSED: readonly [string, () => unknown, RegExp][] = [
  [
    "applyAsync",
    () => add.applyAsync([1, 2], {}, js({ countdwn: 5 })),
    /"countdwn" of task "t.add": did you mean "countdown"\?/,
  ],
  [
    "applyAsync, Celery's spelling",
    () => add.applyAsync([1, 2], {}, js({ task_id: "x" })),
    /did you mean "taskId"\?/,
  ],
  [
    "applyAsync, no object",
    () => add.applyAsync([1, 2], {}, js("queue")),
    /The options of task "t.add" must be an object/,
  ],
  [
    "apply",
    () => add.apply([1, 2], {}, js({ trow: true })),
    /"trow" of task "t.add": did you mean "throw"\?/,
  ],
  ["sendTask", () => app.sendTask("x.y", js({ arg: [1] })), /"arg" of task "x.y": did you mean "args"\?/],
  [
    "sendMany",
    () => app.sendMany([js({ task: add, args: [1, 2], option: {} })]),
    /"option" of a call of sendMany/,
  ],
  [
    "sendMany, options",
    () => app.sendMany([js({ task: add, args: [1, 2], options: { que: "q" } })]),
    /did you mean "queue"\?/,
  ],
  [
    "retryPolicy",
    () => add.applyAsync([1, 2], {}, { retryPolicy: js({ maxRetries: 1 }) }),
    /did you mean "max_retries"\?/,
  ],
  ["Task.signature", () => add.signature([1], {}, js({ imutable: true })), /"imutable" of signature "t.add"/],
  ["app.signature", () => app.signature("x.y", js({ kwarg: {} })), /"kwarg" of signature "x.y"/],
  [
    "app.signature, options",
    () => app.signature("x.y", { options: js({ prioriti: 1 }) }),
    /did you mean "priority"\?/,
  ],
  ["signature", () => signature("x.y", js({ option: {} })), /did you mean "options"\?/],
  [
    "set",
    () => add.s(1, 2).set({ countdwn: 5 }),
    /"countdwn" of signature "t.add": did you mean "countdown"\?/,
  ],
  ["Signature.applyAsync", () => add.s(1, 2).applyAsync([], {}, { queu: "q" }), /did you mean "queue"\?/],
  [
    "retry",
    () => bound({ countDown: 1 }),
    /"countDown" of a retry of task "t.bound": did you mean "countdown"\?/,
  ],
  [
    "retryKwargs",
    () => app.task("t.k", { retryKwargs: js({ max_retrys: 1 }) }, () => 1),
    /"max_retrys" of retryKwargs of task "t.k"/,
  ],
  [
    "task",
    () => app.task("t.o", js({ ackLate: true }), () => 1),
    /"ackLate" of task "t.o": did you mean "acksLate"\?/,
  ],
  [
    "get",
    () => app.AsyncResult("x").get(js({ timout: 1 })),
    /"timout" of a result's get: did you mean "timeout"\?/,
  ],
  ["join", () => app.ResultSet([]).get(js({ timout: 1 })), /did you mean "timeout"\?/],
  ["revoke", () => app.AsyncResult("x").revoke(js({ terminat: true })), /did you mean "terminate"\?/],
  [
    "control",
    () => app.control.revoke("x", js({ destinations: ["a"] })),
    /"destinations" of command "revoke": did you mean "destination"\?/,
  ],
  [
    "control, limits",
    () => app.control.timeLimit("x", js({ sofft: 5 })),
    /"sofft" of timeLimit: did you mean "soft"\?/,
  ],
  ["inspect", () => app.control.inspect(js({ timout: 1 })).ping(), /did you mean "timeout"\?/],
  [
    "inspectCommand",
    () => app.inspectCommand("x", js({ hlp: "" }), () => 1),
    /"hlp" of remote command "x": did you mean "help"\?/,
  ],
  ["receiver", () => app.events.receiver(js({ handler: {} })), /did you mean "handlers"\?/],
  ["State", () => new app.events.State(js({ maxTasks: 1 })), /"maxTasks" of a cluster's state/],
  [
    "setupSecurity",
    () => app.setupSecurity(js({ keys: "" })),
    /"keys" of setupSecurity: did you mean "key"\?/,
  ],
  [
    "TestWorker",
    () => TestWorker.start(app, js({ queue: [] })),
    /"queue" of a TestWorker: did you mean "queues"\?/,
  ],
  [
    "Cluster",
    () => Cluster.of(["a"], {}, js({ event: {} })),
    /"event" of a cluster: did you mean "events"\?/,
  ],
  [
    "signals",
    () => signals.taskPrerun.connect(() => {}, js({ sendr: add })),
    /"sendr" of signal "task_?[pP]rerun": did you mean "sender"\?/,
  ],
  [
    "queue",
    () => queue("q", js({ routing_key: "x" })),
    /"routing_key" of queue "q": did you mean "routingKey"\?/,
  ],
  [
    "task_queues",
    () => queues({ name: "q", routingKey: "x" }),
    /"routingKey" of queue "q" of task_queues: did you mean "routing_key"\?/,
  ],
  [
    "task_queues, exchange",
    () => queues({ name: "q", exchange: { name: "e", kind: "topic" } }),
    /"kind" of an exchange of task_queues/,
  ],
  ["task_routes", () => routed({ que: "q" }), /"que" of task_routes: "t.add": did you mean "queue"\?/],
  [
    "task_publish_retry_policy",
    () => new App("p", { task_publish_retry_policy: js({ retries: 1 }) }),
    /must be an object of max_retries/,
  ],
  ["crontab", () => crontab(js({ minute: 0, hours: 4 })), /"hours" of a crontab: did you mean "hour"\?/],
  [
    "crontab, mixed",
    () => crontab(0, js({ hour: 4 })),
    /Cannot read a crontab: give one object of fields, or/,
  ],
  [
    "an App without a name",
    () => new App(js({ broker_url: "memory://" })),
    /its name comes first, as in new App/,
  ],
  ["a signature with an App", () => signature("t.add", js({ app })), /call app\.signature/],
  ["applyAsync, not awaited", () => add.applyAsync([1, 2], {}, js(late())), /not a Promise: await it/],
  ["an App's settings, not awaited", () => new App("a", js(late())), /Settings must be an object/],
  ["a route, not awaited", () => routedBy(late), /a route function gives neither a queue nor options/],
  ["annotations, not awaited", () => annotatedBy(late), /task_annotations: a function gives no object/],
  [
    "crontab, too many",
    () => (crontab as (...fields: number[]) => unknown)(0, 1, 2, 3, 4, 5),
    /Cannot read a crontab of 6 fields/,
  ],
  [
    "schedule",
    () => schedule(10, js({ relativ: true })),
    /"relativ" of a schedule: did you mean "relative"\?/,
  ],
  [
    "addPeriodicTask",
    () => app.addPeriodicTask(10, add.s(1, 2), js({ nam: "x" })),
    /"nam" of a periodic task: did you mean "name"\?/,
  ],
];

function late(): Promise<object> {
  return Promise.resolve({ queue: "q" });
}

function routedBy(route: () => unknown): Promise<unknown> {
  const task_routes = [js(route)];
  const other = new App("r", { broker_url: "memory://", task_routes }, { world: fakeWorld() });
  return other.sendTask("t.add", { args: [1, 2] });
}

function annotatedBy(options: () => unknown): unknown {
  const task_annotations = [js(options)];
  const other = new App("r", { broker_url: "memory://", task_annotations }, { world: fakeWorld() });
  return other.task("t.annotated", () => 1).options;
}

function queues(one: object): void {
  const strict = new App("q", { broker_url: "memory://", task_queues: [js(one)] }, { world: fakeWorld() });
  void strict.amqp.queues;
}

function routed(route: object): Promise<unknown> {
  const other = new App("r", { broker_url: "memory://", task_routes: { "t.add": js(route) } }, {
    world: fakeWorld(),
  });
  return other.sendTask("t.add", { args: [1, 2] });
}

for (const [where, call, reason] of REFUSED) {
  Deno.test(`options: ${where} refuses what there is not`, async () => {
    await assert.rejects(async () => await call(), (error) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.match(error.message, reason);
      return true;
    });
  });
}

const WRONG: readonly [string, unknown, string][] = [
  ["bind", "yes", 'true or false or null, not "yes"'],
  ["acksLate", "false", 'true or false or null, not "false"'],
  ["maxRetries", "3", 'a number or null, not "3"'],
  ["defaultRetryDelay", "5", 'a number of seconds or null, not "5"'],
  ["retryBackoff", "1", 'true, false or a number of seconds or null, not "1"'],
  ["rateLimit", "10/d", 'a rate such as "10/m" or null, not "10/d"'],
  ["timeLimit", -1, "a number of seconds or null, not -1"],
  ["softTimeLimit", "5", 'a number of seconds or null, not "5"'],
  ["priority", 300, "a whole number from 0 to 255 or null, not 300"],
  ["queue", 5, "text or null, not 5"],
  ["params", "a", 'an array of names or null, not "a"'],
  ["onFailure", true, "a function or null, not true"],
];

for (const [option, value, reason] of WRONG) {
  Deno.test(`options: ${option} of a task refuses a value that it cannot have`, () => {
    const name = `wrong.${option}`;
    assert.throws(() => app.task(name, js({ [option]: value }), () => 1), {
      name: "UsageError",
      message: `Option "${option}" of task "${name}" must be ${reason}`,
    });
  });
}

Deno.test("options: what is not given may be null, undefined or an empty text", () => {
  app.task("blank.text", js({ queue: "", serializer: "", rateLimit: "", maxRetries: Infinity }), () => 1);
  app.task("blank.null", js({ timeLimit: null, acksLate: undefined, onFailure: null, bind: null }), () => 1);
  app.task("rate.forms", js({ rateLimit: " 1.5e1/h" }), () => 1);
});

Deno.test("options: what is the caller's own in a signature is a stamp that is named", () => {
  const stamped = add.s(1, 2).set({ stampedHeaders: ["tenant"], tenant: "a" }).set({ tenant: "b" });
  assert.equal(stamped.options["tenant"], "b");
  const foreign = signature({ ...stamped.toJSON(), options: { later_version: 1 } });
  assert.equal(foreign.clone().options["later_version"], 1);
});

Deno.test("options: a crontab's fields one after the other are Celery's five", () => {
  assert.deepEqual(crontab(0, 4), crontab({ minute: 0, hour: 4 }));
  assert.deepEqual(crontab("*/15"), crontab({ minute: "*/15" }));
  assert.deepEqual(crontab(30, 7, 1), crontab({ minute: 30, hour: 7, dayOfWeek: 1 }));
  assert.deepEqual(
    crontab("0", "0", "*", [1, 15], "3"),
    crontab({ minute: "0", hour: "0", dayOfMonth: [1, 15], monthOfYear: "3" }),
  );
  assert.deepEqual(
    crontab("0 4 * * mon"),
    crontab({ minute: "0", hour: "4", dayOfWeek: "mon", dayOfMonth: "*", monthOfYear: "*" }),
  );
  assert.deepEqual(crontab(), crontab({}));
});

Deno.test("options: those of the calls stand beside a periodic task's own, as Celery takes them", () => {
  const key = app.addPeriodicTask(10, add.s(1, 2).set({ queue: "q" }), {
    name: "n",
    expires: 5,
    catchUp: "all",
  });
  const entry = app.conf.beat_schedule[key]!;
  assert.deepEqual(entry.options, { queue: "q", expires: 5 });
  assert.equal(entry.catchUp, "all");
  assert.ok(!("expires" in entry));
});

Deno.test("options: a queue's and its exchange's own, under kombu's names", () => {
  const given = { name: "q", exchange: "e", durable: true, queue_durable: false, exchange_auto_delete: true };
  const own = new App("o", { broker_url: "memory://", task_queues: [given] }, { world: fakeWorld() });
  const made = own.amqp.queues.get("q") as Queue;
  assert.deepEqual([made.durable, made.exchange.durable, made.exchange.autoDelete], [false, true, true]);
});
