/** The answering side: a worker on the memory broker and a fake clock, controlled through `app.control`. */

import assert from "node:assert/strict";
import { App, appExtensions, type Control, type RequestInfo } from "../../../lib/app/mod.ts";
import { AppControl, MAILBOX_DEFAULTS, requestExchange } from "../../../lib/mailbox/mod.ts";
import { type EncodedMessage, encodeMailboxRequest } from "../../../lib/wire/mod.ts";
import { Rig, type RigOptions } from "../worker/rig.ts";

appExtensions.control = (app) => new AppControl(app);

/** A worker and a second App that controls it. */
class Site implements AsyncDisposable {
  readonly rig: Rig;
  readonly app: App;

  private constructor(rig: Rig) {
    this.rig = rig;
    this.app = new App("asker", { broker_url: rig.app.conf.broker_url }, { world: rig.world });
  }

  static async start(options: RigOptions = {}): Promise<Site> {
    return new Site(await Rig.start(options));
  }

  get control(): Control {
    return this.app.control;
  }

  /** Lets the worker run until the call has its answer. */
  async get<T>(asking: Promise<T>): Promise<T> {
    let isDone = false;
    const done = asking.finally(() => isDone = true);
    done.catch(() => {});
    await this.rig.until(() => isDone);
    return await done;
  }

  /** The worker's reply to a command. */
  async ask(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const replies = await this.get(this.control.broadcast(command, { arguments: args, reply: true }));
    return replies["w1@example"];
  }

  /** Publishes a raw message to the control exchange. */
  async publish(message: EncodedMessage): Promise<void> {
    const exchange = requestExchange(MAILBOX_DEFAULTS);
    await this.get(this.rig.broker.declareExchange(exchange));
    await this.get(this.rig.broker.publish([{ exchange: exchange.name, routingKey: "", message }]));
    await this.rig.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.get(this.app.close());
    await this.rig[Symbol.asyncDispose]();
  }
}

const tasks = (app: App): void => {
  app.task("bars.add", { rateLimit: "100/m" }, (x: number, y: number) => x + y);
  app.task("bars.late", { acksLate: true }, () => 1);
};

Deno.test("inspect: running, waiting and scheduled tasks, and query_task", async () => {
  await using site = await Site.start({ options: { concurrency: 1 } });
  const { rig } = site;
  rig.pool.script = () => null;
  const running = await rig.send({ args: [1, "zwölf"] });
  const waiting = await rig.send();
  const held = await rig.send({ countdown: 1 });
  const parked = await rig.send({ countdown: 60 });
  const inspect = site.control.inspect();
  const node = "w1@example";
  const [active] = (await site.get(inspect.active()))[node] as [RequestInfo];
  assert.deepEqual(active, {
    id: running,
    name: "bars.add",
    args: [1, "zwölf"],
    kwargs: {},
    type: "bars.add",
    hostname: node,
    time_start: rig.world.clock.wallMs() / 1000,
    acknowledged: true,
    delivery_info: { exchange: "", routing_key: "celery", priority: 0, redelivered: false },
    worker_pid: 100,
  });
  const [safe] = (await site.get(inspect.active({ safe: true })))[node] as [RequestInfo];
  assert.deepEqual([safe.args, safe.kwargs], ["(1, 'zwölf')", "{}"]);
  const reserved = (await site.get(inspect.reserved()))[node]!;
  assert.deepEqual(
    reserved.map(({ id, time_start, acknowledged, worker_pid }) => ({
      id,
      time_start,
      acknowledged,
      worker_pid,
    })),
    [{ id: waiting, time_start: null, acknowledged: false, worker_pid: null }],
  );
  const scheduled = (await site.get(inspect.scheduled()))[node]!;
  assert.deepEqual(scheduled.map(({ request }) => request.id), [held, parked]);
  assert.equal(scheduled[1]!.eta, "2024-01-02T03:05:05.678000+00:00");
  assert.equal(scheduled[1]!.request.acknowledged, false);
  const found = (await site.get(inspect.queryTask(running, waiting, held, "unknown")))[node]!;
  assert.deepEqual(Object.entries(found).map(([id, [state]]) => [id, state]), [
    [running, "active"],
    [waiting, "reserved"],
  ]);
});

