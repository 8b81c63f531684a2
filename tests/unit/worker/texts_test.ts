import assert from "node:assert/strict";
import { connectionError, retryStep, truncate } from "../../../lib/worker/texts.ts";

Deno.test("connectionError and retryStep: Celery's lines", () => {
  assert.equal(
    connectionError("redis://localhost:6379/0", "Connection refused", retryStep(2, 1, 100)),
    "consumer: Cannot connect to redis://localhost:6379/0: Connection refused.\n" +
      "Trying again in 2.00 seconds... (1/100)\n",
  );
  assert.equal(retryStep(1, 1, Infinity), "Trying again in 1.00 second... (1/inf)");
  assert.equal(retryStep(90, 3, 9), "Trying again in 1.50 minutes... (3/9)");
});

Deno.test("truncate", () => {
  assert.equal(truncate("abcdef", 6), "abcdef");
  assert.equal(truncate("abcdefg", 6), "abc...");
});
