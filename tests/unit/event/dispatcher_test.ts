import assert from "node:assert/strict";
import { App, type Publisher } from "../../../lib/app/mod.ts";
import { ConnectionLost } from "../../../lib/base/mod.ts";
import { EventDispatcher } from "../../../lib/event/mod.ts";
import { EVENTS_MAX, MULTI_MAX } from "../../../lib/event/dispatcher.ts";
import type { OutgoingMessage } from "../../../lib/transport/mod.ts";
import { acceptedTypes, decodePayload } from "../../../lib/wire/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";

const ACCEPT = acceptedTypes(["json", "msgpack"]);

interface Rig {
  readonly world: FakeWorld;
  readonly app: App;
  readonly dispatcher: EventDispatcher;
  readonly batches: OutgoingMessage[][];
  /** How the broker refuses the next publish; null: it accepts it. */
  broken: Error | null;
}

function rig(options: { groups?: string[]; enabled?: boolean } = {}, settings = {}): Rig {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://", ...settings }, { world });
  const batches: OutgoingMessage[][] = [];
  const made = { world, app, batches, broken: null as Error | null };
  const publisher: Publisher = {
    publish(batch) {
      if (made.broken) return Promise.reject(made.broken);
      batches.push([...batch]);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  const dispatcher = new EventDispatcher(app, { hostname: "w1@x", publisher, ...options });
  return Object.assign(made, { dispatcher });
}

const bodies = (batches: OutgoingMessage[][]): unknown[] =>
  batches.flat().map(({ message }) => decodePayload(message, ACCEPT));
const keys = (batches: OutgoingMessage[][]): string[] => batches.flat().map(({ routingKey }) => routingKey);

Deno.test("EventDispatcher: an event has Celery's fields in Celery's order", async () => {
  const { world, dispatcher, batches } = rig();
  dispatcher.task("task-succeeded", "id-1", { result: "5", runtime: 0.25 });
  dispatcher.send("worker-heartbeat", { freq: 2, active: 0 });
  await world.clock.settle();
  assert.deepEqual(keys(batches), ["task.multi", "worker.heartbeat"]);
  const [multi, heartbeat] = bodies(batches) as [Record<string, unknown>[], Record<string, unknown>];
  assert.deepEqual(Object.entries(multi[0]!), [
    ["hostname", "w1@x"],
    ["utcoffset", Math.floor(new Date(world.clock.wallMs()).getTimezoneOffset() / 60)],
    ["pid", world.host.pid],
    ["clock", 1],
    ["uuid", "id-1"],
    ["result", "5"],
    ["runtime", 0.25],
    ["timestamp", world.clock.wallMs() / 1000],
    ["type", "task-succeeded"],
  ]);
  assert.deepEqual(Object.keys(heartbeat), [
    ..."hostname utcoffset pid clock freq active timestamp type".split(" "),
  ]);
  const [{ exchange, message }] = batches[0]! as [OutgoingMessage];
  assert.deepEqual([exchange, message.headers, message.properties.deliveryMode], [
    "celeryev",
    { hostname: "w1@x" },
    1,
  ]);
});

Deno.test("EventDispatcher: a turn's task events are one array, of bounded length, in one batch", async () => {
  const { world, dispatcher, batches } = rig();
  for (let n = 0; n < MULTI_MAX + 5; n++) dispatcher.task("task-started", `id-${n}`, {});
  dispatcher.send("worker-online", {});
  dispatcher.task("task-started", "last", {});
  await world.clock.settle();
  assert.equal(batches.length, 1);
  const sizes = bodies(batches).map((body) => Array.isArray(body) ? body.length : "single");
  assert.deepEqual(sizes, [MULTI_MAX, 5, "single", 1]);
  const clocks = bodies(batches).flat().map((event) => (event as { clock: number }).clock);
  assert.deepEqual(clocks, clocks.map((_, index) => index + 1));
});

Deno.test("EventDispatcher: groups are enabled and disabled at run time; -E is not undone", async () => {
  const { world, dispatcher, batches } = rig({ groups: ["worker"] });
  assert.equal(dispatcher.sendsTasks, false);
  dispatcher.task("task-started", "unheard", {});
  assert.equal(dispatcher.disableGroup("task"), false);
  assert.equal(dispatcher.enableGroup("task"), true);
  assert.equal(dispatcher.enableGroup("task"), false);
  dispatcher.task("task-started", "heard", {});
  assert.equal(dispatcher.disableGroup("task"), true);
  dispatcher.task("task-started", "unheard", {});
  dispatcher.send("worker-heartbeat", {});
  await world.clock.settle();
  assert.deepEqual(bodies(batches).flat().map((event) => (event as { uuid?: string }).uuid), [
    "heard",
    undefined,
  ]);

  const all = rig().dispatcher;
  assert.deepEqual([all.sendsTasks, all.enableGroup("task"), all.disableGroup("task"), all.sendsTasks], [
    true,
    false,
    false,
    true,
  ]);
  const off = rig({ enabled: false, groups: ["worker"] }).dispatcher;
  assert.deepEqual([off.isEnabled, off.sends("worker"), off.enableGroup("task"), off.sendsTasks], [
    false,
    false,
    true,
    true,
  ]);
  assert.equal(off.sends("worker"), false);
});

Deno.test("EventDispatcher: custom events are sent whatever is enabled, and cannot fake the common fields", async () => {
  const { world, dispatcher, batches } = rig({ groups: ["worker"] });
  dispatcher.custom("task-halfway", "id-1", { hostname: "other", clock: 99, done: 50 });
  dispatcher.custom("task-broken", "id-1", { fn: () => 1 });
  await world.clock.settle();
  const [event] = bodies(batches).flat() as Record<string, unknown>[];
  assert.deepEqual([event!["hostname"], event!["clock"], event!["done"], event!["uuid"]], [
    "w1@x",
    1,
    50,
    "id-1",
  ]);
  assert.match(world.log.messages("WARNING").join(), /Cannot send event task-broken/);
});

Deno.test("EventDispatcher: while the broker is away events wait, bounded, and heartbeats do not", async () => {
  const made = rig();
  const { world, dispatcher, batches } = made;
  made.broken = new ConnectionLost("gone");
  dispatcher.task("task-started", "first", {});
  await world.clock.settle();
  dispatcher.send("worker-heartbeat", {});
  for (let n = 0; n < EVENTS_MAX + 10; n++) dispatcher.task("task-started", `id-${n}`, {});
  await world.clock.settle();
  assert.ok(dispatcher.pending <= EVENTS_MAX);
  assert.match(world.log.messages().join(), /Cannot publish events, they are kept for now: gone/);
  await world.clock.advance(60_000);
  assert.equal(batches.length, 0);
  assert.equal(world.log.messages().join().match(/Cannot publish events/g)?.length, 1);
  made.broken = null;
  dispatcher.retry();
  await world.clock.settle();
  await world.clock.advance(1);
  const uuids = bodies(batches).flat().map((event) => (event as { uuid?: string }).uuid);
  assert.equal(uuids.at(-1), `id-${EVENTS_MAX + 9}`);
  assert.ok(!uuids.includes("first") && !uuids.includes(undefined));
  assert.match(world.log.messages().join(), /\d+ events were dropped/);
  await dispatcher.close();
  world.clock.checkNothingArmed();
});

Deno.test("EventDispatcher: one batch is published at a time; close waits for it, but not for ever", async () => {
  const world = fakeWorld();
  const app = new App("t", { broker_url: "memory://" }, { world });
  const taken: PromiseWithResolvers<void>[] = [];
  const publisher: Publisher = {
    publish() {
      const one = Promise.withResolvers<void>();
      taken.push(one);
      return one.promise;
    },
    close: () => Promise.resolve(),
  };
  const dispatcher = new EventDispatcher(app, { hostname: "w1@x", publisher });
  dispatcher.task("task-started", "a", {});
  await world.clock.settle();
  dispatcher.task("task-started", "b", {});
  await world.clock.settle();
  assert.equal(taken.length, 1);
  taken[0]!.resolve();
  await world.clock.settle();
  assert.equal(taken.length, 2);
  const closing = dispatcher.close(500);
  await world.clock.advance(500);
  await closing;
  dispatcher.task("task-started", "c", {});
  await world.clock.settle();
  assert.equal(taken.length, 2);
});

Deno.test("EventDispatcher: another serializer than JSON", async () => {
  const { world, dispatcher, batches } = rig({}, { event_serializer: "msgpack" });
  dispatcher.task("task-received", "id-1", { name: "t.add", retries: 0 });
  dispatcher.send("worker-online", { freq: 2 });
  await dispatcher.flush();
  await world.clock.settle();
  const [multi, online] = bodies(batches) as [Record<string, unknown>[], Record<string, unknown>];
  assert.deepEqual([multi[0]!["uuid"], multi[0]!["name"], online["freq"]], ["id-1", "t.add", 2]);
  assert.equal(batches[0]![0]!.message.contentType, "application/x-msgpack");
});
