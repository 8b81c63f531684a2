import assert from "node:assert/strict";
import { TimerHeap } from "../../../lib/base/mod.ts";
import { FakeClock } from "../../support/fake_world.ts";

Deno.test("TimerHeap: a time that no clock reaches is a deadline that never comes", async () => {
  const clock = new FakeClock();
  const timers = new TimerHeap(clock);
  const fired: string[] = [];
  for (const ms of [Infinity, Number.MAX_VALUE, 1e300]) timers.armIn(ms, () => fired.push(`${ms}`));
  timers.armIn(1000, () => fired.push("second"));
  await clock.advance(86_400_000);
  assert.deepEqual(fired, ["second"]);
  assert.throws(() => timers.armIn(NaN, () => {}), /a deadline is a finite time/);
  timers.close();
});
