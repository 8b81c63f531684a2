/** The periodic entries of the console's module, with their runs as seen in events. */

import { OperatingError, textOrNull } from "../../base/mod.ts";
import type { BeatOnBroker, Entry } from "../../beat/mod.ts";
import { argsRepr, kwargsRepr } from "../../wire/mod.ts";
import { phrase } from "../history/search.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";

const RUNS = 5;
/** Future runs computed over all entries, so that frequent entries leave room for the others. */
const RUNS_MAX = 400;
/** Tasks searched for the last run of an entry. */
const LOOKED_AT = 50;
const NO_MODULE = "Only beat knows its entries: start the console with -A and the module that has them.";
const NO_ENTRIES = "The module has no periodic tasks: define them with beat_schedule or addPeriodicTask.";

const NOT_TOLD =
  "RabbitMQ does not report which beat leads, but its management API does: start the console with --broker-api.";
const NOBODY = "No beat leads at the moment. Celery's own beat is not visible here.";

/** Lists the entries. */
export async function listPeriodic(cluster: Cluster, hasModule: boolean): Promise<Shape<"Periodic">> {
  const { app, history } = cluster;
  if (!hasModule) return { leader: null, rows: [], why: NO_MODULE, whyNoLeader: null };
  const path = app.conf.beat_schedule_filename;
  // Loaded at first use, so that the console starts without it.
  const { previewBeat, readEntries } = await import("../../beat/mod.ts");
  const read = await readEntries(app);
  const beat = await onBroker(cluster, read);
  const { entries, runs } = await previewBeat(app, read, path, {
    count: RUNS_MAX,
    ...(beat === undefined ? {} : { beat }),
  });
  const rows = entries.map((entry): Shape<"PeriodicRow"> => {
    const { name, task, options } = entry;
    const [args, kwargs] = [argsRepr(entry.args), kwargsRepr(entry.kwargs)];
    const known = entry.lastId === null ? null : history.task(entry.lastId);
    // Runs of Celery's beat are known only from events: the newest task with this name and these arguments.
    const newest = known ??
      history.tasks.rows(
        history.newest(history.compile(`name:${phrase(`=${task}`)}`), LOOKED_AT),
      ).find(({ state }) => state.args === args && state.kwargs === kwargs);
    const last = secondsOf(entry.last);
    const soon = runs.filter((run) => run.name === name).slice(0, RUNS).map(({ time }) => secondsOf(time));
    const next = secondsOf(entry.next);
    return {
      name,
      task,
      schedule: entry.schedule,
      inWords: inWords(entry.schedule),
      args,
      kwargs,
      queue: textOrNull(options["queue"]),
      timezone: entry.timezone,
      isEnabled: entry.next !== null,
      lastRun: newest?.state.sent ?? newest?.state.received ?? last,
      lastId: newest?.id ?? null,
      lastState: newest?.state.state ?? null,
      totalRuns: entry.count === 0 ? null : entry.count,
      // A rare entry may not be among the computed runs.
      next: soon.length > 0 || next === null ? soon : [next],
    };
  });
  const leader = beat?.leader ?? null;
  return {
    leader,
    rows,
    why: rows.length === 0 ? NO_ENTRIES : null,
    whyNoLeader: leader !== null || beat === undefined ? null : beat.isTold ? NOBODY : NOT_TOLD,
  };
}

/** Converts ISO 8601, with or without a zone name, to seconds. */
function secondsOf(time: string): number;
function secondsOf(time: string | null): number | null;
function secondsOf(time: string | null): number | null {
  return time === null ? null : Date.parse(time.replace(/\[.*\]$/, "")) / 1000;
}

/** Returns the state that beats keep in the broker; undefined if the broker is away or cannot keep it. */
async function onBroker(
  cluster: Cluster,
  entries: ReadonlyMap<string, Entry>,
): Promise<(BeatOnBroker & { isTold: boolean }) | undefined> {
  try {
    const { ledger } = await cluster.connection();
    if (ledger === undefined) return undefined;
    const { readBeatOnBroker } = await import("../../beat/mod.ts");
    const { management } = cluster;
    const beat = await readBeatOnBroker(
      cluster.app,
      entries,
      ledger,
      async (queue) => await management?.holderOf(queue) ?? null,
    );
    return { ...beat, isTold: ledger.queueOf === undefined || management !== null };
  } catch (error) {
    // The page then shows only the module's entries.
    if (error instanceof OperatingError) return undefined;
    throw error;
  }
}

/**
 * "every day at 04:00" for `<crontab: 0 4 * * * (m/h/dM/MY/d)>`; schedules without short words stay as they
 * are.
 */
function inWords(schedule: string): string {
  const every = /^<freq: (.+)>$/.exec(schedule);
  if (every !== null) return `every ${every[1]!.replace(/\.00 /, " ")}`;
  const cron = /^<crontab: (\S+) (\S+) (\S+) (\S+) (\S+)/.exec(schedule);
  if (cron === null) return schedule;
  const [, minute, hour, day, month, weekday] = cron;
  const isDaily = day === "*" && month === "*" && weekday === "*";
  const two = (text: string) => text.padStart(2, "0");
  if (isDaily && minute === "*" && hour === "*") return "every minute";
  if (isDaily && hour === "*" && /^\*\/\d+$/.test(minute!)) return `every ${minute!.slice(2)} minutes`;
  if (isDaily && hour === "*" && /^\d+$/.test(minute!)) return `every hour at minute ${minute}`;
  if (isDaily && /^\d+$/.test(minute!) && /^\d+$/.test(hour!)) {
    return `every day at ${two(hour!)}:${two(minute!)}`;
  }
  return `${minute} ${hour} ${day} ${month} ${weekday}`;
}
