/**
 * Which tasks will be sent when, and which beat sends them: for `beat next`, `beat list` and the console.
 * Sends and writes nothing.
 */

import type { App } from "../app/mod.ts";
import type { Ledger } from "../transport/mod.ts";
import { type Entry, fingerprint } from "./entry.ts";
import { beatNames } from "./leadership.ts";
import { Scheduler, usableState } from "./scheduler.ts";
import { decodeState } from "./store.ts";
import { KvStore } from "./store_kv.ts";

/** A future run. */
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
  /** When it ran last, from the schedule file or the broker; null: neither has a run. */
  readonly last: string | null;
  readonly lastId: string | null;
  readonly count: number;
}

/** What the beats of an App record in the broker. */
export interface BeatOnBroker {
  /**
   * The host of the beat that sends, or its owner id if the host is not recorded; null: no beat sends, or the
   * broker does not report it.
   */
  readonly leader: string | null;
  /** Records of runs, by entry key. */
  readonly records: ReadonlyMap<string, string>;
}

/**
 * Reads from the broker which beat sends for this App's schedule, and what was sent. `holderOf` asks
 * RabbitMQ's management API who holds an exclusive queue. Rejects as the broker's calls do.
 */
export async function readBeatOnBroker(
  app: App,
  entries: ReadonlyMap<string, Entry>,
  ledger: Ledger,
  holderOf?: (queue: string) => Promise<string | null>,
): Promise<BeatOnBroker> {
  const names = beatNames(app.name);
  const lease = names.lease(fingerprint(entries.values()));
  const queue = ledger.queueOf?.(lease);
  const owner = queue !== undefined ? await holderOf?.(queue) ?? null : await ledger.holder?.(lease) ?? null;
  // "OWNER HOST" of the beat that wrote last. The current holder may not have written yet.
  const written = owner === null ? "" : (await ledger.records(names.hosts)).get(lease) ?? "";
  return {
    leader: written.startsWith(`${owner} `) ? written.slice(`${owner} `.length) : owner,
    records: ledger.holder ? await ledger.records(names.records) : new Map(),
  };
}

/** Options of `previewBeat`. */
export interface PreviewOptions {
  /** Number of future runs, of all entries together; 0: none. */
  readonly count?: number;
  /** The broker's records; if not given, only the schedule file is used. */
  readonly beat?: BeatOnBroker;
}

/** A schedule at the time it was read. */
export interface BeatPreview {
  /** All entries, by name. */
  readonly entries: readonly ListedEntry[];
  /** The next `count` runs, soonest first; all missed runs of an entry count as one run now. */
  readonly runs: readonly UpcomingRun[];
}

/**
 * Returns the App's entries (from `readEntries`) with the states of the schedule file at `path`. Changes the
 * entries. Rejects if the file cannot be opened.
 */
export async function previewBeat(
  app: App,
  entries: Map<string, Entry>,
  path: string,
  { count = 0, beat }: PreviewOptions = {},
): Promise<BeatPreview> {
  const now = app.world.clock.wallMs();
  const scheduler = await read(app, entries, { path, beat, now });
  // Entries first, because the search for runs changes them.
  return { entries: listed(scheduler, now), runs: upcoming(scheduler, { count, now }) };
}

function listed({ entries }: Scheduler, now: number): ListedEntry[] {
  return [...entries.values()].map((entry) => ({
    name: entry.name,
    task: entry.task,
    schedule: entry.timing.repr,
    timezone: entry.zone.name,
    args: entry.args,
    kwargs: entry.kwargs,
    options: entry.options as Record<string, unknown>,
    next: entry.dueMs === Infinity ? null : entry.zone.format(Math.max(entry.dueMs, Math.floor(now))),
    last: entry.state.count === 0 ? null : entry.zone.format(entry.state.lastMs),
    lastId: entry.state.taskId,
    count: entry.state.count,
  })).sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

function upcoming(scheduler: Scheduler, { count, now }: { count: number; now: number }): UpcomingRun[] {
  const runs: UpcomingRun[] = [];
  while (runs.length < count && scheduler.nextMs < Infinity) {
    const [run] = scheduler.take(Math.max(now, scheduler.nextMs), 1);
    if (!run) break;
    const { entry, dueMs, after, skipped } = run;
    if (skipped === null) {
      const atMs = Math.max(dueMs, Math.floor(now));
      runs.push({ name: entry.name, task: entry.task, time: entry.zone.format(atMs) });
    }
    scheduler.settle(run, after);
  }
  return runs;
}

async function read(
  app: App,
  entries: Map<string, Entry>,
  { path, beat, now }: { path: string; beat: BeatOnBroker | undefined; now: number },
): Promise<Scheduler> {
  const scheduler = new Scheduler({ deadlineSeconds: app.conf.beat_cron_starting_deadline });
  const kept = await KvStore.peek(path);
  scheduler.replace(entries, (entry) => {
    const own = kept.get(entry.name) ?? null;
    const recorded = decodeState(beat?.records.get(entry.key));
    const state = recorded !== null && recorded.lastMs >= (own?.lastMs ?? 0) ? recorded : own;
    return state ? usableState(entry, state, now) : null;
  }, now);
  return scheduler;
}
