import assert from "node:assert/strict";
import { ConnectionLost, DialError, UsageError } from "../../../lib/base/mod.ts";
import { App, BrokerPublisher, connectBroker, type Publisher, signals } from "../../../lib/app/mod.ts";
import { Signature } from "../../../lib/canvas/mod.ts";
import { connect, type Connection, type OutgoingMessage } from "../../../lib/transport/mod.ts";
import { acceptedTypes, decodeTaskBody, decodeTaskHeaders, EncodeError } from "../../../lib/wire/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";

const JSON_ONLY = acceptedTypes(["json"]);

/** An App whose messages are kept. */
function recorded(settings = {}): { app: App; world: FakeWorld; sent: OutgoingMessage[]; batches: number[] } {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://", ...settings }, { world });
  const sent: OutgoingMessage[] = [];
  const batches: number[] = [];
  app.publisher = {
    publish(batch): Promise<void> {
      sent.push(...batch);
      batches.push(batch.length);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  } satisfies Publisher;
  return { app, world, sent, batches };
}

Deno.test("sendTask: the message is Celery's", async () => {
  const { app, world, sent } = recorded();
  const result = await app.sendTask("t.add", { args: [1, "x"], kwargs: { k: true }, taskId: "id-1" });
  assert.equal(result.id, "id-1");
  const [{ exchange, routingKey, message }] = sent as [OutgoingMessage];
  assert.deepEqual([exchange, routingKey], ["", "celery"]);
  assert.deepEqual(message.headers, {
    lang: "py",
    task: "t.add",
    id: "id-1",
    shadow: null,
    eta: null,
    expires: null,
    group: null,
    group_index: null,
    retries: 0,
    timelimit: [null, null],
    root_id: "id-1",
    parent_id: null,
    argsrepr: "(1, 'x')",
    kwargsrepr: "{'k': True}",
    origin: `gen${world.host.pid}@${world.host.hostname}`,
    ignore_result: false,
    replaced_task_nesting: 0,
    stamped_headers: null,
    stamps: {},
  });
  assert.deepEqual(message.properties, {
    correlationId: "id-1",
    replyTo: app.oid,
    deliveryMode: 2,
    priority: 0,
    expiration: null,
    rest: null,
  });
  assert.deepEqual(decodeTaskBody(message, JSON_ONLY), {
    args: [1, "x"],
    kwargs: { k: true },
    embed: { callbacks: null, errbacks: null, chain: null, chord: null },
  });
});

Deno.test("sendTask: eta, countdown and expires", async () => {
  const { app, sent } = recorded();
  await app.sendTask("t", { countdown: 2.5, expires: 60 });
  await app.sendTask("t", {
    eta: new Date(Date.UTC(2030, 0, 1)),
    expires: new Date(Date.UTC(2024, 0, 2, 3, 4, 6, 678)),
  });
  await app.sendTask("t", {
    eta: "2030-01-01T00:00:00",
    expires: "2024-01-02T03:05:05.678+00:00",
    countdown: 0,
  });
  const times = sent.map(({ message }) => [
    message.headers["eta"],
    message.headers["expires"],
    message.properties.expiration,
  ]);
  assert.deepEqual(times, [
    ["2024-01-02T03:04:08.178000+00:00", "2024-01-02T03:05:05.678000+00:00", "60000"],
    ["2030-01-01T00:00:00+00:00", "2024-01-02T03:04:06.678000+00:00", "1000"],
    ["2030-01-01T00:00:00", "2024-01-02T03:05:05.678+00:00", "60000"],
  ]);
});

Deno.test("sendTask: an expiry in the past is told, and its time to live is 0", async () => {
  const { app, world, sent } = recorded();
  await app.sendTask("t", { expires: -5, taskId: "late" });
  assert.equal(sent[0]!.message.properties.expiration, "0");
  assert.match(world.log.records[0]!.message, /^late has an expiration date in the past \(5\.0s ago\)/);
});

Deno.test("sendTask: options of routing, of the task and of the caller", async () => {
  const { app, sent } = recorded({
    task_routes: { "t.routed": { queue: "low", priority: 6, time_limit: 9 } },
    task_default_priority: 2,
  });
  await app.sendTask("t.routed", {});
  await app.sendTask("t.routed", { queue: "mine", priority: 1, timeLimit: 5, softTimeLimit: 4 });
  await app.sendTask("t.other", { headers: { trace: "abc", lang: "ts" }, shadow: "s", deliveryMode: 1 });
  await app.sendTask("t.other", { exchange: "media", routingKey: "video.cut" });
  const seen = sent.map(({ exchange, routingKey, message: { headers, properties } }) => [
    exchange,
    routingKey,
    properties.priority,
    headers["timelimit"],
    properties.deliveryMode,
  ]);
  assert.deepEqual(seen, [
    ["", "low", 6, [9, null], 2],
    ["", "mine", 1, [5, 4], 2],
    ["", "celery", 2, [null, null], 1],
    ["media", "video.cut", 2, [null, null], 2],
  ]);
  assert.deepEqual([sent[2]!.message.headers["trace"], sent[2]!.message.headers["lang"]], ["abc", "ts"]);
});

Deno.test("sendTask: links, chord, chain, group, stamps", async () => {
  const { app, sent } = recorded();
  const callback = new Signature("t.done", { args: [1] });
  await app.sendTask("t", {
    link: callback,
    linkError: [{ task: "t.bad", args: [], kwargs: {} }],
    chain: [new Signature("t.next")],
    chord: new Signature("t.body"),
    groupId: "g",
    groupIndex: 3,
    rootId: "r",
    parentId: "p",
    retries: 2,
    replacedTaskNesting: 1,
    stampedHeaders: ["who"],
    stamps: { who: "me" },
  });
  const { message } = sent[0]!;
  const headers = decodeTaskHeaders(message)!;
  assert.deepEqual(
    [headers.group, headers.groupIndex, headers.rootId, headers.parentId, headers.retries, headers.stamps],
    ["g", 3, "r", "p", 2, { who: "me" }],
  );
  const { embed } = decodeTaskBody(message, JSON_ONLY);
  assert.deepEqual(embed.callbacks, [callback.toJSON()]);
  assert.equal(embed.errbacks![0]!.task, "t.bad");
  assert.deepEqual([embed.chain!.next.task, embed.chord!.task], ["t.next", "t.body"]);
});

Deno.test("sendTask: what cannot be sent is refused by name, before anything leaves", async () => {
  const { app, sent } = recorded();
  const cycle: unknown[] = [];
  cycle.push(cycle);
  for (const args of [[() => 1], [cycle], [Symbol("s")]]) {
    await assert.rejects(app.sendTask("t.add", { args }), (error: unknown) => {
      assert(error instanceof EncodeError);
      assert.match(error.message, /^Cannot send task "t\.add": /);
      return true;
    });
  }
  await assert.rejects(
    app.sendTask("t.add", { timeLimit: 1, softTimeLimit: 2 }),
    (error: unknown) => error instanceof UsageError && /must be less than or equal/.test(error.message),
  );
  assert.equal(sent.length, 0);
});

Deno.test("sendTask: other serializers and compression are loaded when named", async () => {
  const { app, sent } = recorded();
  await app.sendTask("t", { args: [1], serializer: "yaml" });
  await app.sendTask("t", { args: [2], serializer: "msgpack", compression: "gzip" });
  assert.equal(sent[0]!.message.contentType, "application/x-yaml");
  assert.equal(sent[1]!.message.headers["compression"], "application/x-gzip");
  assert.deepEqual(decodeTaskBody(sent[1]!.message, acceptedTypes(["msgpack"])).args, [2]);
});

Deno.test("signals: beforeTaskPublish changes the message, afterTaskPublish hears of it", async () => {
  const { app, sent } = recorded();
  const before = signals.beforeTaskPublish.connect(({ headers, properties, body, sender }) => {
    headers["trace"] = sender;
    (properties as { priority: number }).priority = 7;
    (body as unknown[][])[0]!.push(99);
  }, { sender: "t.add" });
  const heard: unknown[] = [];
  const after = signals.afterTaskPublish.connect(({ sender, headers, routingKey }) =>
    heard.push([sender, headers["id"], routingKey])
  );
  try {
    await app.sendTask("t.add", { args: [1], taskId: "x" });
    await app.sendTask("t.other", { args: [1], taskId: "y" });
  } finally {
    signals.beforeTaskPublish.disconnect(before);
    signals.afterTaskPublish.disconnect(after);
  }
  assert.equal(sent[0]!.message.headers["trace"], "t.add");
  assert.equal(sent[0]!.message.properties.priority, 7);
  assert.deepEqual(decodeTaskBody(sent[0]!.message, JSON_ONLY).args, [1, 99]);
  assert.equal(sent[1]!.message.headers["trace"], undefined);
  assert.deepEqual(heard, [["t.add", "x", "celery"], ["t.other", "y", "celery"]]);
});

Deno.test("task_send_sent_event: an event goes with the message", async () => {
  const { app, sent } = recorded({ task_send_sent_event: true });
  await app.sendTask("t", { taskId: "x" });
  assert.equal(sent.length, 2);
  assert.deepEqual([sent[1]!.exchange, sent[1]!.routingKey], ["celeryev", "task.sent"]);
  const text = atob(sent[1]!.message.body as string);
  const event = JSON.parse(text);
  assert.deepEqual([event.type, event.uuid, event.queue, event.clock], ["task-sent", "x", "celery", 1]);
});

Deno.test("sendMany: order, parts, tasks, names and signatures", async () => {
  const { app, sent, batches } = recorded();
  const add = app.task("t.add", { priority: 4 }, (x: number, y: number) => x + y);
  const calls = function* () {
    for (let n = 0; n < 600; n++) yield { task: add, args: [n, n] };
    yield { task: "t.named", kwargs: { k: 1 }, options: { taskId: "named" } };
    yield new Signature("t.sig", { args: [5], options: { queue: "q2" } });
  };
  const results = await app.sendMany(calls());
  assert.equal(results.length, 602);
  assert.deepEqual(batches, [256, 256, 90]);
  assert.deepEqual(results.map((one) => one.id), sent.map(({ message }) => message.headers["id"]));
  assert.equal(sent[599]!.message.properties.priority, 4);
  assert.deepEqual(decodeTaskBody(sent[599]!.message, JSON_ONLY).args, [599, 599]);
  assert.equal(results[600]!.id, "named");
  assert.equal(sent[601]!.routingKey, "q2");
});

Deno.test("sendMany: a call that cannot be sent ends it; what came before is sent", async () => {
  const { app, sent } = recorded();
  await assert.rejects(
    app.sendMany([{ task: "t.a" }, { task: "t.b", args: [() => 1] }, { task: "t.c" }]),
    EncodeError,
  );
  assert.deepEqual(sent.map(({ message }) => message.headers["task"]), ["t.a"]);
});

Deno.test("sendMany: a broker that takes nothing rejects it", async () => {
  const { world } = recorded();
  const app = new App("t", { broker_url: "memory://" }, { world });
  let calls = 0;
  app.publisher = {
    publish: () => ++calls === 1 ? Promise.reject(new ConnectionLost("gone")) : Promise.resolve(),
    close: () => Promise.resolve(),
  };
  await assert.rejects(
    app.sendMany(Array.from({ length: 2000 }, () => ({ task: "t" }))),
    (error: unknown) => error instanceof ConnectionLost,
  );
});

/** Opens memory connections, the first ones failing as told. */
function failing(errors: (Error | null)[]): { opened: string[]; connect: typeof connect } {
  const opened: string[] = [];
  return {
    opened,
    connect: async (world, url, options): Promise<Connection> => {
      opened.push(url);
      const error = errors.shift();
      if (error) throw error;
      return await connect(world, "memory://sending", options);
    },
  };
}

Deno.test("BrokerPublisher: declares once, publishes, and tries again by the policy", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://" }, { world });
  const { opened, connect } = failing([new DialError("refused"), new DialError("refused")]);
  const publisher = new BrokerPublisher(app, { connect });
  app.publisher = publisher;
  const sending = app.sendTask("t.add", { args: [1], queue: "publisher" });
  await world.clock.advance(250);
  await sending;
  assert.equal(opened.length, 3);
  await using connection = await connect(world, "memory://", {
    timeoutMs: 1000,
    transportOptions: {},
    useSsl: false,
    heartbeatSeconds: 0,
    loginMethod: null,
    clientName: "test",
  });
  assert.equal(await connection.queueLength("publisher"), 1);
  await connection.purge("publisher");
  await publisher.close();
  await publisher.close();
  await assert.rejects(publisher.publish([]), /closed/);
});

