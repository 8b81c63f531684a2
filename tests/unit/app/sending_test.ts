import assert from "node:assert/strict";
import { AccessRefused, ConnectionLost, DialError, ServerError, UsageError } from "../../../lib/base/mod.ts";
import {
  App,
  BrokerPublisher,
  connectBroker,
  connectOptions,
  type Publisher,
  type SendOptions,
  type Settings,
  signals,
} from "../../../lib/app/mod.ts";
import { chain, group, Signature } from "../../../lib/canvas/mod.ts";
import {
  connect,
  type Connection,
  type OutgoingMessage,
  type Queue,
  queue,
} from "../../../lib/transport/mod.ts";
import {
  acceptedTypes,
  bodyBytes,
  decodeTaskBody,
  decodeTaskHeaders,
  EncodeError,
} from "../../../lib/wire/mod.ts";
import { redisOptionsOf } from "../../../lib/transport/redis/options.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";
import { CONNECT_OPTIONS } from "../../support/connect_options.ts";

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

Deno.test("App: a worker or slot sets its publisher although the module has sent something while it was loaded", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://sent-at-load" }, { world });
  await app.sendTask("t.add");
  const sent: OutgoingMessage[] = [];
  app.publisher = {
    publish: (batch) => Promise.resolve(void sent.push(...batch)),
    close: () => Promise.resolve(),
  };
  await app.sendTask("t.add");
  assert.equal(sent.length, 1);
  await app.close();
  assert.deepEqual(world.clock.armed, []);
});

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

