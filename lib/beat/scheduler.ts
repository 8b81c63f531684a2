/**
 * The scheduler: decides which entries are due, for which run, and how their states change. It has no clock
 * and sends nothing; the caller gives the time.
 *
 * Source: celery 5.2.6 beat.py Scheduler (merging, order); 5.6.3 schedules.py crontab.is_due (starting
 * deadline).
 */

import { assert, Heap } from "../base/mod.ts";
import type { Entry } from "./entry.ts";
import type { RunState } from "./store.ts";

/** If a run is later than this, entries with `catchUp: "none"` skip it. */
const LATE_MS = 30_000;
/** Missed runs of one entry that are sent one by one at most; of more only the latest is sent. */
const CATCH_UP_MAX = 1000;
/** If a last run lies further ahead than this, the clock was wrong. */
const AHEAD_MAX_MS = 24 * 3_600_000;

/** A run that is due. */
export interface DueRun {
  readonly entry: Entry;
  /** When it was due. */
  readonly dueMs: number;
  /** The entry's state after this run; the sender adds the task id. */
  readonly after: RunState;
  /** Why the run is not sent; null: it is sent. */
  readonly skipped: string | null;
}

/** The entries by due time. */
export class Scheduler {
  readonly #heap = new Heap<Entry>((a, b) => a.dueMs < b.dueMs);
  #entries = new Map<string, Entry>();
  #deadlineMs: number | null;

  /** `deadlineSeconds`: `beat_cron_starting_deadline`. */
  constructor(options: { deadlineSeconds: number | null } = { deadlineSeconds: null }) {
    this.#deadlineMs = options.deadlineSeconds === null ? null : options.deadlineSeconds * 1000;
  }

  /** All entries, by name. */
  get entries(): ReadonlyMap<string, Entry> {
    return this.#entries;
  }

  /**
   * Replaces all entries. Each takes the state that `stateOf` returns; null: it is new and counts from now.
   */
  replace(
    entries: Map<string, Entry>,
    stateOf: (entry: Entry) => RunState | null,
    nowMs: number,
  ): void {
    this.#entries = entries;
    const now = Math.floor(nowMs);
    for (const entry of entries.values()) {
      entry.state = stateOf(entry) ?? { lastMs: now, count: 0, taskId: null, sendingMs: null };
      entry.dueMs = dueAfter(entry);
    }
    this.#heap.fill(entries.values());
  }

  /** Computes all due times again, after states or the clock changed. */
  refresh(): void {
    for (const entry of this.#heap) entry.dueMs = dueAfter(entry);
    this.#heap.fill();
  }

  /** When the next entry is due; Infinity: never. */
  get nextMs(): number {
    return this.#heap.peek()?.dueMs ?? Infinity;
  }

  /**
   * Returns the runs due now, soonest first, at most `max`. Their entries are not scheduled until `settle` or
   * `putBack`.
   */
  take(nowMs: number, max: number): DueRun[] {
    const runs: DueRun[] = [];
    while (runs.length < max && this.nextMs <= nowMs) runs.push(this.#run(this.#heap.pop(), nowMs));
    return runs;
  }

  /** Ends a run: its entry takes the state and is scheduled for its next run. */
  settle(run: DueRun, state: RunState): void {
    run.entry.state = state;
    this.putBack(run.entry);
  }

  /** Schedules an entry by its present state. */
  putBack(entry: Entry): void {
    assert(this.#entries.get(entry.name) === entry, "an entry put back is one of the schedule");
    entry.dueMs = dueAfter(entry);
    this.#heap.push(entry);
  }

  /**
   * Adjusts to a wall clock that was set by `byMs`. If it was set back, intervals continue as lengths of
   * time; crontabs and solar events follow the wall clock and do not fire twice.
   */
  clockWasSet(byMs: number): void {
    if (byMs >= 0) return;
    for (const entry of this.#entries.values()) {
      if (entry.timing.kind !== "interval") continue;
      entry.state = { ...entry.state, lastMs: Math.floor(entry.state.lastMs + byMs) };
    }
    this.refresh();
  }

  #run(entry: Entry, nowMs: number): DueRun {
    const { timing, state, catchUp } = entry;
    const first = entry.dueMs;
    const now = Math.floor(nowMs);
    const made = (dueMs: number, lastMs: number, skipped: string | null = null): DueRun => ({
      entry,
      dueMs,
      skipped,
      after: {
        lastMs,
        count: state.count + (skipped === null ? 1 : 0),
        taskId: state.taskId,
        sendingMs: null,
      },
    });
    const isLate = dueFrom(entry, first) <= nowMs;
    if (!isLate) entry.isCatchingUp = false;
    if (catchUp === "all" && isLate && this.#mayCatchUp(entry, now)) return made(first, first);
    const latest = isLate ? Math.max(first, timing.latest(state.lastMs, now)) : first;
    const lastMs = isLate ? Math.max(timing.resume(latest, now), latest) : first;
    const lateMs = now - latest;
    if (timing.kind === "crontab" && this.#deadlineMs !== null && lateMs > this.#deadlineMs) {
      return made(latest, latest, `it is ${(lateMs / 1000).toFixed(0)} s late`);
    }
    if (catchUp === "none" && lateMs > LATE_MS) {
      return made(latest, latest, `it was missed ${(lateMs / 1000).toFixed(0)} s ago`);
    }
    return made(latest, lastMs);
  }

  /** Whether the missed runs are few enough to be sent one by one; decided at the first of them. */
  #mayCatchUp(entry: Entry, nowMs: number): boolean {
    if (entry.isCatchingUp) return true;
    let at: number | null = entry.dueMs;
    for (let n = 0; n < CATCH_UP_MAX && at !== null && at <= nowMs; n++) at = entry.timing.next(at);
    return entry.isCatchingUp = at === null || at > nowMs;
  }
}

/**
 * Returns a stored state as it can be used now. If its last run is far ahead of the clock (for an interval, a
 * minute), the clock was wrong then, and the entry counts from now.
 */
export function usableState(entry: Entry, state: RunState, nowMs: number): RunState {
  const aheadMs = entry.timing.kind === "interval" ? 60_000 : AHEAD_MAX_MS;
  return state.lastMs > nowMs + aheadMs ? { ...state, lastMs: Math.floor(nowMs) } : state;
}

function dueAfter(entry: Entry): number {
  return dueFrom(entry, entry.state.lastMs);
}

function dueFrom(entry: Entry, lastMs: number): number {
  return entry.timing.next(lastMs) ?? Infinity;
}
