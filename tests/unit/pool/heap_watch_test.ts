/** The memory of a sandboxed isolate that says nothing, as its process tells of it. */

import assert from "node:assert/strict";
import { createHeapWords, HeapWatch } from "../../../lib/pool/sandbox/heap_watch.ts";
import { fakeWorld } from "../../support/fake_world.ts";

const MIB = 1024 * 1024;
const LIMIT_MIB = 64;

/** A watch over an isolate that has told once, and then spins. `process` is what its process is made to be. */
function watched(process: { rssMib: number; isOtherDying: boolean }) {
  const world = fakeWorld();
  Object.assign(world, { host: { ...world.host, rssBytes: () => process.rssMib * MIB } });
  const words = createHeapWords();
  Atomics.add(new Int32Array(words), 1, 1);
  let exceeded = 0;
  const watch = new HeapWatch(world, {
    words,
    limitKib: LIMIT_MIB * 1024,
    isShared: false,
    isOtherDying: () => process.isOtherDying,
    isBusy: () => true,
    onExceeded: () => exceeded++,
  });
  watch.touch();
  return {
    /** Whether it is ended within a second in which the process has so much. */
    async isEndedAt(rssMib: number): Promise<boolean> {
      process.rssMib = rssMib;
      await world.clock.advance(1000);
      return exceeded > 0;
    },
    [Symbol.dispose]: () => watch.close(),
  };
}

Deno.test("HeapWatch: a busy loop is ended by what its process grows by", async () => {
  using one = watched({ rssMib: 100, isOtherDying: false });
  assert.equal(await one.isEndedAt(100 + LIMIT_MIB), false);
  assert.equal(await one.isEndedAt(100 + 2 * LIMIT_MIB), true);
});

Deno.test("HeapWatch: what a busy loop takes while another one dies is its own when that one is gone", async () => {
  const process = { rssMib: 300, isOtherDying: true };
  using one = watched(process);
  assert.equal(await one.isEndedAt(120), false);
  assert.equal(await one.isEndedAt(1200), false);
  process.isOtherDying = false;
  assert.equal(await one.isEndedAt(1200), true);
});

Deno.test("HeapWatch: nobody is blamed for what another one takes while it dies", async () => {
  const process = { rssMib: 100, isOtherDying: true };
  using one = watched(process);
  assert.equal(await one.isEndedAt(900), false);
  process.isOtherDying = false;
  // Some of it is not given back at once.
  assert.equal(await one.isEndedAt(150), false);
});
