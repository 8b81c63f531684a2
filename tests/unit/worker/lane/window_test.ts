import assert from "node:assert/strict";
import { ADAPTIVE_MAX, PrefetchWindow, WINDOW_MAX } from "../../../../lib/worker/lane/window.ts";

Deno.test("PrefetchWindow: concurrency times multiplier; 0 is limited by WINDOW_MAX", () => {
  assert.equal(new PrefetchWindow({ concurrency: 2, multiplier: 4, isAdaptive: false }).limit, 8);
  assert.equal(new PrefetchWindow({ concurrency: 2, multiplier: 0, isAdaptive: true }).limit, WINDOW_MAX);
});

Deno.test("PrefetchWindow: a chosen multiplier does not grow", () => {
  const window = new PrefetchWindow({ concurrency: 1, multiplier: 1, isAdaptive: false });
  for (let n = 0; n < 20; n++) window.observe(1, 0.01, 0.01);
  assert.equal(window.limit, 1);
});

Deno.test("PrefetchWindow: grows by doubling to about 20 ms of short work, within bounds", () => {
  const window = new PrefetchWindow({ concurrency: 1, multiplier: 4, isAdaptive: true });
  window.observe(4, 4, 1);
  assert.equal(window.limit, 8);
  for (let n = 0; n < 10; n++) window.observe(8, 8, 1);
  assert.equal(window.limit, 20);
  for (let n = 0; n < 100; n++) window.observe(8, 0.008, 0.001);
  assert.equal(window.limit, ADAPTIVE_MAX);
  assert.ok(window.isGrown);
});

Deno.test("PrefetchWindow: one long task shrinks it at once", () => {
  const window = new PrefetchWindow({ concurrency: 1, multiplier: 4, isAdaptive: true });
  for (let n = 0; n < 20; n++) window.observe(8, 0.08, 0.01);
  assert.equal(window.limit, ADAPTIVE_MAX);
  window.observe(8, 500, 499);
  assert.equal(window.limit, 4);
  window.observe(8, 0.08, 0.01);
  assert.equal(window.limit, 4);
});

Deno.test("PrefetchWindow.reduced: lower by the running tasks' share, at least one slot's", () => {
  const window = new PrefetchWindow({ concurrency: 5, multiplier: 2, isAdaptive: false });
  const counts = [0, 1, 2, 3, 4, 5].map((running) => window.reduced(running));
  assert.deepEqual(counts, [10, 8, 6, 4, 2, 2]);
});
