/**
 * The rpc store, over the memory broker. The common suite does not apply, since only the process that sent a
 * task can read its result. tests/interop/amqp_test.ts tests it over RabbitMQ and with Python.
 */

import assert from "node:assert/strict";
import { ConnectionLost, ServerError } from "../../lib/base/mod.ts";
import { openBackend, type RpcConnection } from "../../lib/backend/mod.ts";
import type { RpcQueue } from "../../lib/backend/rpc_connection.ts";
import { connect, type Connection } from "../../lib/transport/mod.ts";
import type { ResultMeta, WireException } from "../../lib/wire/mod.ts";
import { fakeWorld } from "../support/fake_world.ts";
import { eventually } from "../support/ports.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { awaited, backendOptions, resultRecord, stored } from "./backend.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

const FAILURE = { excType: "ValueError", excModule: "builtins", args: ["boom ✗"] };

/** Opens a client and a worker on one broker; `connections` are those opened so far. */
async function setUp(name: string) {
  const world = realTestWorld();
  const connections: Connection[] = [];
  // The memory broker exists as long as a connection is open.
  const keeper = await connect(world, `memory://${name}`, CONNECT_OPTIONS);
  const rpc = {
    isPersistent: false,
    async connect(): Promise<RpcConnection> {
      const connection = await connect(world, `memory://${name}`, CONNECT_OPTIONS);
      connections.push(connection);
      return connection;
    },
  };
  const client = await openBackend(world, "rpc://", backendOptions({ rpc }));
  const worker = await openBackend(world, "rpc://", backendOptions({ rpc }));
  return {
    world,
    keeper,
    connections,
    client,
    worker,
    async [Symbol.asyncDispose]() {
      await client.close();
      await worker.close();
      await keeper.close();
    },
  };
}

const to = (replyTo: string | null, ...args: Parameters<typeof resultRecord>) => ({
  ...resultRecord(...args),
  replyTo,
});

Deno.test("rpc: every state reaches the client in order, and nobody else", async () => {
  await using place = await setUp("states");
  const { client, worker } = place;
  assert.deepEqual([client.kind, client.url, client.countsChords], ["rpc", "rpc://", false]);
  assert.equal(client.isListening, false);
  await client.listen!();
  assert.equal(client.isListening, true);
  const { told, ready } = awaited(client, ["a"]);
  await stored(worker, to(client.replyTo, "a", "STARTED", { pid: 1, hostname: "h" }));
  await stored(worker, to(client.replyTo, "a", "SUCCESS", { text: "ß 漢字" }));
  assert.deepEqual((await ready)[0]!.result, { text: "ß 漢字" });
  assert.deepEqual(told.map(({ state }) => state), ["STARTED", "SUCCESS"]);
  assert.deepEqual((await client.fetch("a"))?.result, { text: "ß 漢字" });
  await stored(worker, to(client.replyTo, "b", "FAILURE", FAILURE));
  await eventually(async () => (await client.fetch("b"))?.state === "FAILURE", "the failure");
  assert.deepEqual((await client.fetch("b"))?.result, FAILURE);
  assert.equal(await worker.fetch("a"), null);
  await client.forget("a");
  assert.deepEqual(await client.fetchMany(["a", "nobody"]), [null, null]);
});

Deno.test("rpc: a RETRY that comes after the final state is ignored", async () => {
  await using place = await setUp("overtaken");
  const { client, worker } = place;
  await client.listen!();
  const { told, ready } = awaited(client, ["a", "b"]);
  await stored(worker, to(client.replyTo, "a", "SUCCESS", 1));
  await stored(worker, to(client.replyTo, "a", "RETRY", FAILURE));
  // When this later result has come, both before it have come.
  await stored(worker, to(client.replyTo, "b", "SUCCESS", 2));
  await ready;
  assert.deepEqual(told.map(({ taskId, state }) => [taskId, state]), [["a", "SUCCESS"], ["b", "SUCCESS"]]);
  assert.equal((await client.fetch("a"))?.result, 1);
});

Deno.test("rpc: a result without a reply queue is dropped without an error", async () => {
  await using place = await setUp("nobody");
  await stored(place.worker, to(null, "a", "SUCCESS", 1));
  await stored(place.worker, to("", "a", "SUCCESS", 1));
  assert.equal(place.connections.length, 0, "no broker was asked");
  await stored(place.worker, to("gone", "a", "SUCCESS", 1));
});

Deno.test("rpc: results that came before the wait are reported; thousands in one turn", async () => {
  await using place = await setUp("early");
  const { client, worker } = place;
  await client.listen!();
  const ids = Array.from({ length: 3000 }, (_, n) => `t${n}`);
  ids.forEach((id, n) => worker.store(to(client.replyTo, id, "SUCCESS", n), null));
  await worker.flush();
  await eventually(async () => await client.fetch("t2999") !== null, "the last result");
  const metas: ResultMeta[] = await awaited(client, ids).ready;
  assert.ok(metas.every((meta, n) => meta.result === n));
});

