// Goal: a consumer that receives nothing although its queue has messages reconnects, and no other does.
import assert from "node:assert/strict";
import { Rig } from "./rig.ts";

const LINE = "consumer: No message received although a queue has messages: reconnecting";

Deno.test("watchdog: a consumer that receives nothing is replaced, and its messages run", async () => {
  await using rig = await Rig.start();
  // A consumer whose wake-ups are lost fetches nothing any more.
  await rig.worker.consumer.tasks!.pause();
  await rig.send();
  await rig.world.clock.advance(20_000);
  assert.deepEqual([await rig.waiting(), rig.log().includes(LINE)], [1, false]);
  await rig.world.clock.advance(40_000);
  await rig.settle();
  assert.ok(rig.log().includes(LINE));
  assert.equal(rig.pool.submitted.length, 1);
  assert.equal(await rig.waiting(), 0);
});

Deno.test("watchdog: a full worker or an empty queue is no reason to reconnect", async () => {
  await using rig = await Rig.start();
  await rig.world.clock.advance(120_000);
  rig.pool.script = () => null;
  for (let n = 0; n < 20; n++) await rig.send();
  await rig.world.clock.advance(120_000);
  assert.ok(!rig.log().includes(LINE));
  assert.ok(await rig.waiting() > 0);
});
