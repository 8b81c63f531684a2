/**
 * The asking side, on the memory broker and a fake clock; nodes are subscriptions whose replies the test
 * gives.
 */

import assert from "node:assert/strict";
import { LamportClock } from "../../../lib/app/mod.ts";
import {
  type Answer,
  type Ask,
  Mailbox,
  MAILBOX_DEFAULTS,
  replyExchange,
  requestQueue,
} from "../../../lib/mailbox/mod.ts";
import { connect, type Connection } from "../../../lib/transport/mod.ts";
import {
  acceptedTypes,
  decodeMailboxRequest,
  encodeMailboxReply,
  type MailboxRequest,
} from "../../../lib/wire/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";
import { CONNECT_OPTIONS } from "../../support/connect_options.ts";

let brokers = 0;

/** A cluster of scripted nodes, and a mailbox that asks them. */
class Cluster implements AsyncDisposable {
  readonly world: FakeWorld = fakeWorld();
  readonly clock = new LamportClock();
  readonly heard: [node: string, request: MailboxRequest][] = [];
  readonly #url = `memory://mailbox-${++brokers}`;
  connection!: Connection;
  mailbox!: Mailbox;

  static async open(nodes: Record<string, unknown>): Promise<Cluster> {
    const cluster = new Cluster();
    cluster.connection = await cluster.connect();
    cluster.mailbox = new Mailbox(cluster.world, cluster.connection, { clock: cluster.clock });
    for (const [node, reply] of Object.entries(nodes)) await cluster.add(node, reply);
    return cluster;
  }