Deno.test("BrokerPublisher: on an open connection a message is on its way when publish returns", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://" }, { world });
  const taken: number[] = [];
  const publisher = new BrokerPublisher(app, {
    connect: async (...args) => {
      const connection = await connect(...args);
      const publish = connection.publish.bind(connection);
      connection.publish = (batch) => {
        taken.push(batch.length);
        return publish(batch);
      };
      return connection;
    },
  });
  const { outgoing } = app.prepareSend({ name: "t", args: [], kwargs: {}, options: { queue: "at-once" } });
  await publisher.publish([outgoing]);
  const publishing = publisher.publish([outgoing, outgoing]);
  assert.deepEqual(taken, [1, 2]);
  await publishing;
  await publisher.close();
});

Deno.test("BrokerPublisher: what ends a task is the worker's own where it may, and published where it is not", async () => {
  const { opened, connect } = failing([]);
  const cases = [
    { what: "claimed", urls: {}, claim: () => Promise.resolve(), isOver: true, publishes: 0 },
    {
      what: "sent by a task that goes on",
      urls: {},
      claim: () => Promise.resolve(),
      isOver: false,
      publishes: 1,
    },
    { what: "refused", urls: {}, claim: () => null, isOver: true, publishes: 1 },
    {
      what: "cut off",
      urls: {},
      claim: () => Promise.reject(new ConnectionLost("gone")),
      isOver: true,
      publishes: 1,
    },
    {
      what: "for another broker",
      urls: { broker_write_url: "memory://other" },
      claim: () => Promise.resolve(),
      isOver: true,
      publishes: 1,
    },
  ];
  for (const { what, urls, claim, isOver, publishes } of cases) {
    opened.length = 0;
    const app = new App("t", { broker_url: "memory://", ...urls }, { world: fakeWorld() });
    app.claim = claim;
    const publisher = new BrokerPublisher(app, { connect });
    const { outgoing } = app.prepareSend({ name: "t", args: [], kwargs: {}, options: { queue: "claims" } });
    await publisher.publish([outgoing], { isOver });
    assert.equal(opened.length, publishes, what);
    await publisher.close();
  }
});

