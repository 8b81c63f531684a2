/** The autoscaler's decisions, on numbers alone. */

import assert from "node:assert/strict";
import { Autoscaler, type ScaledPool } from "../../../lib/worker/autoscale.ts";

function scaler(range: { max: number; min: number }, size = range.min) {
  const lines: string[] = [];
  const at = { size, busy: 0, load: 0, nowMs: 0 };
  const scaled: ScaledPool = {
    get size() {
      return at.size;
    },
    get busy() {
      return at.busy;
    },
    get load() {
      return at.load;
    },
    grow: (by) => void (at.size += by),
    shrink: (by) => void (at.size -= by),
    onMax: (max) => void lines.push(`max ${max}`),
    info: (text) => void lines.push(text),
    debug: (text) => void lines.push(text),
    nowMs: () => at.nowMs,
  };
  return { at, lines, autoscaler: new Autoscaler(scaled, { ...range, keepaliveSeconds: 30 }) };
}

Deno.test("autoscaler: grows at once with the load, up to the maximum", () => {
  const { at, lines, autoscaler } = scaler({ max: 4, min: 1 });
  autoscaler.look();
  assert.equal(at.size, 1);
  at.load = 2;
  autoscaler.look();
  at.load = 100;
  autoscaler.look();
  autoscaler.look();
  assert.equal(at.size, 4);
  assert.deepEqual(lines, ["Scaling up 1 processes.", "Scaling up 2 processes."]);
});

Deno.test("autoscaler: shrinks only idle slots, and only a while after the last growth", () => {
  const { at, lines, autoscaler } = scaler({ max: 4, min: 1 });
  at.load = 4;
  autoscaler.look();
  at.load = 0;
  at.nowMs = 29_000;
  autoscaler.look();
  assert.equal(at.size, 4);
  at.nowMs = 31_000;
  at.busy = 2;
  autoscaler.look();
  assert.equal(at.size, 2);
  at.busy = 2;
  autoscaler.look();
  at.busy = 0;
  autoscaler.look();
  assert.equal(at.size, 1);
  autoscaler.look();
  assert.deepEqual(lines.slice(1), [
    "Scaling down 2 processes.",
    "Autoscaler won't scale down: all processes busy.",
    "Scaling down 1 processes.",
  ]);
});

Deno.test("autoscaler: a new range applies at once; at least one slot stays", () => {
  const { at, lines, autoscaler } = scaler({ max: 4, min: 0 }, 3);
  assert.deepEqual(autoscaler.update(2, null), { max: 2, min: 0 });
  assert.equal(at.size, 2);
  assert.deepEqual(autoscaler.update(6, 5), { max: 6, min: 5 });
  assert.equal(at.size, 5);
  assert.deepEqual(autoscaler.update(0, 0), { max: 0, min: 0 });
  assert.equal(at.size, 1);
  assert.ok(lines.includes("max 6"));
  assert.deepEqual(autoscaler.info(), { max: 0, min: 0, current: 1, qty: 0 });
});
