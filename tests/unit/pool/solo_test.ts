/** When solo's slices run, on a fake clock: what all pools do is in the conformance suite. */

import assert from "node:assert/strict";
import { type Job, SoloPool } from "../../../lib/pool/mod.ts";
import { poolEvents, poolOptions } from "../../support/pools.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { success } from "../../support/plain_runner.ts";

function job(seq: number): Job {
  return {
    seq,
    name: "t",
    id: `id-${seq}`,
    envelope: "",
    queue: "celery",
    redelivered: false,
    timeLimit: null,
    softTimeLimit: null,
    expectedMs: 0.01,
  };
}

Deno.test("solo: the first slice ends in the turn that brought its jobs; what its room lets in has the next", async () => {
  const world = fakeWorld();
  const ran: number[] = [];
  let more: Job[] = [];
  const pool: SoloPool = new SoloPool(
    world,
    poolOptions(),
    poolEvents({
      onOutcomes: (batch) => void ran.push(...batch.map(({ seq }) => seq)),
      onFree: () => {
        const next = more;
        more = [];
        if (next.length > 0) pool.submit(next);
      },
    }),
    () =>
      Promise.resolve({
        run: ({ seq }) => success(seq, null),
        interrupt: () => {},
        current: () => null,
        close: () => Promise.resolve(),
      }),
  );
  await pool.start();
  more = [job(3)];
  pool.submit([job(1)]);
  pool.submit([job(2)]);
  assert.deepEqual(ran, [], "what comes in the same read is one slice");
  await Promise.resolve();
  assert.deepEqual(ran, [1, 2]);
  for (let n = 0; n < 20; n++) await Promise.resolve();
  assert.deepEqual(ran, [1, 2], "the loop turns before the next slice");
  await world.clock.settle();
  assert.deepEqual(ran, [1, 2, 3]);
  await pool.close();
});

Deno.test("solo: a limit that no clock reaches is none, and does not take the slot", async () => {
  const world = fakeWorld();
  const ran: number[] = [];
  const { promise: running, resolve: finish } = Promise.withResolvers<void>();
  const pool = new SoloPool(
    world,
    poolOptions(),
    poolEvents({ onOutcomes: (batch) => void ran.push(...batch.map(({ seq }) => seq)) }),
    () =>
      Promise.resolve({
        run: ({ seq }) => running.then(() => success(seq, null)),
        interrupt: () => assert.fail("no limit is reached"),
        current: () => null,
        close: () => Promise.resolve(),
      }),
  );
  await pool.start();
  pool.submit([{ ...job(1), timeLimit: 1e308, softTimeLimit: Number.MAX_VALUE }]);
  await world.clock.advance(86_400_000);
  assert.deepEqual(ran, []);
  finish();
  await world.clock.settle();
  assert.deepEqual(ran, [1]);
  await pool.close();
});
