/**
 * `make bench-compare`: compares Lovage's costs with those when bench/baseline.json was written.
 *
 * Costs are ratios: processor time (user and system, children included) over that of a yardstick that runs in turn with
 * the rest, so that the machine's speed and other load hardly matter. The minimum of several rounds counts.
 *
 *   solo       10,000 no-ops with results, by a solo worker
 *   processes  the same, by -P processes -c 2
 *   send       20,000 calls published in bulk
 *   start      a solo worker that finds nothing to do
 *   help       `lovage --help`
 *
 * Exits with 1 if a ratio is more than 10 % above the baseline of this machine. On another machine it only
 * compares: `deno run -A bench/compare.ts --write` makes a baseline there. Takes about two minutes.
 */

import { filePath } from "../lib/base/mod.ts";
import { LOVAGE } from "../tests/support/programs.ts";
import { startRedis } from "../tests/support/servers.ts";
import { BenchRedis } from "./bench_redis.ts";

/** How far a ratio may rise. */
const LIMIT = 1.1;
const ROUNDS = 3;

/** The ratios of one machine. */
interface Baseline {
  readonly machine: string;
  readonly deno: string;
  readonly ratios: Readonly<Record<string, number>>;
}

const root = filePath(new URL("..", import.meta.url));
const file = `${root}bench/baseline.json`;
const redis = await startRedis();
const control = await BenchRedis.connect(redis.port);
const env = { BENCH_REDIS: redis.url(0), C_FORCE_ROOT: "1", NO_COLOR: "1", LC_ALL: "C" };

const deno = [Deno.execPath(), "run", "-A", "--quiet", "--no-check", "--config", `${root}deno.json`];
const worker = (pool: string, slots: number) => [
  ...[...LOVAGE, "-A", `${root}bench/tasks.ts`, "worker", "-P", pool, "-c", String(slots)],
  ...["-l", "WARNING", "-n", `${pool}@bench`, "--burst"],
];
const CONTENDERS: Readonly<Record<string, { readonly argv: readonly string[]; readonly tasks?: number }>> = {
  yardstick: { argv: [...deno, `${root}bench/yardstick.ts`] },
  solo: { argv: worker("solo", 1), tasks: 10_000 },
  processes: { argv: worker("processes", 2), tasks: 10_000 },
  send: { argv: [...deno, `${root}bench/client.ts`, "send", "20000"] },
  start: { argv: worker("solo", 1) },
  help: { argv: [...LOVAGE, "--help"] },
};

const machine = await thisMachine();
try {
  Deno.exitCode = await compare(await measured());
} finally {
  control.close();
  await redis.stop();
}

/**
 * Returns the minimum processor time of each contender over that of the yardstick. The first round warms
 * caches.
 */
async function measured(): Promise<Record<string, number>> {
  const least: Record<string, number> = {};
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, { argv, tasks }] of Object.entries(CONTENDERS)) {
      await control.call("FLUSHALL");
      if (tasks !== undefined) await control.fill(tasks);
      const seconds = await cpuSecondsOf(argv);
      if (tasks !== undefined && Number(await control.call("LLEN", "celery")) > 0) {
        throw new Error(`${name} left tasks in the queue`);
      }
      if (round > 0) least[name] = Math.min(least[name] ?? Infinity, seconds);
    }
  }
  const { yardstick, ...rest } = least;
  console.log(`yardstick: ${yardstick!.toFixed(2)} s of processor time`);
  return Object.fromEntries(Object.entries(rest).map(([name, seconds]) => [name, seconds / yardstick!]));
}

/** Prints the ratios next to the baseline, or writes the baseline. Returns the exit status. */
async function compare(ratios: Record<string, number>): Promise<number> {
  if (Deno.args.includes("--write")) {
    const rounded = Object.entries(ratios).map(([name, ratio]) => [name, Number(ratio.toFixed(3))]);
    const baseline = { machine, deno: Deno.version.deno, ratios: Object.fromEntries(rounded) };
    await Deno.writeTextFile(file, `${JSON.stringify(baseline, null, 2)}\n`);
    console.log(`Wrote ${file}`);
    return 0;
  }
  const before = JSON.parse(await Deno.readTextFile(file)) as Baseline;
  const isSame = before.machine === machine;
  let isWorse = false;
  for (const [name, ratio] of Object.entries(ratios)) {
    const change = ratio / (before.ratios[name] ?? NaN);
    const isOver = change > LIMIT;
    isWorse ||= isOver;
    const figures = `${ratio.toFixed(3).padStart(8)}${(before.ratios[name] ?? NaN).toFixed(3).padStart(8)}`;
    console.log(
      `  ${name.padEnd(10)}${figures}  ${(change * 100).toFixed(0).padStart(4)} %${
        isOver ? "  over 110 %" : ""
      }`,
    );
  }
  if (isSame) return isWorse ? 1 : 0;
  console.log(
    `The baseline was made on another machine (${before.machine}; this one: ${machine}), so nothing is judged`,
  );
  return 0;
}

/** Returns the user and system time of a command and its children. Throws if it fails. */
async function cpuSecondsOf(argv: readonly string[]): Promise<number> {
  const script = '"$@" >/dev/null || exit; times';
  const { success, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", script, "bash", ...argv],
    cwd: `${root}bench/peers`,
    env,
  }).output();
  const text = new TextDecoder().decode(stdout);
  const times = [...text.trim().split("\n").at(-1)!.matchAll(/(\d+)m([\d.]+)s/g)];
  if (!success || times.length !== 2) {
    throw new Error(`${argv.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
  return times.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}

async function thisMachine(): Promise<string> {
  const info = await Deno.readTextFile("/proc/cpuinfo");
  const model = /^model name\s*:\s*(.*)$/m.exec(info)?.[1] ?? Deno.build.arch;
  return `${model}, ${navigator.hardwareConcurrency} processors`;
}