Deno.test("inspect: stats, queues, registered, conf, report, clock, memory", async () => {
  await using site = await Site.start({
    tasks,
    settings: { broker_transport_options: { password: "geheim" } as never },
  });
  const stats = await site.ask("stats") as Record<string, Record<string, unknown>>;
  assert.deepEqual(Object.keys(stats).sort(), [
    "broker",
    "clock",
    "pid",
    "pool",
    "prefetch_count",
    "rusage",
    "total",
    "uptime",
  ]);
  assert.deepEqual(Object.keys(stats["pool"]!), [
    "implementation",
    "max-concurrency",
    "processes",
    "max-tasks-per-child",
    "put-guarded-by-semaphore",
    "timeouts",
    "writes",
  ]);
  assert.equal(typeof stats["clock"], "string");
  assert.doesNotMatch(JSON.stringify([stats, await site.ask("conf", { with_defaults: true })]), /geheim/);
  const [queue] = await site.ask("active_queues") as [Record<string, unknown>];
  assert.deepEqual(queue["exchange"], {
    name: "celery",
    type: "direct",
    arguments: null,
    durable: true,
    passive: false,
    auto_delete: false,
    delivery_mode: null,
    no_declare: false,
  });
  assert.equal(Object.keys(queue).length, 18);
  assert.deepEqual(await site.ask("registered"), ["bars.add [rate_limit=100/m]", "bars.late"]);
  assert.deepEqual(await site.ask("registered", { taskinfoitems: ["acks_late"] }), [
    "bars.add [acks_late=False]",
    "bars.late [acks_late=True]",
  ]);
  assert.deepEqual(await site.ask("registered", { taskinfoitems: ["__annotations__"] }), [
    "bars.add [__annotations__={'x': typing.Any, 'y': typing.Any}]",
    "bars.late [__annotations__={}]",
  ]);
  const builtins = await site.ask("dump_tasks", { builtins: true }) as string[];
  assert.ok(builtins.includes("celery.chord_unlock"));
  const conf = await site.ask("conf", { with_defaults: true }) as Record<string, unknown>;
  for (const key of ["task_acks_late", "accept_content", "timezone", "task_routes"]) assert.ok(key in conf);
  assert.match((await site.ask("report") as { ok: string }).ok, /software -> lovage:/);
  assert.equal(await site.ask("memsample"), "50MB");
  assert.equal(
    await site.ask("memdump"),
    "- rss (sample):\n-    > 50MB,\n- rss (end): 50MB.\n",
  );
  const { clock } = await site.ask("clock") as { clock: number };
  assert.ok(clock > 0);
});

Deno.test("hello: revoked ids travel both ways; the worker does not answer itself", async () => {
  await using site = await Site.start();
  await site.ask("revoke", { task_id: ["ours"] });
  const reply = await site.ask("hello", {
    from_node: "w2@other",
    revoked: { theirs: [1e9, "theirs"], plain: 12.5 },
  }) as { revoked: Record<string, [number, string]>; clock: number };
  assert.deepEqual(Object.keys(reply.revoked).sort(), ["ours", "plain", "theirs"]);
  assert.equal(reply.revoked["theirs"]![1], "theirs");
  assert.ok(Number.isInteger(reply.clock));
  assert.ok(site.rig.log("INFO").includes("sync with w2@other"));
  assert.equal(await site.ask("hello", { from_node: "w1@example", revoked: {} }), null);
  assert.match(
    JSON.stringify(await site.ask("hello", { from_node: "x", revoked: { bad: "soon" } })),
    /TypeError\('Expecting float timestamp, got string'\)/,
  );
});

