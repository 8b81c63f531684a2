/**
 * `deno run -A bench/beat.ts`: measures a beat with 10,000 entries, as a process on a private Redis.
 *
 *   start     from starting the process to its first sleep, ms; first with a new schedule file, then with a full one
 *   tick      the scheduler alone, ms; CPU of a whole turn with broker, disk and log, once a second, ms
 *   idle      CPU per second while one entry a second is sent, and its context switches
 *   memory    RSS after 20 s, MiB
 *
 * ENTRIES sets the number of entries. LOVAGE=dist/lovage benches the built file.
 */

import { crontab } from "../lib/app/mod.ts";
import { Entry } from "../lib/beat/entry.ts";
import { Scheduler } from "../lib/beat/scheduler.ts";
import { Zone } from "../lib/beat/zone.ts";
import { LOVAGE, Program } from "../tests/support/programs.ts";
import { startRedis } from "../tests/support/servers.ts";
import { filePath } from "../lib/base/mod.ts";

const root = filePath(new URL("..", import.meta.url));
const redis = await startRedis();
const folder = await Deno.makeTempDir();
const env = {
  BENCH_REDIS: redis.url(0),
  ENTRIES: Deno.env.get("ENTRIES") ?? "10000",
  NO_COLOR: "1",
};
const argv = [...LOVAGE, "-A", `${root}bench/beat_app.ts`, "beat", "-l", "INFO", "-s", `${folder}/s`];
const SECONDS = 20;

/** Returns the milliseconds that the scheduler takes for one due entry among all, over ten thousand turns. */
function tickMs(count: number): number {
  const scheduler = new Scheduler();
  const entries = new Map<string, Entry>();
  for (let n = 0; n < count; n++) {
    const schedule = n % 2 ? crontab({ minute: n % 60, hour: (n >> 3) % 24 }) : 3600 + n;
    entries.set(`entry-${n}`, new Entry(`entry-${n}`, { task: "t", schedule }, Zone.of("Europe/Prague")));
  }
  scheduler.replace(entries, () => null, Date.now());
  const began = performance.now();
  for (let n = 0; n < 10_000; n++) {
    const [slot] = scheduler.take(scheduler.nextMs, 1);
    scheduler.settle(slot!, slot!.after);
  }
  return (performance.now() - began) / 10_000;
}

/** Returns the exact CPU time of all threads of a process. */
function cpuMs(pid: number): number {
  let nanoseconds = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`).split(" ")[0]);
  }
  return nanoseconds / 1e6;
}

function statusOf(pid: number, name: string): number {
  return Number(
    new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1],
  );
}

/** Returns the milliseconds from starting to the first sleep, from the DEBUG log. */
async function startMs(): Promise<number> {
  const began = performance.now();
  const beat = new Program([...argv.map((word) => word === "INFO" ? "DEBUG" : word)], env);
  await beat.says(/beat: Waking up/, 60_000);
  const took = performance.now() - began;
  await beat.stop();
  return took;
}

async function emptyMs(): Promise<number> {
  const began = performance.now();
  await new Deno.Command(LOVAGE[0]!, { args: [...LOVAGE.slice(1), "--version"], stdout: "null" }).output();
  return performance.now() - began;
}

try {
  const bare = await emptyMs();
  const first = await startMs();
  const again = await startMs();
  const beat = new Program(argv, env);
  await beat.says(/Sending due task/, 60_000);
  const before = cpuMs(beat.pid);
  const switches = statusOf(beat.pid, "voluntary_ctxt_switches");
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  const cpu = cpuMs(beat.pid) - before;
  const woken = statusOf(beat.pid, "voluntary_ctxt_switches") - switches;
  const sent = beat.text.match(/Sending due task/g)!.length - 1;
  const rss = statusOf(beat.pid, "VmRSS") / 1024;
  await beat.stop();
  console.log(`entries  ${env.ENTRIES}`);
  console.log(
    `start    ${first.toFixed(0)} ms new, ${again.toFixed(0)} ms again (--version alone: ${
      bare.toFixed(0)
    } ms)`,
  );
  console.log(
    `tick     ${tickMs(Number(env.ENTRIES)).toFixed(4)} ms of the scheduler, ${
      (cpu / Math.max(1, sent)).toFixed(2)
    } ms of CPU a whole turn, over ${sent} turns`,
  );
  console.log(
    `idle     ${(cpu / SECONDS).toFixed(1)} ms of CPU/s, ${
      (woken / SECONDS).toFixed(1)
    } wakes/s of the main thread`,
  );
  console.log(`memory   ${rss.toFixed(0)} MiB`);
} finally {
  await redis.stop();
  await Deno.remove(folder, { recursive: true });
}
