import assert from "node:assert/strict";
import { ConnectionLost, OperatingError } from "../../../lib/base/mod.ts";
import type { ResultRecord } from "../../../lib/backend/mod.ts";
import { type BatchResult, StoreQueue, type StoreQueueOptions } from "../../../lib/backend/queue.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";

function record(taskId: string, size = 1): ResultRecord {
  return { taskId, state: "SUCCESS", document: "x".repeat(size), guard: false, replyTo: null };
}

interface Writer {
  world: FakeWorld;
  queue: StoreQueue;
  /** Ids of each batch begun. */
  batches: string[][];
  /** Ends the batch under way. */
  settle: (result: BatchResult | Error) => Promise<void>;
  dones: string[];
  append: (taskId: string, size?: number) => void;
}

function writer(changes: Partial<StoreQueueOptions> = {}): Writer {
  const world = fakeWorld();
  const batches: string[][] = [];
  let pending: { resolve: (result: BatchResult) => void; reject: (error: Error) => void } | null = null;
  const queue = new StoreQueue({
    clock: world.clock,
    log: world.log,
    policy: { maxRetries: 2, delayMs: (retry) => 100 * (retry + 1) },
    schedule: (fn) => world.clock.defer(fn),
    write(records) {
      assert.equal(pending, null, "one batch at a time");
      batches.push(records.map((one) => one.taskId));
      return new Promise((resolve, reject) => pending = { resolve, reject });
    },
    ...changes,
  });
  const dones: string[] = [];
  return {
    world,
    queue,
    batches,
    dones,
    async settle(result) {
      const { resolve, reject } = pending!;
      pending = null;
      if (result instanceof Error) reject(result);
      else resolve(result);
      await world.clock.settle();
    },
    append: (taskId, size) =>
      queue.append(record(taskId, size), (error) => dones.push(`${taskId}: ${error ? error.message : "ok"}`)),
  };
}

const lost = () => new ConnectionLost("gone", { isRetryable: true });

Deno.test("StoreQueue: one turn is one batch; what comes meanwhile is the next", async () => {
  const { world, append, batches, settle, dones, queue } = writer();
  append("a");
  append("b");
  assert.deepEqual(batches, []);
  await world.clock.settle();
  append("c");
  append("d");
  await world.clock.settle();
  assert.deepEqual(batches, [["a", "b"]]);
  let isFlushed = false;
  queue.flush().then(() => isFlushed = true);
  await settle(null);
  assert.deepEqual(batches, [["a", "b"], ["c", "d"]]);
  assert.equal(isFlushed, false);
  await settle(null);
  assert.equal(isFlushed, true);
  assert.deepEqual(dones, ["a: ok", "b: ok", "c: ok", "d: ok"]);
  world.clock.checkNothingArmed();
});

Deno.test("StoreQueue: batches are bounded by number and by bytes; one large document goes alone", async () => {
  const { world, append, batches, settle } = writer({ batchMax: 3, batchBytesMax: 10 });
  for (const id of ["a", "b", "c", "d"]) append(id);
  append("large", 50);
  append("e", 9);
  append("f", 9);
  await world.clock.settle();
  for (let n = 0; n < 5; n++) await settle(null);
  assert.deepEqual(batches, [["a", "b", "c"], ["d"], ["large"], ["e"], ["f"]]);
});

Deno.test("StoreQueue: a retryable failure is tried again, in order, until the retries are used up", async () => {
  const { world, append, batches, settle, dones } = writer();
  append("a");
  await world.clock.settle();
  append("b");
  await settle(lost());
  assert.deepEqual(batches, [["a"]], "not at once");
  await world.clock.advance(99);
  assert.equal(batches.length, 1);
  await world.clock.advance(1);
  await settle(lost());
  await world.clock.advance(200);
  assert.deepEqual(batches, [["a"], ["a"], ["a"]]);
  await settle(lost());
  assert.deepEqual(dones, ["a: gone"]);
  assert.deepEqual(batches.at(-1), ["b"], "the next one gets its chance");
  await settle(null);
  assert.deepEqual(dones, ["a: gone", "b: ok"]);
  assert.deepEqual(world.log.messages("ERROR"), ["Cannot store the result of task a: gone"]);
});

