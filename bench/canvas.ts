/**
 * Compares canvas with Celery's on one private Redis: a chord of 10,000 no-ops and a chain of 1,000 steps,
 * both sent before the worker starts, timed from the worker's ready line to the last result. The ratios
 * matter.
 *
 *   deno run -A bench/canvas.ts [chord] [chain]        CHORD=10000 CHAIN=1000 are the sizes
 */

import { App, chain, chord, type Signature } from "lovage";
import { LOVAGE } from "../tests/support/programs.ts";
import { startRedis } from "../tests/support/servers.ts";
import { filePath } from "../lib/base/mod.ts";

const root = filePath(new URL("..", import.meta.url));
const parts = new Set(Deno.args.length > 0 ? Deno.args : ["chord", "chain"]);
const sizes = {
  chord: Number(Deno.env.get("CHORD") ?? 10_000),
  chain: Number(Deno.env.get("CHAIN") ?? 1000),
};
const options = ["worker", "-P", "prefork", "-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle"];
const workers: Readonly<Record<string, string[]>> = {
  Lovage: [...LOVAGE, "-A", `${root}bench/tasks.ts`, ...options],
  Celery: ["/usr/bin/python3", "-m", "celery", "-A", "tasks", ...options],
};

await using redis = await startRedis();
for (const part of ["chord", "chain"] as const) {
  if (!parts.has(part)) continue;
  const rates: Record<string, number> = {};
  for (const [name, argv] of Object.entries(workers)) {
    const seconds = await measure(argv, (app) => part === "chord" ? manyInChord(app) : manyInChain(app));
    rates[name] = sizes[part] / seconds;
    console.log(`${part} of ${sizes[part]}, ${name}: ${seconds.toFixed(2)} s, ${rates[name].toFixed(0)}/s`);
  }
  console.log(`${part}: ${(rates["Lovage"]! / rates["Celery"]!).toFixed(1)} times Celery's rate`);
}

function manyInChord(app: App): Signature {
  const header = Array.from({ length: sizes.chord }, (_, n) => app.signature("bench.add", { args: [n, 0] }));
  return chord(header, app.signature("celery.accumulate", { kwargs: { index: 0 } }));
}

function manyInChain(app: App): Signature {
  const add = (args: number[]) => app.signature("bench.add", { args });
  return chain(Array.from({ length: sizes.chain }, (_, n) => add(n === 0 ? [0, 1] : [1])));
}

/** Returns the seconds from the worker's readiness to the canvas's result. */
async function measure(argv: string[], make: (app: App) => Signature): Promise<number> {
  await redis.cli("FLUSHALL");
  await using app = new App("bench", { broker_url: redis.url(0), result_backend: redis.url(0) });
  const result = await make(app).applyAsync();
  // To a file: this process would have to read a pipe, and so become part of the measurement.
  const log = await Deno.makeTempFile();
  const worker = new Deno.Command(argv[0]!, {
    args: [...argv.slice(1), "--logfile", log],
    env: { BENCH_REDIS: redis.url(0), PYTHONPATH: `${root}bench/peers`, C_FORCE_ROOT: "1", NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  while (!/ ready\./.test(await Deno.readTextFile(log))) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const began = performance.now();
  await result.get({ timeout: 300 });
  const seconds = (performance.now() - began) / 1000;
  worker.kill("SIGTERM");
  await worker.status;
  await Deno.remove(log);
  return seconds;
}
