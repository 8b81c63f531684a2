import assert from "node:assert/strict";
import { retryPolicy } from "../../../lib/backend/retry.ts";
import { backendOptions } from "../../conformance/backend.ts";

const random = { u32: () => 0, fraction: () => 0.5, id: () => "" };
const delays = (policy: { delayMs(n: number): number }) => [0, 1, 2, 3].map((n) => policy.delayMs(n));

Deno.test("retryPolicy: by default Celery's 20 tries after 0, 1, 1, … seconds", () => {
  const policy = retryPolicy(backendOptions(), random);
  assert.equal(policy.maxRetries, 20);
  assert.deepEqual(delays(policy), [0, 1000, 1000, 1000]);
});

Deno.test("retryPolicy: retry_policy of the transport options", () => {
  const given = { max_retries: null, interval_start: 0.5, interval_step: 0.25, interval_max: 0.4 };
  const policy = retryPolicy(backendOptions({ transportOptions: { retry_policy: given } }), random);
  assert.equal(policy.maxRetries, Infinity);
  assert.deepEqual(delays(policy), [500, 750, 900, 900]);
});

Deno.test("retryPolicy: result_backend_always_retry doubles up to a maximum, with full jitter", () => {
  const policy = retryPolicy(
    backendOptions({ alwaysRetry: true, maxRetries: 3, baseSleepMs: 10, maxSleepMs: 50 }),
    random,
  );
  assert.equal(policy.maxRetries, 3);
  assert.deepEqual(delays(policy), [5, 10, 20, 25]);
  assert.equal(policy.delayMs(5000), 25);
});