Deno.test("sendTask: argsrepr and kwargsrepr go in the place of the arguments' own text", async () => {
  const { app, sent } = recorded({ task_send_sent_event: true });
  await app.sendTask("t", { args: ["s3cret"], kwargs: { k: "s3cret" }, argsrepr: "(…)", kwargsrepr: "{…}" });
  const [{ message }, event] = sent as [OutgoingMessage, OutgoingMessage];
  assert.deepEqual([message.headers["argsrepr"], message.headers["kwargsrepr"]], ["(…)", "{…}"]);
  assert.ok(!JSON.stringify(message.headers).includes("s3cret"));
  assert.match(new TextDecoder().decode(bodyBytes(event.message)), /"args": ?"\(…\)", ?"kwargs": ?"\{…\}"/);
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

Deno.test("sendTask, sendMany: a registered task's options hold for calls by name, the call's own over them", async () => {
  const { app, sent } = recorded();
  app.task(
    "t.cut",
    { queue: "media", timeLimit: 9, expires: 60, priority: 3, ignoreResult: true, shadowName: () => "s" },
    () => 1,
  );
  const first = await app.sendTask("t.cut");
  await app.sendTask("t.cut", { queue: "mine", priority: 1, timeLimit: null });
  await app.sendMany([{ task: "t.cut", options: { timeLimit: 5 } }]);
  const seen = sent.map(({ routingKey, message: { headers, properties } }) => [
    routingKey,
    properties.priority,
    headers["timelimit"],
    headers["expires"] !== null,
    headers["ignore_result"],
    headers["shadow"],
  ]);
  assert.deepEqual(seen, [
    ["media", 3, [9, null], true, false, null],
    ["mine", 1, [9, null], true, false, null],
    ["media", 3, [5, null], true, false, null],
  ]);
  assert.equal(first.ignored, false);
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
      assert.ok(error instanceof EncodeError);
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

Deno.test("sendTask: times and limits that no worker could read are refused at the call", async () => {
  const { app, sent } = recorded();
  const ms = 1_700_000_000_000;
  const far = new Date(8.64e15);
  const refusals: [SendOptions, RegExp][] = [
    [{ expires: ms + 60_000 }, /: expires 1700000060000 is out of range: it is counted in seconds from now/],
    [{ countdown: 1e12 }, /: countdown 1000000000000 is out of range/],
    [{ countdown: -1e12 }, /: countdown -1000000000000 is out of range/],
    [{ countdown: NaN }, /: countdown NaN must be a number of seconds$/],
    [{ countdown: "10" as unknown as number }, /: countdown "10" must be a number of seconds$/],
    [{ eta: far }, /: eta \+275760-09-13T00:00:00\.000Z is out of range: years are 1 to 9999$/],
    [{ expires: far }, /: expires \+275760-/],
    [{ eta: new Date(NaN) }, /: eta Invalid Date must be a Date or ISO 8601 text$/],
    [{ eta: "tomorrow" }, /: eta "tomorrow" must be ISO 8601 text such as/],
    [{ expires: "soon" }, /: expires "soon" must be ISO 8601 text such as/],
    [{ eta: "2026-02-30T00:00:00" }, /: eta "2026-02-30T00:00:00" must be ISO 8601 text/],
    [{ eta: 5 as unknown as string }, /: eta 5 must be a Date or ISO 8601 text$/],
    [{ timeLimit: -1 }, /: timeLimit -1 must be a number of seconds, 0 or more$/],
    [{ softTimeLimit: Infinity }, /: softTimeLimit Infinity must be a number of seconds/],
  ];
  for (const [options, message] of refusals) {
    await assert.rejects(app.sendTask("t.add", options), (error: unknown) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^Cannot send task "t\.add": /);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(sent.length, 0);
  await app.sendTask("t", { eta: "9999-12-31T23:59:59", expires: "20300101T000000Z", countdown: 0 });
  await app.sendTask("t", { eta: "", expires: "" });
  const times = sent.map(({ message }) => [message.headers["eta"], message.headers["expires"]]);
  assert.deepEqual(times, [["9999-12-31T23:59:59", "20300101T000000Z"], [null, null]]);
});

Deno.test("sendTask: an option that is an empty text is not given, wherever it comes from", async () => {
  const plain = recorded();
  await plain.app.sendTask("t.add", { args: [1, 2], taskId: "id" });
  const names = [
    "queue",
    "exchange",
    "exchangeType",
    "routingKey",
    "serializer",
    "compression",
    "shadow",
    "replyTo",
  ];
  for (const name of [...names, "eta", "expires", "correlationId", "rootId", "groupId", "origin"]) {
    const { app, sent } = recorded();
    await app.sendTask("t.add", { args: [1, 2], taskId: "id", [name]: "" });
    const { properties: { replyTo: _own, ...properties }, ...message } = sent[0]!.message;
    const { properties: { replyTo: _other, ...theirs }, ...expected } = plain.sent[0]!.message;
    assert.deepEqual({ ...message, properties }, { ...expected, properties: theirs }, name);
    assert.deepEqual([sent[0]!.exchange, sent[0]!.routingKey], ["", "celery"], name);
  }
  const { app, sent } = recorded({ task_routes: { "t.*": { queue: "routed", serializer: "" } } });
  const add = app.task("t.add", { queue: "", serializer: "" }, (x: number) => x);
  const { id } = await add.applyAsync([1], {}, { taskId: "", queue: "" });
  assert.match(id, /^[0-9a-f-]{36}$/);
  await app.sendMany([{ task: add, args: [1], options: { taskId: "", routingKey: "" } }]);
  await add.s(1).set({ queue: "", taskId: "" }).applyAsync();
  for (const { message, routingKey } of sent) {
    assert.deepEqual([message.contentType, routingKey], ["application/json", "routed"]);
    assert.match(String(message.headers["id"]), /^[0-9a-f-]{36}$/);
  }
  assert.equal(sent.length, 3);
});

Deno.test("sendTask: an option that is to be a text and is not is the caller's error, which names it", async () => {
  const { app, sent } = recorded();
  const names = [
    "compression",
    "routingKey",
    "taskId",
    "shadow",
    "replyTo",
    "correlationId",
    "groupId",
  ];
  for (const name of [...names, "exchangeType", "rootId", "parentId", "origin", "routeName"]) {
    for (const value of [5, 2n ** 70n, true, [], {}]) {
      await assert.rejects(
        app.sendTask("t.add", { [name]: value }),
        { name: "UsageError", message: new RegExp(`^Cannot send a task: ${name} must be a text, not `) },
      );
    }
  }
  assert.equal(sent.length, 0);
});

Deno.test("sendTask: an empty compression or serializer is none of its own, in settings, tasks and calls", async () => {
  for (const settings of [{ task_compression: "" }, {}]) {
    const { app, sent } = recorded(settings);
    const task = app.task("t.add", { compression: "", serializer: "" }, (x: number) => x);
    await task.delay(1);
    await task.applyAsync([1], {}, { compression: "", serializer: "" });
    await app.sendTask("t.other", { args: [1], compression: "", serializer: "" });
    await task.s(1).set({ compression: "", serializer: "" }).delay();
    for (const { message } of sent) {
      assert.deepEqual([message.contentType, message.headers["compression"]], [
        "application/json",
        undefined,
      ]);
    }
    assert.equal(sent.length, 4);
  }
  const { app, sent } = recorded({ task_compression: "gzip" });
  await app.sendTask("t.other", { args: [1], compression: "" });
  assert.equal(sent[0]!.message.headers["compression"], "application/x-gzip", "as in Celery");
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

Deno.test("a registered task's own options hold for each way to send it", async () => {
  const { app, sent } = recorded();
  const slow = app.task("t.slow", {
    queue: "slow",
    serializer: "yaml",
    compression: "gzip",
    timeLimit: 77,
    shadowName: (args) => `slow ${args[0]}`,
  }, (n: number) => n);
  await slow.delay(1);
  await slow.s(2).applyAsync();
  await app.sendMany([slow.s(3), { task: slow, args: [4] }]);
  await group(slow.s(5), slow.s(6)).applyAsync();
  await chain(slow.si(7), slow.si(8)).applyAsync();
  const seen = sent.map(({ routingKey, message }) => {
    const { shadow, timelimit, compression } = message.headers;
    return [routingKey, message.contentType, compression, timelimit, shadow];
  });
  const form = ["slow", "application/x-yaml", "application/x-gzip", [77, null]];
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7].map((n) => [...form, `slow ${n}`]));
});

Deno.test("sendMany: a signature's own options win, and its stamps travel", async () => {
  const { app, sent } = recorded();
  const slow = app.task("t.slow", { queue: "slow" }, (n: number) => n);
  await app.sendMany([slow.s(1).set({ queue: "fast" }).stamp({ visit: "v" })]);
  const [{ routingKey, message }] = sent as [OutgoingMessage];
  assert.deepEqual([routingKey, message.headers["stamps"]], ["fast", { visit: "v" }]);
  const misfit = slow.s().set({ queue: "fast" });
  await assert.rejects(app.sendMany([misfit]), TypeError);
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
  await using connection = await connect(world, "memory://", CONNECT_OPTIONS);
  assert.equal(await connection.queueLength("publisher"), 1);
  await connection.purge("publisher");
  await publisher.close();
  await publisher.close();
  await assert.rejects(publisher.publish([]), /closed/);
});

Deno.test("BrokerPublisher: a silent broker is asked once by a program, again by a worker, and for ever if that is asked for", async () => {
  for (const who of ["program", "worker", "patient"]) {
    const world = fakeWorld();
    const policy = who === "patient" ? { task_publish_retry_policy: { max_retries: null } } : {};
    const app = new App("t", { broker_url: "memory://", ...policy }, { world });
    if (who === "worker") app.handOn = () => null;
    let opened = 0;
    app.publisher = new BrokerPublisher(app, {
      connect: async (_world, _url, { timeoutMs }) => {
        opened++;
        if (opened > 10) throw new UsageError("enough");
        await world.clock.sleep(timeoutMs);
        throw new DialError("Cannot log in: no answer in 4 s");
      },
    });
    const refused = assert.rejects(
      app.sendTask("t.add", { args: [1] }),
      who === "patient" ? UsageError : DialError,
    );
    await world.clock.advance(60_000);
    await refused;
    assert.equal(opened, { program: 1, worker: 4, patient: 11 }[who]);
  }
});

Deno.test("BrokerPublisher: a queue that came with one message is declared on every connection after it", async () => {
  const world = fakeWorld();
  const options = { autoDelete: true, queueArguments: { "x-max-priority": 3 } };
  // As a pool's slot sends: its queue goes with the first message alone, and this App knows no such queue.
  const slot = new App("t", { broker_url: "memory://" }, { world });
  const { outgoing } = slot.prepareSend({
    name: "t",
    args: [],
    kwargs: {},
    options: { queue: queue("only-there", options) },
  });
  const app = new App("t", { broker_url: "memory://" }, { world });
  const declared: [number, Queue][] = [];
  const connections: Connection[] = [];
  const publisher = new BrokerPublisher(app, {
    connect: async (...args) => {
      const connection = await connect(...args);
      const number = connections.push(connection);
      const declare = connection.declare.bind(connection);
      connection.declare = (one) => {
        declared.push([number, one]);
        return declare(one);
      };
      return connection;
    },
  });
  await publisher.publish([outgoing]);
  await publisher.publish([{ ...outgoing, queue: null }]);
  await connections[0]!.close();
  await connections[0]!.lost;
  await publisher.publish([{ ...outgoing, queue: null }]);
  assert.deepEqual(declared, [[1, queue("only-there", options)], [2, queue("only-there", options)]]);
  assert.deepEqual([...app.amqp.queues].map(({ name }) => name), ["celery"]);
  await publisher.close();
});

Deno.test("sendTask: it must reach a queue, unless its exchange is a fanout", async () => {
  const { app, sent } = recorded({
    task_queues: [
      { name: "celery" },
      { name: "news", broadcast: true },
      { name: "video", exchange: { name: "media", type: "topic" }, routing_key: "video.#" },
    ],
  });
  for (
    const options of [
      {},
      { queue: "new" },
      { queue: "video" },
      { queue: "news" },
      { exchange: "media", routingKey: "audio" },
      { exchange: "news", routingKey: "any" },
      { exchange: "elsewhere", routingKey: "k" },
      { exchange: "elsewhere", routingKey: "k", exchangeType: "fanout" },
      { deliveryMode: 1 as const },
    ]
  ) await app.sendTask("t.add", options);
  assert.deepEqual(sent.map(({ isMandatory }) => isMandatory), [
    true,
    true,
    true,
    false,
    true,
    false,
    true,
    false,
    true,
  ]);
  assert.deepEqual(sent.slice(0, 3).map(({ queue }) => queue?.name), ["celery", "new", "video"]);
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
    { what: "handed on", urls: {}, handOn: () => Promise.resolve(), isLast: true, publishes: 0 },
    {
      what: "sent by a task that goes on",
      urls: {},
      handOn: () => Promise.resolve(),
      isLast: false,
      publishes: 1,
    },
    { what: "refused", urls: {}, handOn: () => null, isLast: true, publishes: 1 },
    {
      what: "cut off",
      urls: {},
      handOn: () => Promise.reject(new ConnectionLost("gone")),
      isLast: true,
      publishes: 1,
    },
    {
      what: "for another broker",
      urls: { broker_write_url: "memory://other" },
      handOn: () => Promise.resolve(),
      isLast: true,
      publishes: 1,
    },
  ];
  for (const { what, urls, handOn, isLast, publishes } of cases) {
    opened.length = 0;
    const app = new App("t", { broker_url: "memory://", ...urls }, { world: fakeWorld() });
    app.handOn = handOn;
    const publisher = new BrokerPublisher(app, { connect });
    const { outgoing } = app.prepareSend({
      name: "t",
      args: [],
      kwargs: {},
      options: { queue: "handed-on" },
    });
    await publisher.publish([outgoing], { handOn: isLast });
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

Deno.test("connectOptions: 0, null and empty text are none", () => {
  const told = (settings: Partial<Settings>) =>
    connectOptions(new App("t", { broker_url: "memory://", ...settings }, { world: fakeWorld() }), {
      forWriting: true,
    });
  assert.equal(told({}).timeoutMs, 4000);
  for (const none of [0, null]) {
    assert.equal(told({ broker_connection_timeout: none }).timeoutMs, 2 ** 31 - 1);
  }
  assert.equal(told({ broker_login_method: "" }).loginMethod, null);
  const options = told({ broker_connection_timeout: 0, broker_transport_options: { visibility_timeout: 0 } });
  const redis = redisOptionsOf({
    ...options,
    transportOptions: { socket_connect_timeout: 0, socket_timeout: 0 },
  });
  assert.deepEqual([redis.connectTimeoutMs, redis.replyTimeoutMs], [2 ** 31 - 1, 10_000]);
  assert.equal(redisOptionsOf(options).visibilityTimeoutMs, 3_600_000);
  const app = new App("t", { broker_url: " redis://h/1\n", broker_transport: "" }, { world: fakeWorld() });
  assert.equal(app.conf.broker_url, "redis://h/1");
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
  await assert.rejects(
    connectBroker(app, { forWriting: false, connect: failing([new AccessRefused("WRONGPASS")]).connect }),
    AccessRefused,
  );
  // Who was there before may be taken again.
  const { opened, connect } = failing([new AccessRefused("NOAUTH"), new ServerError("541", { code: "541" })]);
  const again = connectBroker(app, { forWriting: false, isReconnect: true, connect });
  await world.clock.advance(6000);
  await (await again).close();
  assert.equal(opened.length, 3);
  await assert.rejects(
    connectBroker(app, {
      forWriting: false,
      isReconnect: true,
      connect: failing([new UsageError("wrong")]).connect,
    }),
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

Deno.test("send: what no worker could read is the caller's error: arguments, priorities, callbacks", async () => {
  await using app = new App("t", { broker_url: "memory://" }, { world: fakeWorld() });
  const add = app.task("t.add", (x: number, y: number) => x + y);
  const cases: [() => Promise<unknown>, string][] = [
    [() => add.applyAsync("ab" as never), 'its arguments must be an array, not "ab"'],
    [() => app.sendTask("t.add", { args: { 0: 1 } as never }), 'its arguments must be an array, not {"0":1}'],
    [
      () => app.sendTask("t.add", { kwargs: [1] as never }),
      "its keyword arguments must be an object, not [1]",
    ],
    [
      () => add.applyAsync([1, 2], null, { priority: 999 }),
      "priority 999 must be a whole number from 0 to 255",
    ],
    [() => app.sendTask("t.add", { priority: NaN }), "priority NaN must be a whole number from 0 to 255"],
    [
      () => app.sendTask("t.add", { priority: "high" as never }),
      'priority "high" must be a whole number from 0 to 255',
    ],
  ];
  for (const [send, text] of cases) {
    await assert.rejects(send, { name: "UsageError", message: `Cannot send task "t.add": ${text}` });
  }
  for (const name of ["", 5, undefined]) {
    await assert.rejects(app.sendTask(name as never), {
      name: "UsageError",
      message: /^Cannot send a task: its name must be a text that is not empty, not /,
    });
  }
  for (const id of ["", 5]) {
    assert.throws(() => app.AsyncResult(id as never), {
      name: "UsageError",
      message: /^Cannot read a result: its id must be a text that is not empty, not /,
    });
  }
  for (const timeout of [NaN, "1"]) {
    await assert.rejects(async () => await app.AsyncResult("x").get({ timeout: timeout as never }), {
      name: "UsageError",
      message: /must be a number of seconds$/,
    });
  }
  assert.throws(() => app.task("t.high", { priority: "high" as never }, () => 1), { name: "UsageError" });
  for (const link of ["t.add", 5, {}, { task: 5 }, [add.s(), null]]) {
    for (const option of ["link", "linkError"]) {
      await assert.rejects(add.applyAsync([1, 2], null, { [option]: link as never }), {
        name: "UsageError",
        message: /^Cannot use .+ as a signature: task\.s\(\) or app\.signature\("name"\) makes one$/,
      });
    }
  }
});
