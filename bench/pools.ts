/**
 * Measures the pools and compares them with Python Celery on one private Redis, in one run; the ratios
 * matter.
 *
 *   drain     no-ops with results, tasks/s: processes and threads with two slots, and Celery's prefork with two
 *   awaits    1,000 tasks that each await 100 ms, in async with a thousand at once: seconds
 *   cpu       tasks of 30 ms of computation: two slots compared with one
 *   memory    RSS per slot, MiB: the difference between eight slots and two, divided by six
 *   replace   short tasks while another slot is replaced repeatedly, compared with none replaced; and slots that are
 *             recycled after a number of tasks
 *
 * Arguments choose parts: `deno run -A bench/pools.ts drain awaits`. LOVAGE=dist/lovage benches the built file.
 */

import { LOVAGE } from "../tests/support/programs.ts";
import { startRedis } from "../tests/support/servers.ts";
import { App } from "../lib/mod.ts";
import { finishedOf, resultCount } from "./programs.ts";
import { filePath } from "../lib/base/mod.ts";

const root = filePath(new URL("..", import.meta.url));
const parts = new Set(Deno.args.length > 0 ? Deno.args : ["drain", "awaits", "cpu", "memory", "replace"]);
const count = Number(Deno.env.get("TASKS") ?? 20_000);
const redis = await startRedis();
const env: Record<string, string> = {
  BENCH_REDIS: redis.url(0),
  PYTHONPATH: `${root}bench/peers`,
  C_FORCE_ROOT: "1",
  NO_COLOR: "1",
};
const app = new App("bench", { broker_url: redis.url(0), result_backend: redis.url(0) });
const control = await Deno.connect({ hostname: "127.0.0.1", port: redis.port });

try {
  if (parts.has("drain")) await benchDrain();
  if (parts.has("awaits")) await benchAwaits();
  if (parts.has("cpu")) await benchCpu();
  if (parts.has("memory")) await benchMemory();
  if (parts.has("replace")) await benchReplace();
} finally {
  control.close();
  await app.close();
  await redis.stop();
}

async function benchDrain(): Promise<void> {
  console.log(`\ndrain: ${count} no-ops with results, tasks/s`);
  const python = [
    "/usr/bin/python3",
    "-m",
    "celery",
    "-A",
    "tasks",
    "worker",
    "-P",
    "prefork",
    "-c",
    "2",
    "-l",
    "WARNING",
  ];
  const celery = await drain(python, count / 4);
  console.log(`  Celery prefork -c 2 ${Math.round(celery)}`);
  for (const [pool, goal] of [["processes", 20], ["threads", 25]] as const) {
    const rates = [];
    for (let run = 0; run < 3; run++) rates.push(await drain(worker(pool, 2), count));
    const rate = Math.max(...rates);
    console.log(`  ${pool} -c 2 ${Math.round(rate)}: ${(rate / celery).toFixed(1)}x (goal ${goal})`);
  }
}

async function benchAwaits(): Promise<void> {
  await using running = await start(worker("async", 1000));
  await warm();
  await send("bench.wait", Array.from({ length: 50 }, () => [1]));
  await results(51);
  await flush();
  const began = performance.now();
  await send("bench.wait", Array.from({ length: 1000 }, () => [100]));
  await results(1000);
  console.log(
    `\nawaits: 1,000 of 100 ms in ${((performance.now() - began) / 1000).toFixed(2)} s (goal under 1)`,
  );
  void running;
}

async function benchCpu(): Promise<void> {
  console.log("\ncpu: 100 tasks of 30 ms, two slots beside one, best of three (goal 1.9x)");
  const began = performance.now();
  burn(10_000_000);
  const rounds = Math.round(10_000_000 * 30 / (performance.now() - began));
  for (const pool of ["processes", "threads"]) {
    const seconds = [];
    for (const slots of [1, 2]) {
      await using _running = await start(worker(pool, slots));
      await warm(slots * 4);
      // Warm: the worker's machine code has been compiled.
      await flush();
      await send("bench.add", Array.from({ length: 1000 }, () => [1, 2]));
      await results(1000);
      const runs: number[] = [];
      for (let round = 0; round < 3; round++) {
        await flush();
        const began = performance.now();
        await send("bench.burn", Array.from({ length: 100 }, () => [rounds]));
        await results(100, 30);
        runs.push((performance.now() - began) / 1000);
      }
      seconds.push(Math.min(...runs));
    }
    const [one, two] = seconds as [number, number];
    console.log(`  ${pool}: ${one.toFixed(2)} s and ${two.toFixed(2)} s, ${(one / two).toFixed(2)}x`);
  }
}

async function benchMemory(): Promise<void> {
  console.log("\nmemory: MiB RSS per slot");
  for (const [pool, goal] of [["processes", 60], ["threads", 15]] as const) {
    const sums = [];
    for (const slots of [2, 8]) {
      await using running = await start(worker(pool, slots));
      await warm(slots * 8);
      sums.push(treeRss(running.pid));
    }
    const [two, eight] = sums as [number, number];
    console.log(`  ${pool}: ${((eight - two) / 6 / 2 ** 20).toFixed(1)} (goal under ${goal})`);
  }
}

/**
 * Runs short tasks one after the other, while another slot is replaced twice a second, and while none is.
 * They all run in the first slot: it is kept busy for a moment, so that the task that ends its slot goes to
 * another slot.
 */