Deno.test("revoke: later messages are discarded, REVOKED is stored at once, running tasks are ended", async () => {
  await using site = await Site.start({ options: { concurrency: 1 } });
  const { rig } = site;
  assert.deepEqual(await site.ask("revoke", { task_id: "later", terminate: false, signal: "SIGTERM" }), {
    ok: "tasks later flagged as revoked",
  });
  assert.equal(await rig.state("later"), "REVOKED");
  await rig.send({ taskId: "later" });
  assert.ok(rig.log("INFO").includes("Discarding revoked task: bars.add[later]"));
  assert.equal(rig.pool.submitted.length, 0);
  rig.pool.script = () => null;
  const running = await rig.send();
  assert.deepEqual(await site.ask("revoke", { task_id: [running, "x"], terminate: true, signal: "KILL" }), {
    ok: `terminate: ${running}`,
  });
  assert.deepEqual(rig.pool.terminated.map(({ signal }) => signal), ["SIGKILL"]);
  assert.ok(rig.log("INFO").includes(`Terminating ${running} (9)`));
  assert.deepEqual(await site.ask("terminate", { task_id: ["x"], signal: "SIGTERM" }), {
    ok: "terminate: tasks unknown",
  });
  assert.deepEqual(await site.ask("terminate", { task_id: ["x"], signal: "SIGNONE" }), {
    error: "ValueError(\"no such signal: 'SIGNONE'\")",
  });
  await site.get(site.app.AsyncResult("by-result").revoke());
  await rig.settle();
  const revoked = await site.ask("revoked") as string[];
  assert.ok(revoked.includes("later") && revoked.includes("by-result"));
});

Deno.test("revoke_by_stamped_headers: tasks with the stamp are discarded, or ended if they run", async () => {
  await using site = await Site.start({ options: { concurrency: 1 } });
  const { rig } = site;
  const stamped = (value: string) =>
    rig.send({ headers: { stamped_headers: ["batch"], stamps: { batch: [value] } } as never });
  rig.pool.script = () => null;
  const running = await stamped("a");
  assert.deepEqual(await site.ask("revoke_by_stamped_headers", { headers: { batch: ["b"] } }), {
    ok: "headers {'batch': ['b']} flagged as revoked, but not terminated",
  });
  const discarded = await stamped("b");
  assert.equal(await rig.state(discarded), "REVOKED");
  assert.match(
    rig.log("INFO").join("\n"),
    /Discarding revoked task: .* \(revoked by header: {'batch': \['b'\]}\)/,
  );
  assert.deepEqual(await site.ask("revoke_by_stamped_headers", { headers: ["batch=c"], terminate: true }), {
    ok: "headers {'batch': 'c'} were not terminated",
  });
  assert.deepEqual(
    await site.ask("revoke_by_stamped_headers", { headers: { batch: "a" }, terminate: true }),
    {
      ok: "headers {'batch': {'a'}} revoked",
    },
  );
  assert.equal(rig.pool.terminated.length, 1);
  rig.pool.end([...rig.pool.running.values()][0]!, { kind: "terminated" });
  await rig.settle();
  assert.equal(await rig.state(running), "REVOKED");
});

Deno.test("rate and time limits change at run time and outlive a reconnect", async () => {
  await using site = await Site.start({ tasks });
  const { worker } = site.rig;
  assert.deepEqual(await site.ask("rate_limit", { task_name: "bars.add", rate_limit: "10/m" }), {
    ok: "new rate limit set successfully",
  });
  assert.equal(worker.strategies.get("bars.add")!.bucket!.perSecond, 10 / 60);
  assert.deepEqual(await site.ask("time_limit", { task_name: "bars.add", soft: 5, hard: 10 }), {
    ok: "time limits set successfully",
  });
  worker.updateStrategies();
  const strategy = worker.strategies.get("bars.add")!;
  assert.deepEqual([strategy.softTimeLimit, strategy.timeLimit, strategy.bucket!.perSecond], [
    5,
    10,
    10 / 60,
  ]);
  assert.deepEqual(await site.ask("registered"), ["bars.add [rate_limit=10/m]", "bars.late"]);
  assert.deepEqual(await site.ask("rate_limit", { task_name: "bars.add", rate_limit: 0 }), {
    ok: "rate limit disabled successfully",
  });
  assert.equal(strategy.bucket, null);
  assert.deepEqual(await site.ask("rate_limit", { task_name: "no.such", rate_limit: "1/s" }), {
    error: "unknown task",
  });
  assert.deepEqual(await site.ask("rate_limit", { task_name: "bars.add", rate_limit: "many" }), {
    error: "Invalid rate limit string: ValueError(\"could not convert string to float: 'many'\")",
  });
  assert.deepEqual(await site.ask("rate_limit", { task_name: "bars.add", rate_limit: "1/d" }), {
    error: "KeyError('d')",
  });
  assert.deepEqual(await site.ask("time_limit", { task_name: "no.such", soft: 1 }), {
    error: "unknown task",
  });
  assert.deepEqual(await site.ask("time_limit", { task_name: "bars.add", soft: "soon" }), {
    error: "ValueError(\"a time limit must be a number of seconds, not 'soon'\")",
  });
});