Deno.test("rpc: chords and saved groups are refused", async () => {
  await using place = await setUp("chords");
  await assert.rejects(place.client.startChord("g", 2), /does not support chords/);
  await assert.rejects(place.client.saveGroup("g", "[]"), /cannot save groups/);
  assert.equal(await place.client.fetchGroup("g"), null);
});

Deno.test("rpc: client and worker reopen a lost connection", async () => {
  await using place = await setUp("lost");
  const { client, worker, connections, world } = place;
  await client.listen!();
  await stored(worker, to(client.replyTo, "a", "SUCCESS", 1));
  assert.equal(connections.length, 2);
  for (const connection of connections) await connection.close();
  await eventually(() => connections.length >= 3 && client.isListening === true, "it listens again");
  assert.ok(world.log.records.some(({ message }) => /listening again/.test(message)));
  const { ready } = awaited(client, ["b"]);
  await stored(worker, to(client.replyTo, "b", "SUCCESS", 2));
  assert.equal((await ready)[0]!.result, 2);
});

/** A connection that the test controls: `subscribe` waits for `begin`, `lose` ends it. */
function heldConnection() {
  const lost = Promise.withResolvers<Error | null>();
  const subscribed = Promise.withResolvers<{ close(): Promise<void> }>();
  const held = {
    begin: () => subscribed.resolve({ close: () => Promise.resolve() }),
    lose: () => lost.resolve(new ConnectionLost("cut")),
    connection: {
      lost: lost.promise,
      publish: () => Promise.resolve(),
      subscribe: (queue: RpcQueue) => {
        held.queue = queue;
        return subscribed.promise;
      },
      close: () => Promise.resolve(lost.resolve(null)),
    } satisfies RpcConnection,
    queue: null as RpcQueue | null,
  };
  return held;
}

/**
 * Opens a store that uses the given connections in turn; when there is none left, the broker cannot be
 * reached.
 */
async function overHeld(connections: ReturnType<typeof heldConnection>[]) {
  const world = fakeWorld();
  const rpc = {
    isPersistent: false,
    connect: () => {
      const next = connections.shift();
      return next ? Promise.resolve(next.connection) : Promise.reject(new ConnectionLost("away"));
    },
  };
  return { world, store: await openBackend(world, "rpc://", backendOptions({ rpc })) };
}

Deno.test("rpc: a connection lost while it subscribes is not used", async () => {
  const [first, second] = [heldConnection(), heldConnection()];
  const { world, store } = await overHeld([first, second]);
  const listening = assert.rejects(store.listen!(), /lost/);
  await world.clock.settle();
  // The loss and the broker's answer come in the same turn.
  first.lose();
  await world.clock.settle();
  first.begin();
  await listening;
  assert.equal(store.isListening, false);
  second.begin();
  await store.listen!();
  assert.equal(store.isListening, true);
  await store.close();
});

Deno.test("rpc: a connection lost again right after it reconnected is replaced once more", async () => {
  const all = [heldConnection(), heldConnection(), heldConnection()];
  const [first, second, third] = all as [typeof all[0], typeof all[0], typeof all[0]];
  const { world, store } = await overHeld(all);
  first.begin();
  await store.listen!();
  first.lose();
  second.begin();
  second.lose();
  third.begin();
  await world.clock.advance(10_000);
  assert.equal(store.isListening, true);
  assert.ok(third.queue);
  // The broker may still count a lost consumer as alive, so the newest one needs the highest priority.
  assert.ok(
    Number(third.queue.consumerArguments["x-priority"]) >
      Number(first.queue!.consumerArguments["x-priority"]),
  );
  await store.close();
});

Deno.test("rpc: a wait begun while the broker is away fails neither at once nor other waits", async () => {
  const [first, second] = [heldConnection(), heldConnection()];
  const connections = [first];
  const { world, store } = await overHeld(connections);
  first.begin();
  await store.listen!();
  const errors: Error[] = [];
  store.watch(["a"], () => {}, (error) => errors.push(error));
  first.lose();
  await world.clock.settle();
  store.watch(["b"], () => {}, (error) => errors.push(error));
  await world.clock.advance(1000);
  assert.deepEqual(errors, []);
  second.begin();
  connections.push(second);
  await world.clock.advance(10_000);
  assert.equal(store.isListening, true);
  await store.close();
  assert.deepEqual(errors.map(({ message }) => message), Array(2).fill("The result store is closed"));
});

