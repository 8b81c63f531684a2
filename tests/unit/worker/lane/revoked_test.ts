import assert from "node:assert/strict";
import { LimitedSet, revokedLimits, successfulLimits } from "../../../../lib/worker/lane/revoked.ts";

function setAt(start: number, max = 3): { set: LimitedSet; clock: { now: number } } {
  const clock = { now: start };
  return { set: new LimitedSet({ limits: { max, expiresSeconds: 10 }, nowSeconds: () => clock.now }), clock };
}

Deno.test("LimitedSet: past its maximum the oldest are forgotten", () => {
  const { set, clock } = setAt(0);
  for (const id of ["a", "b", "c"]) {
    set.add(id);
    clock.now++;
  }
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

Deno.test("LimitedSet.expire: forgets ids older than the expiry", () => {
  const { set, clock } = setAt(0);
  set.add("old");
  clock.now = 11;
  set.add("new");
  set.expire();
  assert.deepEqual([...set.entries()], [["new", 11]]);
});

Deno.test("LimitedSet: limits are Celery's, or those of its environment variables", () => {
  const env = (given: Record<string, string>) => (name: string) => given[name] ?? null;
  assert.deepEqual(revokedLimits(env({})), { max: 50_000, expiresSeconds: 10_800 });
  assert.deepEqual(successfulLimits(env({})), { max: 1000, expiresSeconds: 10_800 });
  const given = env({
    CELERY_WORKER_REVOKES_MAX: "7",
    CELERY_WORKER_REVOKE_EXPIRES: "1.5",
    CELERY_WORKER_SUCCESSFUL_MAX: " 8 ",
    CELERY_WORKER_SUCCESSFUL_EXPIRES: "",
  });
  assert.deepEqual(revokedLimits(given), { max: 7, expiresSeconds: 1.5 });
  assert.deepEqual(successfulLimits(given), { max: 8, expiresSeconds: 10_800 });
  for (const text of ["x", "-1", "1.5", "Infinity"]) {
    assert.throws(() => successfulLimits(env({ CELERY_WORKER_SUCCESSFUL_MAX: text })), {
      message:
        `Cannot use the variable CELERY_WORKER_SUCCESSFUL_MAX="${text}": it must be a whole number that is not negative`,
    });
  }
});
