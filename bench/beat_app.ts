/**
 * The schedule that bench/beat.ts loads: ENTRIES entries, half of them crontabs over five zones; one fires
 * each second.
 */

import { App, crontab } from "lovage";

/** The app. */
export const app = new App("bench", { broker_url: Deno.env.get("BENCH_REDIS")! });

const zones = ["UTC", "Europe/Prague", "America/New_York", "Asia/Kolkata", "Australia/Sydney"];
app.conf.beat_schedule = Object.fromEntries(
  Array.from({ length: Number(Deno.env.get("ENTRIES") ?? 10_000) }, (_, n) => [
    `entry-${n}`,
    n % 2
      ? {
        task: "bench.noop",
        schedule: crontab({ minute: n % 60, hour: (n >> 3) % 24, dayOfWeek: n % 3 ? "*" : "mon-fri" }),
        timezone: zones[n % zones.length]!,
        args: [n],
      }
      : { task: "bench.noop", schedule: n === 0 ? 1 : 3600 + n, args: [n] },
  ]),
);