Deno.test("queues are added and removed, the pool grows and shrinks, disabled commands say so", async () => {
  await using site = await Site.start();
  const { rig } = site;
  assert.deepEqual(await site.ask("add_consumer", { queue: "more" }), { ok: "add consumer more" });
  await rig.settle();
  assert.ok(rig.log("INFO").includes("Started consuming from more"));
  await rig.send({ queue: "more" });
  assert.equal(rig.pool.submitted.length, 1);
  assert.deepEqual(await site.ask("cancel_consumer", { queue: "more" }), {
    ok: "no longer consuming from more",
  });
  await rig.settle();
  assert.deepEqual((await site.ask("active_queues") as { name: string }[]).map(({ name }) => name), [
    "celery",
  ]);
  assert.deepEqual(await site.ask("add_consumer", { queue: "a\nb" }), {
    error: "ValueError(\"not a valid queue name: 'a\\\\nb'\")",
  });
  assert.deepEqual(await site.ask("pool_grow", { n: 1 }), { ok: "pool will grow" });
  assert.deepEqual(await site.ask("pool_shrink", { n: 1 }), { ok: "pool will shrink" });
  assert.deepEqual(await site.ask("pool_shrink", { n: 2 }), {
    error: 'ValueError("Can\'t shrink pool. All processes busy!")',
  });
  assert.deepEqual(await site.ask("pool_grow", { n: "x" }), {
    error: "ValueError(\"n must be a whole number above 0, not 'x'\")",
  });
  assert.deepEqual(await site.ask("pool_restart"), { error: "ValueError('Pool restarts not enabled')" });
  assert.deepEqual(await site.ask("autoscale", { max: 4 }), { error: "ValueError('Autoscale not enabled')" });
});

Deno.test("commands of the user's own, sync and async, by name and alias; theirs win over ours", async () => {
  await using site = await Site.start({
    tasks(app) {
      app.task("bars.add", () => 0);
      app.inspectCommand("sizes", { alias: "dump_sizes" }, ({ hostname }, { of }) => ({ hostname, of }));
      app.controlCommand("slow", async () => {
        await Promise.resolve();
        throw new RangeError("too slow");
      });
      app.controlCommand("ping", () => "mine");
      app.inspectCommand("odd", () => () => {});
    },
  });
  assert.deepEqual(await site.ask("sizes", { of: 3 }), { hostname: "w1@example", of: 3 });
  assert.deepEqual(await site.ask("dump_sizes", {}), {
    hostname: "w1@example",
    of: null,
  });
  assert.deepEqual(await site.ask("slow"), { error: "RangeError('too slow')" });
  assert.equal(await site.ask("ping"), "mine");
  assert.match(JSON.stringify(await site.ask("odd")), /EncodeError/);
});

