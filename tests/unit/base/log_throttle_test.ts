import assert from "node:assert/strict";
import { LogThrottle, TimerHeap } from "../../../lib/base/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

Deno.test("LogThrottle: so many lines in a period, and the next one says how many were left out", async () => {
  const world = fakeWorld();
  const throttle = new LogThrottle(world, { everyMs: 1000, lines: 2 });
  for (const text of ["a", "b", "c", "d"]) throttle.log("WARNING", text);
  await world.clock.advance(1000);
  for (const text of ["e", "f", "g"]) throttle.log("WARNING", text);
  assert.deepEqual(world.log.messages(), ["a", "b", "e (and 2 more like it)", "f"]);
});

Deno.test("LogThrottle: where it has timers it says so when the period ends, and arms nothing while it is silent", async () => {
  const world = fakeWorld();
  const timers = new TimerHeap(world.clock);
  const throttle = new LogThrottle(world, { everyMs: 5000, atEnd: { timers, about: "odd messages" } });
  throttle.log("ERROR", "a");
  throttle.log("ERROR", "b");
  await world.clock.advance(5000);
  throttle.log("ERROR", "c");
  await world.clock.advance(5000);
  assert.deepEqual(world.log.messages(), ["a", "1 more lines about odd messages were left out in 5 s", "c"]);
  timers.close();
  world.clock.checkNothingArmed();
});
