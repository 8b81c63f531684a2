/**
 * `make bench`: compares Lovage with its peers on one private Redis, in one run; the ratios matter.
 *
 *   drain     20,000 add(1, 2) with results wait in the queue; tasks/s from the first result to the last
 *   send      tasks/s of publishing 20,000 calls in bulk
 *   trip      the median idle round trip of send and get, ms
 *   start     from starting the process to the first result, ms
 *   memory    a solo worker's RSS after 200,000 tasks, MiB, and half-way
 *
 * Lovage's rates are shown with commands and socket writes per task, counted by Redis.
 * Arguments choose parts: `deno run -A bench/run.ts drain trip`. LOVAGE=dist/lovage benches the built file.
 */

import { startRedis } from "../tests/support/servers.ts";
import { LOVAGE } from "../tests/support/programs.ts";
import { BenchRedis } from "./bench_redis.ts";
import { finishedOf, installPeers, output, start, stop } from "./programs.ts";
import { filePath } from "../lib/base/mod.ts";

const root = filePath(new URL("..", import.meta.url));
const modules = `${root}.tools/bench`;
const parts = new Set(Deno.args.length > 0 ? Deno.args : ["drain", "send", "trip", "start", "memory"]);
const count = Number(Deno.env.get("TASKS") ?? 20_000);
const runs = Number(Deno.env.get("RUNS") ?? 3);
const python = ["/usr/bin/python3", "-m", "celery"];
const redis = await startRedis();
const env: Record<string, string> = {
  BENCH_REDIS: redis.url(0),
  BENCH_MODULES: modules,
  PYTHONPATH: `${root}bench/peers`,
  C_FORCE_ROOT: "1",
  NO_COLOR: "1",
};
/** Number of the bench's own polls, subtracted from the counted commands and writes. */
let pollCount = 0;
const control = await BenchRedis.connect(redis.port);
const call = control.call.bind(control);
const fill = control.fill.bind(control);

/** A worker to measure: its command, and where its finished tasks are counted. */
interface Contender {
  name: string;
  argv: string[];
  finished: "results" | "bullmq";
}

const solo: Contender = { name: "Lovage solo", argv: ours("solo", 1), finished: "results" };
const processes: Contender = {
  name: "Lovage processes -c 2",
  argv: ours("processes", 2),
  finished: "results",
};
const celery: Contender = {
  name: "Celery prefork -c 2",
  argv: [...python, "-A", "tasks", "worker", "-P", "prefork", "-c", "2", "-l", "WARNING"],
  finished: "results",
};
const bullmq: Contender = {
  name: "BullMQ -c 64",
  argv: ["node", `${root}bench/peers/bullmq.mjs`, "work"],
  finished: "bullmq",
};
const celeryNode: Contender = {
  name: "celery.node",
  argv: ["node", `${root}bench/peers/celery_node.mjs`],
  finished: "results",
};

try {
  await installPeers(modules);
  if (parts.has("drain")) await benchDrain();
  if (parts.has("send")) await benchSend();
  if (parts.has("trip")) await benchTrip();
  if (parts.has("start")) await benchStart();
  if (parts.has("memory")) await benchMemory();
} finally {
  control.close();
  await redis.stop();
}

async function benchDrain(): Promise<void> {
  console.log(
    `\ndrain: ${count} no-ops with results, tasks/s (best of ${runs}); commands and writes per task`,
  );
  const rates = new Map<Contender, number>();
  for (const contender of [celery, celeryNode, bullmq, solo, processes]) {
    const all = [];
    for (let run = 0; run < (contender === celery ? 1 : runs); run++) all.push(await drain(contender, count));
    const best = all.sort((a, b) => b.rate - a.rate)[0]!;
    rates.set(contender, best.rate);
    const per = `${best.commands.toFixed(2)} commands, ${best.writes.toFixed(3)} writes`;
    console.log(`  ${contender.name.padEnd(24)}${Math.round(best.rate).toString().padStart(8)}   ${per}`);
  }
  const ratio = (a: Contender, b: Contender) => (rates.get(a)! / rates.get(b)!).toFixed(1);
  console.log(`  solo: ${ratio(solo, celery)}x Celery (goal 40), ${ratio(solo, bullmq)}x BullMQ (goal 2)`);
  console.log(`  processes: ${ratio(processes, celery)}x Celery (goal 20)`);
}

