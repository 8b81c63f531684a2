/**
 * Lovage as a client: `send N` prints tasks/s of sendMany; `trip N` prints the median idle round trip in ms,
 * after a warm-up of 500 trips in which machine code is compiled.
 */

import { add, app } from "./tasks.ts";

const [what, count] = Deno.args;
const n = Number(count);
if (what === "send") {
  await (await add.delay(1, 2)).forget(); // connected, as BullMQ's queue is before its clock starts
  const began = performance.now();
  await app.sendMany(Array.from({ length: n }, () => ({ task: add.name, args: [1, 2] })));
  console.log(n / (performance.now() - began) * 1000);
} else {
  const times: number[] = [];
  for (let k = -500; k < n; k++) {
    const began = performance.now();
    if (await (await add.delay(k, 1)).get({ timeout: 10 }) !== k + 1) throw new Error("a wrong sum");
    if (k >= 0) times.push(performance.now() - began);
    await new Promise((done) => setTimeout(done, 5));
  }
  console.log(times.sort((a, b) => a - b)[n >> 1]);
}
await app.close();
