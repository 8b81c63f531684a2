/**
 * Fuzzing at length: `deno run -A tests/fuzz/run.ts [--seconds N] [--seed N] [WORD...]`, each target whose name holds
 * a word, in turns, until the time is over. Ends with 1 at the first fault and prints the seed that shows it again.
 */

import { Chance } from "./chance.ts";
import { TARGETS } from "./decoders.ts";
import { fuzzCommandLines, fuzzPeers } from "./programs.ts";
import { fuzzWorker } from "./worker.ts";

const options = { seconds: 60, seed: 1 };
const words: string[] = [];
for (let at = 0; at < Deno.args.length; at++) {
  const word = Deno.args[at]!;
  const name = word.replace(/^--/, "");
  if (name === "seconds" || name === "seed") options[name] = Number(Deno.args[++at]);
  else words.push(word);
}
/** Targets of whole programs: what one turn takes. */
const WHOLE: readonly [name: string, count: number, run: (seed: number, count: number) => Promise<number>][] =
  [
    ["worker", 1000, (seed, count) => fuzzWorker(seed, count, ["solo", "processes", "threads"][seed % 3])],
    ["command lines", 40, fuzzCommandLines],
    ["peers", 20, fuzzPeers],
  ];
const isWanted = (name: string) => words.length === 0 || words.some((word) => name.includes(word));
const targets = TARGETS.filter(({ name }) => isWanted(name));
const end = performance.now() + options.seconds * 1000;
const counts = new Map<string, number>();
let seed = options.seed;
while (performance.now() < end) {
  for (const { name, run } of targets) {
    try {
      for (let n = 0; n < 200; n++) run(new Chance(seed + n));
    } catch (error) {
      console.error(`target "${name}", seeds ${seed} to ${seed + 199}:`, error);
      Deno.exit(1);
    }
    counts.set(name, (counts.get(name) ?? 0) + 200);
  }
  for (const [name, count, run] of WHOLE) {
    if (!isWanted(name)) continue;
    const ran = await run(seed, count).catch((error) => {
      // A failed end hides what it followed: all of it is shown.
      for (let one = error; one !== undefined; one = one.suppressed) console.error(one.error ?? one);
      console.error(`target "${name}", seed ${seed}`);
      Deno.exit(1);
    });
    counts.set(name, (counts.get(name) ?? 0) + ran);
  }
  seed += 200;
}
for (const [name, count] of counts) console.log(`${name}: ${count}`);