async function benchReplace(): Promise<void> {
  console.log("\nreplace: median and 95th percentile of a trip, ms; trips each second");
  for (const pool of ["processes", "threads"]) {
    await using _running = await start(worker(pool, 4));
    await warm(32);
    for (const what of ["quiet", "a slot replaced twice a second", "quiet again"]) {
      const trips: number[] = [];
      const began = performance.now();
      let replaced = 0;
      while (performance.now() - began < 6000) {
        const sent = performance.now();
        if (what.startsWith("a slot") && sent - began > replaced * 500) {
          replaced++;
          const [first] = await app.sendMany([{ task: "bench.wait", args: [5] }, { task: "bench.leave" }]);
          await first!.get({ timeout: 30 });
          continue;
        }
        await (await app.sendTask("bench.add", { args: [1, 2] })).get({ timeout: 30 });
        trips.push(performance.now() - sent);
      }
      trips.sort((a, b) => a - b);
      const at = (part: number) => trips[Math.floor(trips.length * part)]!.toFixed(1);
      console.log(`  ${pool}, ${what}: ${at(0.5)}, ${at(0.95)}; ${Math.round(trips.length / 6)}`);
    }
  }
  console.log("\nrecycle: 100 tasks of 20 ms in two slots, seconds");
  for (const args of [[], ["--max-tasks-per-child", "50"], ["--max-tasks-per-child", "10"]]) {
    await using _running = await start([...worker("processes", 2), ...args]);
    await warm(8);
    await flush();
    const began = performance.now();
    await send("bench.wait", Array.from({ length: 100 }, () => [20]));
    await results(100);
    const seconds = (performance.now() - began) / 1000;
    console.log(`  ${args.length === 0 ? "no limit" : args.join(" ")}: ${seconds.toFixed(2)}`);
  }
}

/**
 * Fills the queue, starts the worker, and watches the results. Returns tasks/s from the first to the last.
 */
async function drain(argv: string[], n: number): Promise<number> {
  await flush();
  await send("bench.add", Array.from({ length: n }, () => [1, 2]));
  await using _running = await start(argv);
  let first = 0, firstCount = 0;
  for (;;) {
    const done = await finishedOf(n, call);
    const now = performance.now();
    if (first === 0 && done > 0) [first, firstCount] = [now, done];
    if (done >= n) return (done - firstCount) / (now - first) * 1000;
    if (now - (first || now) > 120_000) throw new Error(`${done} of ${n} after two minutes`);
    await new Promise((next) => setTimeout(next, 10));
  }
}

async function send(task: string, calls: unknown[][]): Promise<void> {
  for (let at = 0; at < calls.length; at += 1000) {
    await app.sendMany(calls.slice(at, at + 1000).map((args) => ({ task, args })));
  }
}

/** As bench.burn. */
function burn(rounds: number): number {
  let x = 1;
  for (let n = 0; n < rounds; n++) x = (x * 1103515245 + 12345) % 2147483648;
  return x;
}

/** Waits until every slot has run a task. */
async function warm(times = 1): Promise<void> {
  const all = await app.sendMany(Array.from({ length: times }, () => ({ task: "bench.wait", args: [50] })));
  for (const one of all) await one.get({ timeout: 60 });
}

/**
 * `taskMs` is the duration of a task. Checks less often while many are missing, since a check takes processor
 * time.
 */
async function results(n: number, taskMs = 0): Promise<void> {
  for (;;) {
    const left = n - await resultCount(call);
    if (left <= 0) return;
    await new Promise((next) => setTimeout(next, Math.max(5, Math.min(100, left * taskMs / 4))));
  }
}

async function flush(): Promise<void> {
  await call(
    "EVAL",
    "for _, k in ipairs(redis.call('KEYS', 'celery-task-meta-*')) do redis.call('DEL', k) end",
    "0",
  );
}

function worker(pool: string, slots: number): string[] {
  const app = ["-A", `${root}bench/tasks.ts`];
  return [...LOVAGE, ...app, "worker", "-P", pool, "-c", String(slots), "-l", "WARNING"];
}

function start(argv: string[]): Promise<Deno.ChildProcess> {
  const [program, ...args] = argv;
  return Promise.resolve(new Deno.Command(program!, { args, env, stdout: "null", stderr: "null" }).spawn());
}

/** Returns the resident bytes of a process and all its descendants. */
function treeRss(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  let sum = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(/\s+/).filter(
    Boolean,
  );
  for (const child of children) sum += treeRss(Number(child));
  return sum;
}

/** Sends a Redis command of texts and returns the number or text of the reply. */
async function call(...words: string[]): Promise<string> {
  const bytes = new TextEncoder().encode(
    `*${words.length}\r\n${
      words.map((word) => `$${new TextEncoder().encode(word).length}\r\n${word}\r\n`).join("")
    }`,
  );
  for (let at = 0; at < bytes.length;) at += await control.write(bytes.subarray(at));
  const buffer = new Uint8Array(4096);
  let text = "";
  while (!text.includes("\r\n")) {
    text += new TextDecoder().decode(buffer.subarray(0, (await control.read(buffer))!));
  }
  if (text.startsWith("-")) throw new Error(text);
  return text.slice(1, text.indexOf("\r\n"));
}