/** Fills the queue, starts the worker, and watches the finished tasks grow. */
async function drain(contender: Contender, n: number) {
  await call("FLUSHALL");
  if (contender.finished === "bullmq") {
    await output(["node", `${root}bench/peers/bullmq.mjs`, "send", String(n)], env);
  } else await fill(n);
  await call("CONFIG", "RESETSTAT");
  const worker = start(contender.argv, env);
  let first = 0;
  let firstCount = 0;
  for (;;) {
    const done = await finished(contender);
    const now = performance.now();
    if (first === 0 && done > 0) [first, firstCount] = [now, done];
    if (done >= n) {
      const rate = (done - firstCount) / (now - first) * 1000;
      const commands = await stat("total_commands_processed");
      const writes = await stat("total_reads_processed");
      const polls = pollCount;
      pollCount = 0;
      await stop(worker);
      return { rate, commands: (commands - polls) / n, writes: (writes - polls) / n };
    }
    if (now - (first || now) > 120_000) {
      throw new Error(`${contender.name}: ${done} of ${n} after two minutes`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function finished({ finished }: Contender): Promise<number> {
  pollCount++;
  if (finished === "bullmq") return Number(await call("ZCARD", "bull:bench:completed"));
  return await finishedOf(count, call);
}

async function benchSend(): Promise<void> {
  console.log(`\nsend: ${count} calls in bulk, tasks/s (best of ${runs})`);
  const best = async (argv: string[]) => {
    let rate = 0;
    for (let run = 0; run < runs; run++) {
      await call("FLUSHALL");
      rate = Math.max(rate, parseFloat(await output(argv, env)));
    }
    return rate;
  };
  const theirs = await best(["node", `${root}bench/peers/bullmq.mjs`, "send", String(count)]);
  const mine = await best(client("send", String(count)));
  console.log(`  BullMQ addBulk          ${Math.round(theirs).toString().padStart(8)}`);
  console.log(`  Lovage sendMany         ${Math.round(mine).toString().padStart(8)}`);
  console.log(`  ${(mine / theirs).toFixed(1)}x BullMQ (goal 3)`);
}

async function benchTrip(): Promise<void> {
  console.log("\ntrip: idle round trip of delay and get, median of 300, ms");
  const trip = async (contender: Contender, argv: string[]) => {
    await call("FLUSHALL");
    const worker = start(contender.argv, env);
    await fill(1);
    while (await finishedOne() === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const median = Number(await output(argv, env));
    await stop(worker);
    return median;
  };
  const theirs = await trip(celery, ["/usr/bin/python3", `${root}bench/peers/tasks.py`, "300"]);
  const mine = await trip(solo, client("trip", "300"));
  const pooled = await trip(processes, client("trip", "300"));
  console.log(`  Celery prefork -c 2     ${theirs.toFixed(2).padStart(8)}`);
  console.log(
    `  Lovage solo             ${mine.toFixed(2).padStart(8)}   ${(mine / theirs).toFixed(2)}x (goal 0.5)`,
  );
  console.log(
    `  Lovage processes -c 2   ${pooled.toFixed(2).padStart(8)}   ${(pooled / theirs).toFixed(2)}x`,
  );
}

async function benchStart(): Promise<void> {
  console.log(`\nstart: from starting the process to the first result, ms (best of ${runs + 2})`);
  for (const contender of [celery, solo, processes]) {
    let best = Infinity;
    for (let run = 0; run < (contender === celery ? 2 : runs + 2); run++) {
      await call("FLUSHALL");
      await fill(1);
      const began = performance.now();
      const worker = start(contender.argv, env);
      while (await finishedOne() === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      best = Math.min(best, performance.now() - began);
      await stop(worker);
    }
    console.log(
      `  ${contender.name.padEnd(24)}${best.toFixed(0).padStart(8)}${
        contender === celery ? "" : "   (goal 200)"
      }`,
    );
  }
  let help = Infinity;
  for (let run = 0; run < 5; run++) {
    const began = performance.now();
    await output([...LOVAGE, "--help"], env);
    help = Math.min(help, performance.now() - began);
  }
  console.log(`  lovage --help           ${help.toFixed(0).padStart(8)}   (goal 100)`);
}

async function benchMemory(): Promise<void> {
  const total = 200_000;
  console.log(`\nmemory: a solo worker's RSS over ${total} tasks, MiB`);
  await call("FLUSHALL");
  await fill(1);
  const worker = start(solo.argv, env);
  while (await finishedOne() === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  for (const share of [1, 2, 3, 4]) {
    await fill(total / 4);
    while (Number(await call("LLEN", "celery")) > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    await new Promise((resolve) => setTimeout(resolve, 300));
    console.log(
      `  after ${String(share * total / 4).padStart(7)} tasks    ${rss(worker.pid).toFixed(0).padStart(8)}`,
    );
    await call(
      "EVAL",
      "for _, k in ipairs(redis.call('KEYS', 'celery-task-meta-*')) do redis.call('DEL', k) end",
      "0",
    );
  }
  await stop(worker);
}

/** Returns 1 if any result exists. */
async function finishedOne(): Promise<number> {
  const [, keys] = await call("SCAN", "0", "MATCH", "celery-task-meta-*", "COUNT", "1000") as [
    string,
    string[],
  ];
  return keys.length > 0 ? 1 : 0;
}

function ours(pool: string, concurrency: number): string[] {
  const app = ["-A", `${root}bench/tasks.ts`];
  return [
    ...LOVAGE,
    ...app,
    "worker",
    "-P",
    pool,
    "-c",
    String(concurrency),
    "-l",
    "WARNING",
    "-n",
    `${pool}@bench`,
  ];
}

function client(...args: string[]): string[] {
  return [
    Deno.execPath(),
    "run",
    "-A",
    "--quiet",
    "--config",
    `${root}deno.json`,
    `${root}bench/client.ts`,
    ...args,
  ];
}

function rss(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

async function stat(name: string): Promise<number> {
  return Number(new RegExp(`${name}:(\\d+)`).exec(await call("INFO", "stats") as string)?.[1]);
}
