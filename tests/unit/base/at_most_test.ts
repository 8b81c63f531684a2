import assert from "node:assert/strict";
import { atMost } from "../../../lib/base/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

Deno.test("atMost: in time, late, failed; no timer stays", async () => {
  const { clock } = fakeWorld();
  const { promise, resolve } = Promise.withResolvers<number>();
  const inTime = atMost(clock, 100, promise);
  resolve(1);
  assert.equal(await inTime, true);
  const late = atMost(clock, 100, new Promise(() => {}));
  await clock.advance(100);
  assert.equal(await late, false);
  await assert.rejects(atMost(clock, 100, Promise.reject(new Error("broken"))), /broken/);
  assert.deepEqual(clock.armed, []);
  // What fails when nobody waits any more is nobody's.
  const failing = Promise.withResolvers<void>();
  const given = atMost(clock, 100, failing.promise);
  await clock.advance(100);
  failing.reject(new Error("too late"));
  assert.equal(await given, false);
});
