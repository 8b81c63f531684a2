import assert from "node:assert/strict";
import fc from "fast-check";
import { ClusterState, type ReceivedEvent } from "../../../lib/event/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";

let clock = 0;

function event(world: FakeWorld, type: string, fields: Record<string, unknown> = {}): ReceivedEvent {
  const now = world.clock.wallMs() / 1000;
  return {
    type,
    hostname: "w1@x",
    utcoffset: 0,
    pid: 7,
    clock: ++clock,
    timestamp: now,
    local_received: now,
    ...fields,
  };
}

const task = (world: FakeWorld, type: string, uuid: string, fields: Record<string, unknown> = {}) =>
  event(world, type, { uuid, ...fields });

Deno.test("ClusterState: a task's states, with the fields of each event", () => {
  const world = fakeWorld();
  const state = new ClusterState({ world });
  const received = { name: "t.add", args: "(2, 3)", kwargs: "{}", retries: 0, root_id: "a", parent_id: null };
  state.event(task(world, "task-sent", "a", { ...received, queue: "celery", hostname: "gen1@x" }));
  assert.deepEqual([state.tasks.get("a")!.state, state.tasks.get("a")!.origin], ["PENDING", "gen1@x"]);
  state.event(task(world, "task-received", "a", received));
  state.event(task(world, "task-started", "a"));
  state.event(task(world, "task-succeeded", "a", { result: "5", runtime: 0.25 }));
  const one = state.tasks.get("a")!;
  assert.deepEqual(
    [one.state, one.name, one.args, one.result, one.runtime, one.queue, one.client, one.worker?.hostname],
    ["SUCCESS", "t.add", "(2, 3)", "5", 0.25, "celery", "gen1@x", "w1@x"],
  );
  assert.deepEqual(one.info(), {
    args: "(2, 3)",
    kwargs: "{}",
    retries: 0,
    result: "5",
    runtime: 0.25,
    rootId: "a",
  });
  assert.deepEqual([state.eventCount, state.taskCount, state.taskTypes()], [4, 1, ["t.add"]]);
  state.event(task(world, "task-halfway", "b", { done: 50 }));
  assert.deepEqual([state.tasks.get("b")!.state, state.tasks.get("b")!.extra], ["HALFWAY", { done: 50 }]);
});

Deno.test("ClusterState: the final state is the same in whatever order events come", () => {
  const world = fakeWorld();
  const events = [
    task(world, "task-sent", "a", { name: "t.add", args: "(1,)" }),
    task(world, "task-received", "a", { name: "t.add", args: "(1,)", kwargs: "{}" }),
    task(world, "task-started", "a"),
    task(world, "task-succeeded", "a", { result: "2", runtime: 1 }),
  ];
  fc.assert(fc.property(fc.shuffledSubarray(events, { minLength: 4 }), (order) => {
    const state = new ClusterState({ world });
    for (const one of order) state.event({ ...one });
    const end = state.tasks.get("a")!;
    assert.deepEqual([end.state, end.result, end.args, end.name, end.runtime], [
      "SUCCESS",
      "2",
      "(1,)",
      "t.add",
      1,
    ]);
  }));
});

Deno.test("ClusterState: a worker is alive for two heartbeat intervals after its last heartbeat", async () => {
  const world = fakeWorld();
  const told: string[] = [];
  const state = new ClusterState({
    world,
    onNodeJoin: (one) => told.push(`${one.hostname} joined`),
    onNodeLeave: (one) => told.push(`${one.hostname} left`),
  });
  state.event(event(world, "worker-online", { freq: 2, active: 1, processed: 9, loadavg: [1, 2, 3] }));
  const worker = state.workers.get("w1@x")!;
  assert.deepEqual([worker.alive, worker.id, worker.processed], [true, "w1@x.7", 9]);
  await world.clock.advance(3_900);
  assert.equal(worker.alive, true);
  await world.clock.advance(200);
  assert.deepEqual([worker.alive, worker.statusString], [false, "OFFLINE"]);
  state.event(event(world, "worker-heartbeat"));
  assert.equal(worker.alive, true);
  state.event(event(world, "worker-offline"));
  assert.deepEqual(told, ["w1@x joined", "w1@x left"]);
  assert.equal(state.workers.size, 0);
  state.event(event(world, "worker-heartbeat", { timestamp: world.clock.wallMs() / 1000 - 60 }));
  state.event(event(world, "worker-heartbeat", { timestamp: world.clock.wallMs() / 1000 - 60 }));
  assert.equal(world.log.messages().join().match(/Substantial drift from w1@x .*60 seconds/g)?.length, 1);
});

Deno.test("ClusterState: bounded in workers, tasks and the size of tasks' fields", () => {
  const world = fakeWorld();
  const state = new ClusterState({ world, maxTasksInMemory: 10, maxWorkersInMemory: 3 });
  for (let n = 0; n < 100; n++) {
    state.event(event(world, "worker-heartbeat", { hostname: `w${n}@x` }));
    state.event(
      task(world, "task-received", `id-${n}`, { name: "t", hostname: `w${n}@x`, parent_id: `id-${n - 1}` }),
    );
  }
  assert.deepEqual([...state.workers.keys()], ["w97@x", "w98@x", "w99@x"]);
  assert.deepEqual([state.tasks.size, [...state.tasks.keys()][0]], [10, "id-90"]);
  assert.deepEqual([...state.tasks.get("id-98")!.children], ["id-99"]);
  assert.equal(state.tasks.get("id-99")!.parent?.uuid, "id-98");
  const large = new ClusterState({ world });
  for (let n = 0; n < 3000; n++) {
    large.event(task(world, "task-received", `id-${n}`, { args: "x".repeat(100_000) }));
  }
  assert.ok(large.tasks.size < 1100 && large.tasks.has("id-2999"));
});

Deno.test("ClusterState: lists by time, type and worker; clearing keeps running tasks", () => {
  const world = fakeWorld();
  const state = new ClusterState({ world });
  for (const id of ["a", "b", "c"]) {
    state.event(
      task(world, "task-received", id, { name: `t.${id}`, hostname: id === "c" ? "w2@x" : "w1@x" }),
    );
  }
  state.event(task(world, "task-started", "a"));
  state.event(task(world, "task-succeeded", "b", { result: "1" }));
  assert.deepEqual(state.tasksByTime().map((one) => one.uuid), ["b", "a", "c"]);
  assert.deepEqual(state.tasksByTime({ limit: 1, reverse: false }).map((one) => one.uuid), ["c"]);
  assert.deepEqual(state.tasksByType("t.a").map((one) => one.uuid), ["a"]);
  assert.deepEqual(state.tasksByWorker("w2@x").map((one) => one.uuid), ["c"]);
  state.clear();
  assert.deepEqual([[...state.tasks.keys()], state.workers.size], [["a", "c"], 0]);
});

Deno.test("ClusterState: accepts any event without an error", () => {
  const world = fakeWorld();
  const state = new ClusterState({ world });
  const types = fc.oneof(
    fc.constantFrom("task-received", "worker-heartbeat", "worker-", "task-", ""),
    fc.string(),
  );
  fc.assert(
    fc.property(types, fc.dictionary(fc.string(), fc.anything()), fc.anything(), (type, fields, value) => {
      const names = [
        "uuid",
        "name",
        "args",
        "retries",
        "freq",
        "loadavg",
        "sw_ident",
        "parent_id",
        "runtime",
      ];
      for (const name of names) fields[name] ??= value;
      state.event({ ...fields, ...event(world, type) });
      state.tasksByTime();
    }),
  );
});
