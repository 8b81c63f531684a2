import assert from "node:assert/strict";
import { LimitedSet } from "../../../lib/worker/revoked.ts";

function setAt(start: number, max = 3): { set: LimitedSet; clock: { now: number } } {
  const clock = { now: start };
  return { set: new LimitedSet({ max, expiresSeconds: 10, nowSeconds: () => clock.now }), clock };
}

Deno.test("LimitedSet: past its bound the oldest go", () => {
  const { set, clock } = setAt(0);
  for (const id of ["a", "b", "c"]) set.add(id, clock.now++);
  set.add("a");
  set.add("d");
  assert.deepEqual([...set.entries()].map(([id]) => id), ["c", "a", "d"]);
  assert.equal(set.size, 3);
});

Deno.test("LimitedSet.update: the later time stays, and order is by time", () => {
  const { set } = setAt(5);
  set.add("a");
  set.update([["b", 1], ["a", 2], ["c", 9]]);
  assert.deepEqual([...set.entries()], [["b", 1], ["a", 5], ["c", 9]]);
  set.update([["d", 7]]);
  assert.equal(set.has("b"), false);
  assert.ok(set.has("d"));
});

Deno.test("LimitedSet.expire: forgets what is older than its time", () => {
  const { set, clock } = setAt(0);
  set.add("old");
  clock.now = 11;
  set.add("new");
  set.expire();
  assert.deepEqual([...set.entries()], [["new", 11]]);
});
