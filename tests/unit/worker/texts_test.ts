import assert from "node:assert/strict";
import { connectionError, pythonFloat, retryStep, truncate } from "../../../lib/worker/texts.ts";

Deno.test("pythonFloat: as Python's repr writes floats", () => {
  const cases: [number, string][] = [
    [0.005611812000097416, "0.005611812000097416"],
    [3, "3.0"],
    [0, "0.0"],
    [0.0001, "0.0001"],
    [0.00001, "1e-05"],
    [1.5e-7, "1.5e-07"],
    [1e16, "1e+16"],
    [123456789012345680, "1.2345678901234568e+17"],
    [1e100, "1e+100"],
    [-2.5, "-2.5"],
    [Infinity, "inf"],
    [NaN, "nan"],
  ];
  for (const [value, text] of cases) assert.equal(pythonFloat(value), text);
});

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
