/** A worker, the command line and odd brokers on a few inputs from fixed seeds; `tests/fuzz/run.ts` goes on for long. */

import { fuzzCommandLines, fuzzPeers } from "./programs.ts";
import { fuzzWorker } from "./worker.ts";

for (const pool of ["solo", "processes"]) {
  Deno.test(`fuzz: a worker (${pool}) outlives odd messages and runs the good ones between them`, async () => {
    await fuzzWorker(11, 1000, pool);
  });
}

Deno.test("fuzz: odd command lines end with a status and words for people", async () => {
  await fuzzCommandLines(1, 12);
});

Deno.test("fuzz: brokers that answer oddly end a command with a status and words for people", async () => {
  await fuzzPeers(1, 8);
});