Deno.test("rpc: a queue outlives its client by an hour, or by the results' expiry", async () => {
  for (const [expiresSeconds, ms] of [[86_400, 3_600_000], [null, 3_600_000], [60, 60_000]] as const) {
    const held = heldConnection();
    held.begin();
    const rpc = { isPersistent: false, connect: () => Promise.resolve(held.connection) };
    const store = await openBackend(fakeWorld(), "rpc://", backendOptions({ rpc, expiresSeconds }));
    await store.listen!();
    const { noAck, durable, autoDelete, queueArguments } = held.queue!;
    assert.deepEqual([noAck, durable, autoDelete, queueArguments], [false, true, true, { "x-expires": ms }]);
    await store.close();
  }
});

Deno.test("rpc: a refused result does not fail others of its batch; passing errors are retried", async () => {
  const held = heldConnection();
  const world = fakeWorld();
  const batches: string[][] = [];
  let isCut = false;
  const connection: RpcConnection = {
    ...held.connection,
    publish: (batch) => {
      batches.push(batch.map(({ message }) => message.properties.correlationId!));
      if (batch.length === 1 && isCut) {
        isCut = false;
        return Promise.reject(new ConnectionLost("cut", { isRetryable: true }));
      }
      return batches.at(-1)!.includes("large")
        ? Promise.reject(new ServerError("too large", { code: "406" }))
        : Promise.resolve();
    },
  };
  const rpc = { isPersistent: false, connect: () => Promise.resolve(connection) };
  const store = await openBackend(world, "rpc://", backendOptions({ rpc }));
  for (isCut of [false, true]) {
    const told: [string, string | undefined][] = [];
    for (const id of ["a", "large", "b"]) {
      store.store(to("client", id, "SUCCESS", 1), (error) => told.push([id, error?.message]));
    }
    await world.clock.advance(5000);
    assert.deepEqual(told, [["a", undefined], ["large", "too large"], ["b", undefined]]);
  }
  assert.deepEqual(batches.slice(0, 4), [["a", "large", "b"], ["a"], ["large"], ["b"]]);
  await store.close();
});

Deno.test("rpc: a wait for a refused result ends as FAILURE", async () => {
  await using place = await setUp("refused");
  const { world, client } = place;
  await client.listen!();
  const rpc = {
    isPersistent: false,
    async connect(): Promise<RpcConnection> {
      const connection = await connect(world, "memory://refused", CONNECT_OPTIONS);
      place.connections.push(connection);
      return {
        lost: connection.lost,
        publish: (batch) =>
          batch.some(({ message }) => message.body.length > 200_000)
            ? Promise.reject(new ServerError("larger than max_message_size", { code: "406" }))
            : connection.publish(batch),
        subscribe: (queue, onNote) => connection.subscribe(queue, onNote),
        close: () => connection.close(),
      };
    },
  };
  await using worker = await openBackend(world, "rpc://", backendOptions({ rpc }));
  const large = stored(worker, to(client.replyTo, "a", "SUCCESS", "x".repeat(300_000)));
  await assert.rejects(large, /max_message_size/);
  const [meta] = await awaited(client, ["a"]).ready;
  assert.equal(meta!.state, "FAILURE");
  const { excType, excModule, args } = meta!.result as WireException;
  assert.deepEqual([excType, excModule], ["BackendStoreError", "celery.exceptions"]);
  assert.match(String(args), /^Cannot store a result of \d{6} characters: larger than max_message_size$/);
});

Deno.test("rpc: close sends pending results and rejects waits", async () => {
  const place = await setUp("closing");
  const { client, worker } = place;
  await client.listen!();
  const { ready } = awaited(client, ["a"]);
  worker.store(to(client.replyTo, "a", "SUCCESS", 1), null);
  await worker.close();
  assert.equal((await ready)[0]!.result, 1);
  const refused = assert.rejects(awaited(client, ["never"]).ready, /closed/);
  await client.close();
  await client.close();
  await refused;
  await assert.rejects(client.listen!(), /closed/);
  await place.keeper.close();
});

Deno.test("rpc: close waits at most five seconds for a broker that accepts nothing; unsent results fail", async () => {
  const world = fakeWorld();
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  const connection: RpcConnection = {
    lost: new Promise(() => {}),
    publish: () => promise,
    subscribe: () => Promise.resolve({ close: () => Promise.resolve() }),
    close: () => Promise.resolve(reject(new ConnectionLost("the connection is closed"))),
  };
  const rpc = { isPersistent: false, connect: () => Promise.resolve(connection) };
  const store = await openBackend(world, "rpc://", backendOptions({ rpc }));
  const told: (string | undefined)[] = [];
  for (const id of ["a", "b"]) {
    store.store(to("client", id, "SUCCESS", 1), (error) => told.push(error?.message));
    await world.clock.settle();
  }
  let isClosed = false;
  const closing = store.close().then(() => isClosed = true);
  await world.clock.advance(4900);
  assert.deepEqual([isClosed, told], [false, []]);
  await world.clock.advance(100);
  await closing;
  assert.deepEqual(told.sort(), ["The result store is closed", "the connection is closed"]);
  assert.deepEqual(world.clock.armed, []);
});