  connect(): Promise<Connection> {
    return connect(this.world, this.#url, CONNECT_OPTIONS);
  }

  /** Adds a node. `reply` undefined: it receives requests and does not reply. */
  async add(node: string, reply: unknown): Promise<void> {
    const connection = await this.connect();
    await connection.declareExchange(replyExchange(MAILBOX_DEFAULTS));
    await connection.subscribe(requestQueue(node, MAILBOX_DEFAULTS), ({ message }) => {
      const request = decodeMailboxRequest(message, acceptedTypes(["json"]));
      this.heard.push([node, request]);
      if (reply !== undefined) void this.reply(connection, node, request, reply);
    });
  }

  async reply(
    connection: Connection,
    hostname: string,
    { ticket, replyTo }: MailboxRequest,
    reply: unknown,
  ): Promise<void> {
    if (replyTo === null) return;
    const message = encodeMailboxReply({ hostname, reply, ticket, clock: 40 }, { bodyEncoding: "base64" });
    await connection.publish([{ exchange: replyTo.exchange, routingKey: replyTo.routingKey, message }]);
  }

  /** Asks, and advances the clock only as far as given: fails if the answer needs more. */
  async ask(ask: Ask, advanceMs = 0): Promise<Answer> {
    let answer: Answer | null = null;
    let failure: unknown = null;
    void this.mailbox.ask(ask).then((done) => answer = done, (error) => failure = error ?? new Error("none"));
    for (let turn = 0; turn < 20; turn++) await this.world.clock.settle();
    if (advanceMs > 0 && answer === null && failure === null) {
      await this.world.clock.advance(advanceMs);
      for (let turn = 0; turn < 20; turn++) await this.world.clock.settle();
    }
    if (failure !== null) throw failure;
    assert.ok(answer, `answered within ${advanceMs} ms`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mailbox.close();
    await this.connection.close();
  }
}

const nodesOf = ({ replies }: Answer) => replies.map(([node]) => node).sort();

Deno.test("ask: ends as soon as every node has answered, without time passing", async () => {
  await using cluster = await Cluster.open({ a: { ok: "pong" }, b: { ok: "pong" } });
  const seen: string[] = [];
  const answer = await cluster.ask({ command: "ping", onReply: (node) => void seen.push(node) });
  assert.deepEqual(nodesOf(answer), ["a", "b"]);
  assert.deepEqual(seen.sort(), ["a", "b"]);
  assert.deepEqual(answer.silent, { count: 0, names: [] });
  // Clocks of replies move ours forward.
  assert.ok(cluster.clock.value > 40);
  const [, request] = cluster.heard[0]!;
  assert.deepEqual(
    [request.method, request.destination, request.pattern, request.matcher, request.arguments],
    ["ping", null, null, null, {}],
  );
  assert.ok(request.expires > cluster.world.clock.wallMs() / 1000);
});

Deno.test("ask: without any node the answer is empty at once", async () => {
  await using cluster = await Cluster.open({});
  assert.deepEqual((await cluster.ask({ command: "ping" })).replies, []);
  assert.deepEqual((await cluster.ask({ command: "ping", destination: ["a"] })).silent, {
    count: 1,
    names: ["a"],
  });
});

Deno.test("ask: silent nodes are waited for until the timeout, and named", async () => {
  await using cluster = await Cluster.open({ a: { ok: "pong" }, b: undefined, c: undefined });
  const answer = await cluster.ask({ command: "ping", timeoutMs: 300 }, 300);
  assert.deepEqual(nodesOf(answer), ["a"]);
  assert.deepEqual(answer.silent, { count: 2, names: ["b", "c"] });
  const some = await cluster.ask({ command: "ping", destination: ["a", "b"], timeoutMs: 300 }, 300);
  assert.deepEqual(some.silent, { count: 1, names: ["b"] });
});

Deno.test("ask: destination, limit and pattern say how many answers end the wait", async () => {
  await using cluster = await Cluster.open({ "w1@a": 1, "w2@a": 2, "x@a": undefined });
  const named = await cluster.ask({ command: "ping", destination: ["w1@a", "w2@a", "w1@a"] });
  assert.deepEqual(nodesOf(named), ["w1@a", "w2@a"]);
  const limited = await cluster.ask({ command: "ping", limit: 1 });
  assert.equal(limited.silent.count, 0);
  assert.ok(limited.replies.length >= 1);
  const some = await cluster.ask({ command: "ping", pattern: "w*", matcher: "glob" });
  assert.deepEqual(some.silent, { count: 0, names: [] });
  assert.deepEqual(
    [cluster.heard.at(-1)![1].pattern, cluster.heard.at(-1)![1].matcher],
    ["w*", "glob"],
  );
});

Deno.test("ask: two requests at once get their own replies, and the last one deletes the reply queue", async () => {
  await using cluster = await Cluster.open({ a: 1 });
  const [one, two] = await Promise.all([
    cluster.ask({ command: "ping" }),
    cluster.ask({ command: "stats" }),
  ]);
  assert.deepEqual([one.replies, two.replies], [[["a", 1]], [["a", 1]]]);
  const bindings = await cluster.connection.bindings();
  assert.deepEqual(bindings.filter(({ exchange }) => exchange === "reply.celery.pidbox"), []);
});

Deno.test("ask: invalid replies, unknown tickets and oversized replies are ignored", async () => {
  await using cluster = await Cluster.open({});
  const other = await cluster.connect();
  await other.declareExchange(replyExchange(MAILBOX_DEFAULTS));
  await other.subscribe(requestQueue("a", MAILBOX_DEFAULTS), ({ message }) => {
    const request = decodeMailboxRequest(message, acceptedTypes(["json"]));
    void (async () => {
      const { exchange, routingKey } = request.replyTo!;
      const good = encodeMailboxReply({ hostname: "a", reply: 1, ticket: request.ticket, clock: 1 }, {
        bodyEncoding: "base64",
      });
      for (
        const message of [
          { ...good, headers: { ticket: "somebody-else", clock: 1 } },
          { ...good, body: "!!!" },
          { ...good, contentType: "application/x-python-serialize" },
          { ...good, body: "A".repeat(17 << 20) },
          good,
        ]
      ) await other.publish([{ exchange, routingKey, message }]);
    })();
  });
  const answer = await cluster.ask({ command: "ping" });
  assert.deepEqual(answer.replies, [["a", 1]]);
  const lines = cluster.world.log.messages("WARNING");
  assert.equal(lines.length, 3);
  for (const line of lines) assert.match(line, /^Ignored a control reply[^\n]*$/);
});

Deno.test("ask: a broker that delays the request does not delay the end of the wait; later replies are ignored", async () => {
  await using cluster = await Cluster.open({ a: "pong" });
  const { connection, mailbox, world } = cluster;
  const publish = connection.publish.bind(connection);
  const { promise: takesAgain, resolve: takeAgain } = Promise.withResolvers<void>();
  connection.publish = async (batch) => {
    await takesAgain;
    await publish(batch);
  };
  for (const destination of [null, ["a"]]) {
    const asking = mailbox.ask({ command: "ping", destination, timeoutMs: 500 });
    const controller = new AbortController();
    const aborted = mailbox.ask({ command: "ping", destination, abort: controller.signal });
    await world.clock.settle();
    controller.abort(new Error("enough"));
    await assert.rejects(aborted, /enough/);
    await world.clock.advance(500);
    assert.deepEqual((await asking).replies, []);
  }
  takeAgain();
  connection.publish = publish;
  const { replies } = await mailbox.ask({ command: "ping", timeoutMs: 500 });
  assert.deepEqual(replies, [["a", "pong"]]);
  assert.deepEqual(world.clock.armed, []);
});

Deno.test("ask: an abort rejects; send waits for no reply", async () => {
  await using cluster = await Cluster.open({ a: undefined });
  const controller = new AbortController();
  const asking = cluster.mailbox.ask({ command: "ping", abort: controller.signal });
  await cluster.world.clock.settle();
  controller.abort(new Error("enough"));
  await assert.rejects(asking, /enough/);
  await cluster.mailbox.send({ command: "shutdown", destination: ["a"] });
  await cluster.world.clock.settle();
  const [, told] = cluster.heard.at(-1)!;
  assert.deepEqual([told.method, told.destination, told.ticket, told.replyTo], [
    "shutdown",
    ["a"],
    null,
    null,
  ]);
  assert.deepEqual(cluster.world.clock.armed, []);
});

Deno.test("ask: if the broker cannot count listeners, a quarter of a second without a reply ends the wait", async () => {
  await using cluster = await Cluster.open({ a: 1, b: undefined });
  // As on AMQP: the number of listeners is not known.
  const uncounted = Object.create(cluster.connection, {
    listeners: { value: () => Promise.resolve(null) },
    lost: { value: cluster.connection.lost },
    transport: { value: "memory" },
  }) as Connection;
  for (const name of ["subscribe", "publish", "declareExchange", "bindings"] as const) {
    Object.defineProperty(uncounted, name, { value: cluster.connection[name].bind(cluster.connection) });
  }
  await cluster.mailbox.close();
  cluster.mailbox = new Mailbox(cluster.world, uncounted, { clock: cluster.clock });
  const answer = await cluster.ask({ command: "ping", timeoutMs: 30_000 }, 250);
  assert.deepEqual([nodesOf(answer), answer.silent.count], [["a"], 0]);
  const nobody = await cluster.ask({ command: "ping", timeoutMs: 400, destination: ["b"] }, 400);
  assert.deepEqual(nobody.silent, { count: 1, names: ["b"] });
});
