/** What the console tells of queues, from the broker, RabbitMQ's management API and the workers. */

import assert from "node:assert/strict";
import type { Cluster } from "../../../lib/console/cluster/cluster.ts";
import type { Inspector } from "../../../lib/console/cluster/inspector.ts";
import { Management } from "../../../lib/console/cluster/management.ts";
import { QueueWatch } from "../../../lib/console/cluster/queues.ts";
import { fakeWorld } from "../../support/fake_world.ts";

/** A management API that has one queue, and what it was asked with. */
function api(status = 200) {
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const authorization = request.headers.get("authorization")!;
    asked.push(`${request.url.split("/queues/")[1]} ${atob(authorization.split(" ")[1]!)}`);
    const queue = { name: "mail", messages: 7, messages_unacknowledged: 5, consumers: 2 };
    const passing = { name: "for.a.while", auto_delete: true };
    return Response.json([queue, { name: "other" }, passing, { name: "lovage.dead" }], { status });
  });
  return { asked, port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}

/** A watch over "mail", and over what else the broker names. The broker has numbers; a worker holds a task of "mail". */
function watch(
  stats: Record<string, unknown>,
  management: Management | null,
  queueNames?: () => Promise<readonly string[]>,
  { world = fakeWorld(), alive = true, hasHeardAll = true } = {},
) {
  const cluster = {
    world,
    management,
    workers: new Map([["w@h", { alive }]]),
    app: { amqp: { queues: { names: () => ["mail"] } } },
    connection: () =>
      Promise.resolve({
        transport: "amqp",
        queueStats: () => Promise.resolve({ priorities: [], next: null, ...stats }),
        ...(queueNames === undefined ? {} : { queueNames }),
      }),
  } as unknown as Cluster;
  const held = { delivery_info: { routing_key: "mail" } };
  const info = { active_queues: [{ name: "mail" }], active: [held], reserved: [] };
  const inspector = { workers: new Map([["w@h", info]]), hasAsked: true, hasHeardAll, refreshSome() {} };
  return new QueueWatch(cluster, inspector as unknown as Inspector);
}

Deno.test("queues: what the broker counts stands before what workers tell, and the API's before both", async () => {
  await using place = await api();
  const broker = "amqp://kim:p%40ss@h/shop";
  const url = `http://127.0.0.1:${place.port}/api/`;
  const row = async (stats: Record<string, unknown>, management: Management | null) => {
    const [{ ready, unacked, consumers } = assert.fail("no row")] =
      (await watch(stats, management).list()).rows;
    return [ready, unacked, consumers];
  };
  const silent = { ready: 2, unacked: null, consumers: null };
  assert.deepEqual(await row(silent, null), [2, 1, 1]);
  assert.deepEqual(await row({ ready: 2, unacked: 3, consumers: 4 }, null), [2, 3, 4]);
  const management = new Management(fakeWorld(), { api: url, broker });
  assert.deepEqual(await row({ ready: 2, unacked: null, consumers: 2 }, management), [2, 5, 2]);
  const own = new Management(fakeWorld(), { api: url.replace("//", "//me:mine@"), broker: "amqp://h" });
  await own.queues();
  assert.deepEqual(place.asked, ["shop kim:p@ss", "%2F me:mine"]);
});

Deno.test("queues: a worker that is gone consumes nothing, and none of its processes counts", () => {
  for (const alive of [true, false]) {
    const one = watch({}, null, undefined, { alive });
    assert.equal(one.workerCounts().get("mail"), alive ? 1 : undefined);
    assert.equal(one.workerCounts(() => 8).get("mail"), alive ? 8 : undefined);
  }
});

Deno.test("queues: before the workers had the time to answer, it is not known that nobody consumes", async () => {
  const stats = { ready: 4, unacked: null, consumers: null };
  for (const [hasHeardAll, other] of [[false, null], [true, 0]] as const) {
    const { rows } = await watch(stats, null, () => Promise.resolve(["other"]), { hasHeardAll }).list();
    assert.deepEqual(rows.map(({ name, consumers }) => [name, consumers]), [["mail", 1], ["other", other]]);
  }
});

