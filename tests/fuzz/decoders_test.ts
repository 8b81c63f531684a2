/** Each decoder on inputs from fixed seeds, and on those that have found something. */

import { Chance } from "./chance.ts";
import { TARGETS } from "./decoders.ts";

/** Seeds that showed a fault, by target: each stays. */
const FOUND: Readonly<Record<string, readonly number[]>> = {};

for (const { name, run } of TARGETS) {
  Deno.test(`fuzz: ${name}: whatever comes is read, or refused by an error of ours, and soon`, () => {
    for (let seed = 1; seed <= 1500; seed++) run(new Chance(seed));
    for (const seed of FOUND[name] ?? []) run(new Chance(seed));
  });
}