Deno.test("BrokerPublisher: gives up after max_retries, at once with retry: false", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://", task_publish_retry_policy: { max_retries: 1 } }, {
    world,
  });
  const refused = () => new DialError("refused");
  const { opened, connect } = failing([refused(), refused(), refused(), refused()]);
  app.publisher = new BrokerPublisher(app, { connect });
  const sending = assert.rejects(app.sendTask("t"), DialError);
  await world.clock.advance(5000);
  await sending;
  assert.equal(opened.length, 2);
  await assert.rejects(app.sendTask("t", { retry: false }), DialError);
  assert.equal(opened.length, 3);
});

Deno.test("BrokerPublisher: close waits five seconds for a broker that takes nothing, and who publishes hears of it", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://" }, { world });
  const { connect } = failing([]);
  const publisher = new BrokerPublisher(app, {
    connect: async (...how) => {
      const connection = await connect(...how);
      const end = connection.close.bind(connection);
      const { promise, reject } = Promise.withResolvers<never>();
      connection.publish = () => promise;
      connection.close = () => (reject(new ConnectionLost("the connection is closed")), end());
      return connection;
    },
  });
  app.publisher = publisher;
  const sending = assert.rejects(app.sendTask("t"), /the connection is closed/);
  await world.clock.settle();
  let isClosed = false;
  const closing = publisher.close().then(() => isClosed = true);
  await world.clock.advance(4900);
  assert.equal(isClosed, false);
  await world.clock.advance(100);
  await Promise.all([closing, sending]);
  assert.deepEqual(world.clock.armed, []);
});