Deno.test("ill-formed, refused, hostile and huge messages are logged in one line each, and the worker goes on", async () => {
  await using site = await Site.start();
  const { rig } = site;
  const good = encodeMailboxRequest({
    method: "ping",
    arguments: {},
    destination: null,
    pattern: null,
    matcher: null,
    ticket: "t",
    replyTo: { exchange: "reply.celery.pidbox", routingKey: "nobody" },
    clock: 1,
    expires: 0,
  }, { bodyEncoding: "base64" });
  const json = (value: unknown) => ({ ...good, body: btoa(JSON.stringify(value)) });
  const cases: [EncodedMessage, RegExp][] = [
    [{ ...good, body: btoa("{") }, /^Ignored a control message: /],
    [{ ...good, body: "###" }, /^Ignored a control message: /],
    [json(null), /^Ignored a control message: .*without a method/],
    [json({ method: 7 }), /^Ignored a control message: .*without a method/],
    [
      { ...good, contentType: "application/x-python-serialize" },
      /^Ignored a control message: .*pickle|python/,
    ],
    [
      { ...good, body: "A".repeat(17 << 20) },
      /^Ignored a control message: Cannot decode body: 17825792 bytes are too many$/,
    ],
    [{ ...good, body: btoa("[".repeat(100_000)) }, /^Ignored a control message: /],
    [json({ method: "ping", pattern: "(a+)\\1$", matcher: "pcre" }), /cannot refer to what a group matched/],
    [json({ method: "ping", pattern: "(a+$", matcher: "pcre" }), /a bracket is not closed/],
    [json({ method: "no\nsuch", arguments: {} }), /^pidbox command error: KeyError\('no\\nsuch'\)$/],
    [json({ method: "constructor" }), /^pidbox command error: KeyError\('constructor'\)$/],
    [json({ method: "__proto__", arguments: { __proto__: 1 } }), /^pidbox command error: KeyError/],
    [
      json({ method: "ping", reply_to: { exchange: "celery.pidbox", routing_key: "x" } }),
      /^Cannot reply to ping: celery\.pidbox is not a reply exchange$/,
    ],
    [json({ method: "query_task" }), /missing 1 required positional argument: 'ids'/],
    [json({ method: "rate_limit" }), /missing 2 required positional arguments: 'task_name' and 'rate_limit'/],
    [json({ method: "revoke" }), /revoke\(\) missing 1 required positional argument: 'task_id'/],
  ];
  const lines = () =>
    rig.world.log.records.filter(({ level }) => level !== "DEBUG").map(({ message }) => message);
  for (const [message, line] of cases) {
    const before = lines().length;
    await site.publish(message);
    const added = lines().slice(before);
    assert.equal(added.length, 1, `${line}: ${added.join("\n")}`);
    assert.match(added[0]!, line);
    assert.ok(added[0]!.length < 1200 && !added[0]!.includes("\n"));
  }
  assert.deepEqual(await site.ask("ping"), { ok: "pong" });
  // A flood is logged, and does not fill the log.
  await rig.world.clock.advance(10_000);
  const before = lines().length;
  for (let n = 0; n < 500; n++) await site.publish({ ...good, body: "###" });
  assert.equal(lines().length - before, 20);
  await rig.world.clock.advance(10_000);
  assert.equal(lines().at(-1), "480 more lines about control messages were left out in 10 s");
  assert.deepEqual(await site.ask("ping"), { ok: "pong" });
});

Deno.test("destination and pattern select workers; with worker_enable_remote_control off there is no answer", async () => {
  {
    await using site = await Site.start();
    const inspect = site.control.inspect({ pattern: "w1@*", matcher: "glob" });
    assert.deepEqual(Object.keys(await site.get(inspect.ping())), ["w1@example"]);
    const asking = site.control.inspect({ destination: "other@x", timeout: 0.2 }).ping();
    await site.rig.settle();
    await site.rig.world.clock.advance(250);
    assert.deepEqual(await site.get(asking), {});
  }
  await using deaf = await Site.start({ settings: { worker_enable_remote_control: false } });
  assert.deepEqual(await deaf.get(deaf.control.inspect().ping()), {});
});

Deno.test("shutdown: no reply, and a warm stop", async () => {
  await using site = await Site.start();
  await site.get(site.control.shutdown());
  await site.rig.until(() => site.rig.exit !== null);
  assert.equal(site.rig.exit, 0);
  assert.ok(site.rig.log("WARNING").includes("Got shutdown from remote"));
});
