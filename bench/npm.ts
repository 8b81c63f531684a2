/**
 * Compares the npm package on Node, Bun and Deno with the library in this program and with BullMQ. The
 * programs run in turns; the ratios matter.
 *
 *   send      10,000 tasks by sendMany (BullMQ: addBulk): tasks/s, and tasks per second of processor time
 *   results   10,000 tasks sent, run by a worker, and every result waited for: tasks/s
 *
 * Arguments choose parts: `deno run -A bench/npm.ts send`.
 */

import { filePath } from "../lib/base/mod.ts";
import { bun, installedPackage } from "../tests/support/npm_package.ts";
import { LOVAGE } from "../tests/support/programs.ts";
import { startRabbit, startRedis } from "../tests/support/servers.ts";
import { installPeers, output, start, stop } from "./programs.ts";

const root = filePath(new URL("..", import.meta.url));
const modules = `${root}.tools/bench`;
const parts = new Set(Deno.args.length > 0 ? Deno.args : ["send", "results"]);
const count = Deno.env.get("TASKS") ?? "10000";
const runs = Number(Deno.env.get("RUNS") ?? 3);

/** A program that sends: its command and its library. */
interface Sender {
  readonly name: string;
  readonly command: readonly string[];
  readonly library: string;
}

const { folder } = await installedPackage();
const client = `${root}bench/peers/npm_client.mjs`;
const deno = [Deno.execPath(), "run", "-A", "--quiet", "--config", `${root}deno.json`, client];
const library = `${folder}/node_modules/lovage/lib/lovage.js`;
const own: Sender = { name: "this program", command: deno, library: `${root}lib/mod.ts` };
const packaged: readonly Sender[] = [
  { name: "Node", command: ["node", client], library },
  { name: "Bun", command: [await bun(), client], library },
  { name: "Deno", command: deno, library },
];
const bullmq: Sender = { name: "BullMQ", command: ["node", `${root}bench/peers/bullmq.mjs`], library };

await using stack = new AsyncDisposableStack();
const redis = stack.use(await startRedis());
const rabbit = stack.use(await startRabbit());
const brokers = { Redis: redis.url(0), RabbitMQ: rabbit.url() };

if (parts.has("send")) await benchSend();
if (parts.has("results")) await benchResults();

async function benchSend(): Promise<void> {
  await installPeers(modules);
  for (const [name, broker] of Object.entries(brokers)) {
    console.log(`\nsend: ${count} tasks to ${name}, best of ${runs}: tasks/s, and by processor time`);
    const senders = name === "Redis" ? [own, ...packaged, bullmq] : [own, ...packaged];
    const best = new Map(senders.map((sender) => [sender, { rate: 0, byCpu: 0 }]));
    for (let run = 0; run < runs; run++) {
      for (const sender of senders) {
        const [rate, byCpu] = await rates(sender, "send", broker);
        const { rate: rateMax, byCpu: byCpuMax } = best.get(sender)!;
        best.set(sender, { rate: Math.max(rate, rateMax), byCpu: Math.max(byCpu, byCpuMax) });
        await empty(name);
      }
    }
    const shown = (rate: number) => String(Math.round(rate)).padStart(10);
    for (const [sender, { rate, byCpu }] of best) {
      const beside = (other: Sender) => {
        const theirs = best.get(other);
        if (theirs === undefined || other === sender) return "";
        return `  ${(rate / theirs.rate).toFixed(1)} / ${(byCpu / theirs.byCpu).toFixed(1)} x ${other.name}`;
      };
      console.log(`  ${sender.name.padEnd(14)}${shown(rate)}${shown(byCpu)}${beside(own)}${beside(bullmq)}`);
    }
  }
}

async function benchResults(): Promise<void> {
  const place = (broker: string) => ({
    BENCH_BROKER: broker,
    BENCH_REDIS: redis.url(1),
    PYTHONPATH: `${root}bench/peers`,
    C_FORCE_ROOT: "1",
    NO_COLOR: "1",
  });
  const workers = {
    Lovage: [...LOVAGE, "-A", `${root}bench/tasks.ts`, "worker", "-P", "solo", "-l", "WARNING"],
    Python: ["/usr/bin/python3", "-m", "celery", "-A", "tasks", "worker", "-c", "2", "-l", "WARNING"],
  };
  for (const [name, broker] of Object.entries(brokers)) {
    for (const [language, command] of Object.entries(workers)) {
      console.log(`\nresults: ${count} tasks over ${name} to a ${language} worker and back, tasks/s`);
      const worker = start(command, place(broker));
      for (const sender of [own, ...packaged]) {
        const [rate] = await rates(sender, "results", broker);
        console.log(`  ${sender.name.padEnd(14)}${String(Math.round(rate)).padStart(10)}`);
      }
      await stop(worker);
      await empty(name);
    }
  }
}

/** Reads a sender's output: tasks/s, and tasks per second of processor time. */
async function rates({ command, library }: Sender, what: string, broker: string): Promise<[number, number]> {
  const text = await output([...command, what, count], {
    BENCH_BROKER: broker,
    BENCH_REDIS: broker,
    BENCH_RESULTS: redis.url(1),
    BENCH_LIBRARY: library,
    BENCH_MODULES: modules,
    NO_COLOR: "1",
  });
  return text.split(" ").map(Number) as [number, number];
}

async function empty(name: string): Promise<void> {
  await redis.cli("FLUSHALL");
  if (name === "RabbitMQ") await rabbit.ctl("purge_queue", "celery");
}