Deno.test("connectBroker: the whole list, then 2, 4, 6 … seconds", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "redis://a;redis://b" }, { world });
  const { opened, connect } = failing(Array.from({ length: 5 }, () => new DialError("refused")));
  const told: unknown[] = [];
  const connecting = connectBroker(app, {
    forWriting: false,
    connect,
    onAttempt: (_error, delay, attempt, max) => told.push([delay, attempt, max]),
  });
  await world.clock.advance(20_000);
  await (await connecting).close();
  assert.deepEqual(opened, ["redis://a", "redis://b", "redis://a", "redis://b", "redis://a", "redis://b"]);
  assert.deepEqual(told, [[0, 0, 100], [2, 1, 100], [0, 1, 100], [4, 2, 100], [0, 2, 100]]);
  world.clock.checkNothingArmed();
});

Deno.test("connectBroker: no retry at startup, a refusal for good, and an abort", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "redis://a", broker_connection_retry_on_startup: false }, { world });
  await assert.rejects(
    connectBroker(app, {
      forWriting: false,
      isStartup: true,
      connect: failing([new DialError("x")]).connect,
    }),
    DialError,
  );
  await assert.rejects(
    connectBroker(app, { forWriting: false, connect: failing([new UsageError("wrong")]).connect }),
    UsageError,
  );
  const abort = new AbortController();
  const connecting = connectBroker(app, {
    forWriting: false,
    signal: abort.signal,
    connect: failing([new DialError("x")]).connect,
  });
  await world.clock.settle();
  abort.abort(new Error("stopped"));
  await assert.rejects(connecting, /stopped/);
  world.clock.checkNothingArmed();
});
