import assert from "node:assert/strict";
import { crowdInterval } from "../../../lib/worker/consumer/heart_step.ts";

Deno.test("crowdInterval: Celery's two seconds, then so that no worker receives more than 25 heartbeats a second", () => {
  assert.deepEqual([0, 1, 50].map(crowdInterval), [2, 2, 2]);
  for (const neighbours of [51, 100, 1500]) assert.ok(neighbours / crowdInterval(neighbours) <= 25);
  assert.equal(crowdInterval(1_000_000), 60);
});
