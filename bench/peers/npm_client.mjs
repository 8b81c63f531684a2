// The npm package: `send N` prints tasks/s of sendMany and tasks per second of processor time; `results N` sends N tasks,
// waits for every result, and prints tasks/s of both together.
import { pathToFileURL } from "node:url";
import process from "node:process";

const { App } = await import(pathToFileURL(process.env.BENCH_LIBRARY).href);
const app = new App("bench", {
  broker_url: process.env.BENCH_BROKER,
  result_backend: process.env.BENCH_RESULTS,
});
const add = app.task("bench.add", (x, y) => x + y);
const [what, count] = process.argv.slice(2);
const calls = Array.from({ length: Number(count) }, () => ({ task: add, args: [1, 2] }));

// Connected, as BullMQ's queue is before its clock starts.
const first = await add.delay(1, 2);
if (what === "results") await first.get({ timeout: 60 });
const cpu = process.cpuUsage();
const began = performance.now();
const results = await app.sendMany(calls);
if (what === "results") { for (const result of results) await result.get({ timeout: 60 }); }
const seconds = (performance.now() - began) / 1000;
const { user, system } = process.cpuUsage(cpu);
console.log(calls.length / seconds, calls.length / (user + system) * 1e6);
await app.close();
