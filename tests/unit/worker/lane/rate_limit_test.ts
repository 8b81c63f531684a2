import assert from "node:assert/strict";
import { UsageError } from "../../../../lib/base/mod.ts";
import { parseRate, TokenBucket } from "../../../../lib/worker/lane/rate_limit.ts";

Deno.test("parseRate: reads Celery's texts", () => {
  assert.equal(parseRate("10/m"), 10 / 60);
  assert.equal(parseRate("0.5/s"), 0.5);
  assert.equal(parseRate("2/h"), 2 / 3600);
  assert.equal(parseRate("10"), 10);
  assert.equal(parseRate(3), 3);
  for (const none of [null, "", 0, "0", "0/m"]) assert.equal(parseRate(none), 0);
});

Deno.test("parseRate: refuses in Python's words", () => {
  assert.throws(() => parseRate("fast"), (error: Error) => {
    assert.ok(error instanceof UsageError);
    assert.equal(
      error.message,
      `Invalid rate limit string: ValueError("could not convert string to float: 'fast'")`,
    );
    return true;
  });
  assert.throws(() => parseRate("10/x"), /KeyError\('x'\)/);
});

Deno.test("TokenBucket: one token saved up, then one per interval", () => {
  const bucket = new TokenBucket(2, 0);
  assert.ok(bucket.take(0));
  assert.equal(bucket.take(0), false);
  assert.equal(Math.round(bucket.waitMs(0)), 500);
  assert.equal(bucket.take(499), false);
  assert.ok(bucket.take(500));
  assert.ok(bucket.take(60_000));
  assert.equal(bucket.take(60_000), false);
});

Deno.test("TokenBucket: an hour of takes keeps the rate", () => {
  const bucket = new TokenBucket(10 / 60, 0);
  let taken = 0;
  for (let ms = 0; ms <= 3_600_000; ms += 250) if (bucket.take(ms)) taken++;
  assert.equal(taken, 601);
});