Deno.test("StoreQueue: what is waited for is tried again however few retries there are", async () => {
  const { world, append, batches, settle, dones } = writer({
    waitsFor: (error) => error.message === "full",
    policy: { maxRetries: 0, delayMs: () => 100 },
  });
  append("a");
  await world.clock.settle();
  for (let n = 0; n < 3; n++) {
    await settle(new OperatingError("full"));
    await world.clock.advance(100);
  }
  assert.deepEqual([batches.length, dones], [4, []]);
  await settle(null);
  assert.deepEqual(dones, ["a: ok"]);
});

Deno.test("StoreQueue: wake tries at once", async () => {
  const { world, append, batches, settle, queue, dones } = writer();
  append("a");
  await world.clock.settle();
  await settle(lost());
  queue.wake();
  assert.equal(batches.length, 2);
  queue.wake();
  assert.equal(batches.length, 2);
  await settle(null);
  assert.deepEqual(dones, ["a: ok"]);
  world.clock.checkNothingArmed();
});

Deno.test("StoreQueue: other failures are final; records may fail by themselves", async () => {
  const { world, append, settle, dones } = writer();
  append("a");
  append("b");
  await world.clock.settle();
  await settle([null, new OperatingError("too large")]);
  append("c");
  await world.clock.settle();
  await settle(new OperatingError("no"));
  assert.deepEqual(dones, ["a: ok", "b: too large", "c: no"]);
});

Deno.test("StoreQueue: past its maximum the oldest are given up, each told once", async () => {
  const { world, append, settle, dones, queue, batches } = writer({ appendedMax: 8 });
  append("first");
  await world.clock.settle();
  assert.equal(queue.isCongested, false);
  for (let n = 0; n < 3; n++) append(`r${n}`);
  assert.equal(queue.isCongested, true);
  for (let n = 3; n < 8; n++) append(`r${n}`);
  assert.deepEqual(dones, [], "the one under way is not counted");
  append("r8");
  assert.equal(dones.length, 1);
  assert.match(dones[0]!, /^r0: More than 8 results wait/);
  await settle(lost());
  append("r9");
  assert.match(dones[1]!, /^first: More than 8/, "a batch that waits for its retry is the oldest");
  await world.clock.settle();
  assert.deepEqual(batches.at(-1), ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"]);
  await settle(null);
  assert.equal(dones.length, 11);
  assert.equal(queue.isCongested, false);
  world.clock.checkNothingArmed();
});

Deno.test("StoreQueue: what is given up for its size is told apart", async () => {
  const { world, append, settle, dones } = writer({ appendedBytesMax: 1 << 20 });
  append("under way");
  await world.clock.settle();
  append("a", 600_000);
  append("b", 600_000);
  assert.deepEqual(dones, ["a: More than 1 MiB of results wait for the result store"]);
  await settle(null);
  await settle(null);
});

Deno.test("StoreQueue: lines about lost results are few and say how many they stand for", async () => {
  const { world, append, settle } = writer();
  for (let n = 0; n < 50; n++) append(`a${n}`);
  await world.clock.settle();
  await settle(new OperatingError("no"));
  await world.clock.advance(10_000);
  append("b");
  await world.clock.settle();
  await settle(new OperatingError("no"));
  const lines = world.log.messages();
  assert.equal(lines.length, 2);
  assert.match(lines[1]!, /task b: no \(and 49 more like it\)/);
});

Deno.test("StoreQueue: close gives up what waits; flush ends; later records are refused", async () => {
  const { world, append, settle, dones, queue } = writer();
  append("a");
  await world.clock.settle();
  await settle(lost());
  append("b");
  const flushed = queue.flush();
  queue.close();
  queue.close();
  await flushed;
  append("c");
  assert.deepEqual(dones, ["a", "b", "c"].map((id) => `${id}: The result store is closed`));
  world.clock.checkNothingArmed();
});
