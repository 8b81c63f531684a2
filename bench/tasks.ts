/** The tasks of Lovage's side of the bench. */

import { App } from "lovage";

const url = Deno.env.get("BENCH_REDIS")!;
const broker = Deno.env.get("BENCH_BROKER") ?? url;
const isUnconfirmed = Deno.env.get("BENCH_CONFIRMS") === "no";
export const app = new App("bench", {
  broker_url: broker,
  result_backend: url,
  broker_transport_options: isUnconfirmed ? { confirm_publish: false } : {},
});
export const add = app.task("bench.add", (x: number, y: number) => x + y);
/** Waits for `ms` milliseconds. */
export const wait = app.task("bench.wait", async (ms: number) => {
  await new Promise<void>((done) => setTimeout(done, ms));
});
/** Computes a fixed number of rounds. */
export const burn = app.task("bench.burn", (rounds: number) => {
  let x = 1;
  for (let n = 0; n < rounds; n++) x = (x * 1103515245 + 12345) % 2147483648;
  return x;
});
/** Ends its slot. */
export const leave = app.task("bench.leave", () => Deno.exit(0));
