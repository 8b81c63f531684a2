/**
 * The simulation over fixed seeds. A failure prints its seed, its plan and the end of its trace. To run it
 * again:
 *
 *     SEED=17 deno test -A tests/sim         one seed, with its whole trace
 *     SEEDS=1000-1999 deno test -A tests/sim more seeds
 */

import assert from "node:assert/strict";
import { SeededRandom } from "../support/fake_world.ts";
import { type Plan, simulate } from "./simulation.ts";

const FIXED = 20;

/**
 * Returns the plan of a seed. Every fourth seed has only cuts, restarts and stops; no task may run twice
 * because of them.
 */
function planOf(seed: number): Plan {
  const random = new SeededRandom(seed * 7919);
  const up = (to: number) => random.u32() % (to + 1);
  const isGentle = seed % 4 === 0;
  return {
    workers: 1 + up(2),
    tasks: 20 + up(60),
    cuts: up(30),
    stalls: isGentle ? 0 : up(4),
    restarts: up(2),
    kills: isGentle ? 0 : up(5),
    stops: up(2),
    poison: isGentle ? 0 : up(1),
  };
}

function seeds(): number[] {
  const one = Deno.env.get("SEED");
  if (one) return [Number(one)];
  const [from, to] = (Deno.env.get("SEEDS") ?? `1-${FIXED}`).split("-").map(Number) as [number, number];
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}

Deno.test("no task is lost, none doubled but by a death, nothing is left behind", async () => {
  for (const seed of seeds()) {
    const plan = planOf(seed);
    const { wrong, trace } = await simulate(seed, plan);
    if (Deno.env.get("SEED")) console.log(trace.join("\n"));
    assert.deepEqual(wrong, [], `SEED=${seed} ${JSON.stringify(plan)}\n${trace.slice(-40).join("\n")}`);
  }
});

Deno.test("the same seed is the same run", async () => {
  const [first, second] = [await simulate(3, planOf(3)), await simulate(3, planOf(3))];
  assert.deepEqual(second.trace, first.trace);
});
