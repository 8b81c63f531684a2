/** What will be sent when: `beat next` and `beat list`. Nothing is sent, connected or written. */

import type { App } from "../app/mod.ts";
import { readEntries } from "./entry.ts";
import { Scheduler, usableState } from "./scheduler.ts";
import { KvStore } from "./store_kv.ts";

/** A run to come. */
export interface UpcomingRun {
  readonly name: string;
  readonly task: string;
  /** ISO 8601 in the entry's zone, with offset. */
  readonly time: string;
}

/** An entry as `beat list` shows it. Times as in `UpcomingRun`; null: never. */
export interface ListedEntry {
  readonly name: string;
  readonly task: string;
  readonly schedule: string;
  readonly timezone: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly next: string | null;
  /** When it ran last, as the schedule file knows; null: it has not, or there is no file. */
  readonly last: string | null;
  readonly count: number;
}

/** The next `count` runs, soonest first; missed ones count as one run now. */
export async function nextRuns(app: App, path: string, count: number): Promise<UpcomingRun[]> {
  const scheduler = await read(app, path);
  const now = app.world.clock.wallMs();
  const runs: UpcomingRun[] = [];
  while (runs.length < count && scheduler.nextMs < Infinity) {
    const [slot] = scheduler.take(Math.max(now, scheduler.nextMs), 1);
    if (!slot) break;
    const { entry, slotMs, after, skipped } = slot;
    if (skipped === null) {
      const atMs = Math.max(slotMs, Math.floor(now));
      runs.push({ name: entry.name, task: entry.task, time: entry.zone.format(atMs) });
    }
    scheduler.settle(slot, after);
  }
  return runs;
}

/** All entries, by name. */
export async function listEntries(app: App, path: string): Promise<ListedEntry[]> {
  const { entries } = await read(app, path);
  return [...entries.values()].map((entry) => ({
    name: entry.name,
    task: entry.task,
    schedule: entry.timing.repr,
    timezone: entry.zone.name,
    args: entry.args,
    kwargs: entry.kwargs,
    options: entry.options as Record<string, unknown>,
    next: entry.dueMs === Infinity
      ? null
      : entry.zone.format(Math.max(entry.dueMs, Math.floor(app.world.clock.wallMs()))),
    last: entry.state.count === 0 ? null : entry.zone.format(entry.state.lastMs),
    count: entry.state.count,
  })).sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

async function read(app: App, path: string): Promise<Scheduler> {
  const scheduler = new Scheduler({ deadlineSeconds: app.conf.beat_cron_starting_deadline });
  const entries = await readEntries(app);
  const kept = await KvStore.peek(path);
  const now = app.world.clock.wallMs();
  scheduler.replace(entries, (entry) => {
    const state = kept.get(entry.name);
    return state ? usableState(entry, state, now) : null;
  }, now);
  return scheduler;
}