Deno.test("queues: those of the broker that nobody consumes stand there, without those of one process", async () => {
  const id = crypto.randomUUID();
  const others = ["w@h.celery.pidbox", `${id}.reply.celery.pidbox`, `celeryev.${id}`, "lovage.failed", id];
  const names = () => Promise.resolve(["left", ...others]);
  const { rows } = await watch({ ready: 4, unacked: null, consumers: null }, null, names).list();
  assert.deepEqual(rows.map(({ name, ready, consumers }) => [name, ready, consumers]), [
    ["left", 4, 0],
    ["mail", 4, 1],
  ]);
  await using place = await api();
  const management = new Management(fakeWorld(), {
    api: `http://127.0.0.1:${place.port}/api/`,
    broker: "amqp://h",
  });
  const managed = await watch({ ready: 1, unacked: null, consumers: 0 }, management).list();
  assert.deepEqual(managed.rows.map(({ name }) => name), ["mail", "other"]);
});

Deno.test("queues: a broker that takes long to name its queues is asked seldom, and nobody waits for it", async () => {
  const world = fakeWorld();
  let asked = 0;
  const answers: ((names: string[]) => void)[] = [];
  const names = () => new Promise<string[]>((answer) => answers.push(answer) && asked++);
  const queues = watch({ ready: 1, unacked: null, consumers: 0 }, null, names, { world });
  const shown = async () => (await queues.list()).rows.map(({ name }) => name);
  /** What is shown after so many seconds, and how often the broker was asked by then. */
  const after = async (seconds: number) => {
    await world.clock.advance(seconds * 1000);
    const list = shown();
    await world.clock.advance(200);
    return [await list, asked];
  };
  assert.deepEqual(await after(0), [["mail"], 1]);
  assert.deepEqual(await after(9.6), [["mail"], 1]);
  answers.shift()!(["left"]);
  // It took ten seconds.
  assert.deepEqual(await after(2), [["left", "mail"], 1]);
  assert.deepEqual(await after(490), [["left", "mail"], 1]);
  assert.deepEqual(await after(10), [["left", "mail"], 2]);
});

Deno.test("management API: who holds an exclusive queue, by the name of its connection", async () => {
  const has: Record<string, unknown> = {
    "/api/queues/%2F/lovage.lease.beat%3Ashop": {
      name: "lovage.lease.beat:shop",
      exclusive: true,
      owner_pid_details: { name: "10.0.0.7:5000 -> 10.0.0.1:5672", peer_host: "10.0.0.7", peer_port: 5000 },
    },
    "/api/queues/%2F/other": { owner_pid_details: { name: "gone", peer_host: "10.0.0.8", peer_port: 1 } },
    "/api/queues/%2F/free": { name: "free", owner_pid_details: "none" },
    "/api/connections/10.0.0.7%3A5000%20-%3E%2010.0.0.1%3A5672": { user_provided_name: "lovage-77@north" },
  };
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const found = has[request.url.slice(request.url.indexOf("/api/"))];
    return found === undefined ? new Response("", { status: 404 }) : Response.json(found);
  });
  const world = fakeWorld();
  const api = `http://127.0.0.1:${server.addr.port}/api/`;
  const management = new Management(world, { api, broker: "amqp://h" });
  const asked = ["lovage.lease.beat:shop", "other", "free", "nothing"];
  assert.deepEqual(await Promise.all(asked.map((one) => management.holderOf(one))), [
    "north",
    "10.0.0.8",
    null,
    null,
  ]);
  assert.deepEqual(world.log.messages(), []);
});

Deno.test("management API: what does not answer is told in the log, and is not known", async () => {
  await using place = await api(401);
  const world = fakeWorld();
  const management = new Management(world, {
    api: `http://127.0.0.1:${place.port}/api/`,
    broker: "amqp://h",
  });
  assert.equal(await management.queues(), null);
  assert.match(world.log.messages().join(), /management API: it answered 401/);
  assert.throws(() => new Management(world, { api: "host:15672", broker: "amqp://h" }), /such as http:/);
});

Deno.test("management API: it has two seconds to answer, by the world's clock", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Response>();
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    asked.resolve();
    return answer.promise;
  });
  const world = fakeWorld();
  const api = `http://127.0.0.1:${server.addr.port}/api/`;
  const asking = new Management(world, { api, broker: "amqp://h" }).queues();
  await asked.promise;
  await world.clock.advance(2000);
  assert.equal(await asking, null);
  assert.match(world.log.messages().join(), /management API: no answer in 2 s/);
  world.clock.checkNothingArmed();
  answer.resolve(new Response());
});
