/** What will be sent when, and who sends it: `beat next`, `beat list`, the console. Nothing is sent or written. */

import type { App } from "../app/mod.ts";
import type { Ledger } from "../transport/mod.ts";
import { type Entry, fingerprint } from "./entry.ts";
import { beatNames } from "./leadership.ts";
import { Scheduler, usableState } from "./scheduler.ts";
import { decodeState } from "./store.ts";
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
  /** When it ran last, as the schedule file or the broker knows; null: neither knows of a run. */
  readonly last: string | null;
  readonly lastId: string | null;
  readonly count: number;
}

/** What the beats of an App keep in the broker. */
export interface BeatOnBroker {
  /** The host of the beat that sends, or the name of its store; null: none does, or the broker does not tell. */
  readonly leader: string | null;
  /** What ran, by the keys of entries. */
  readonly records: ReadonlyMap<string, string>;
}

/**
 * Looks who sends for this App's schedule, and what was sent. `holderOf` asks RabbitMQ's management API who holds an
 * exclusive queue. Rejects as the broker's calls do.
 */
export async function lookAtBeat(
  app: App,
  entries: ReadonlyMap<string, Entry>,
  ledger: Ledger,
  holderOf?: (queue: string) => Promise<string | null>,
): Promise<BeatOnBroker> {
  const names = beatNames(app.name);
  const lease = names.lease(fingerprint(entries.values()));
  const queue = ledger.queueOf?.(lease);
  const owner = queue !== undefined ? await holderOf?.(queue) ?? null : await ledger.holder?.(lease) ?? null;
  // "OWNER HOST" of the one who took it last; who holds it may not have written yet.
  const written = owner === null ? "" : (await ledger.records(names.hosts)).get(lease) ?? "";
  return {
    leader: written.startsWith(`${owner} `) ? written.slice(`${owner} `.length) : owner,
    records: ledger.holder ? await ledger.records(names.records) : new Map(),
  };
}

/** What `previewBeat` looks for. */
export interface PreviewOptions {
  /** Runs to come, of all entries together; 0: none are looked for. */
  readonly count?: number;
  /** What the broker knows; absent: the schedule file alone is believed. */
  readonly beat?: BeatOnBroker;
}

/** A schedule, as it was when it was read. */
export interface BeatPreview {
  /** All entries, by name. */
  readonly entries: readonly ListedEntry[];
  /** The next `count` runs, soonest first; missed ones count as one run now. */
  readonly runs: readonly UpcomingRun[];
}

/** What the App's entries (`readEntries`) and the schedule file at `path` say. The entries are used up by it. */
export async function previewBeat(
  app: App,
  entries: Map<string, Entry>,
  path: string,
  { count = 0, beat }: PreviewOptions = {},
): Promise<BeatPreview> {
  const now = app.world.clock.wallMs();
  const scheduler = await read(app, entries, { path, beat, now });
  // Entries first: looking for runs moves them on.
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
