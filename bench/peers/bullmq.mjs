// BullMQ: `send N` adds N jobs with addBulk and prints jobs/s and jobs per second of processor time; `work` runs a worker
// of concurrency 64.
import { createRequire } from "node:module";
import process from "node:process";

const { Queue, Worker } = createRequire(`${process.env.BENCH_MODULES}/`)("bullmq");
const { hostname, port } = new URL(process.env.BENCH_REDIS);
const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
const [what, count] = process.argv.slice(2);

if (what === "send") {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  const jobs = Array.from({ length: Number(count) }, () => ({ name: "add", data: { x: 1, y: 2 } }));
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let n = 0; n < jobs.length; n += 1000) await queue.addBulk(jobs.slice(n, n + 1000));
  const rate = jobs.length / (performance.now() - began) * 1000;
  const { user, system } = process.cpuUsage(cpu);
  console.log(rate, jobs.length / (user + system) * 1e6);
  await queue.close();
} else {
  new Worker("bench", (job) => job.data.x + job.data.y, { connection, concurrency: 64 });
}
