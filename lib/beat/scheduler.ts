/**
 * The scheduler: which entries are due, for which run, and what that makes of them. It has no clock and
 * sends nothing; every call says what time it is.
 *
 * Source: celery 5.2.6 beat.py Scheduler (merging, order); 5.6.3 schedules.py crontab.is_due (starting
 * deadline).
 */

import { assert, Heap } from "../base/mod.ts";
import type { Entry } from "./entry.ts";
import type { RunState } from "./store.ts";

/** A run later than this is one that was missed, for entries that do not catch up. */
const LATE_MS = 30_000;
/** How many missed runs of one entry are sent one by one; of more only the latest is. */
const CATCH_UP_MAX = 1000;
/** A last run that lies further ahead than this is of a clock that was wrong. */
const AHEAD_MAX_MS = 24 * 3_600_000;

/** A run that is due. */
export interface DueRun {
  readonly entry: Entry;
  /** When it was due. */
  readonly slotMs: number;
  /** What the entry's state becomes with it; the task's id is added by who sends it. */
  readonly after: RunState;
  /** Why it is not sent; null: it is. */
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
   * Takes the place of what was there: entries keep the state that `stateOf` gives, new ones count from now.
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

  /** Reads every entry's state anew: they changed outside, or the clock did. */
  refresh(): void {
    for (const entry of this.#heap) entry.dueMs = dueAfter(entry);
    this.#heap.fill();
  }

  /** When the next entry is due; Infinity: none ever. */
  get nextMs(): number {
    return this.#heap.peek()?.dueMs ?? Infinity;
  }

  /**
   * The runs due now, soonest first, at most `max`. Their entries are out of the order until `settle` or
   * `putBack`.
   */
  take(nowMs: number, max: number): DueRun[] {
    const slots: DueRun[] = [];
    while (slots.length < max && this.nextMs <= nowMs) slots.push(this.#slot(this.#heap.pop(), nowMs));
    return slots;
  }

  /** A run is done with: its entry takes the state and stands in line for its next. */
  settle(slot: DueRun, state: RunState): void {
    slot.entry.state = state;
    this.putBack(slot.entry);
  }

  /** An entry stands in line by its state as it is. */
  putBack(entry: Entry): void {
    assert(this.#entries.get(entry.name) === entry, "an entry put back is one of the schedule");
    entry.dueMs = dueAfter(entry);
    this.#heap.push(entry);
  }

  /**
   * The wall clock was set by `byMs`. Intervals are lengths of time and go on in it, where it went back;
   * crontabs and the sun are of the wall clock itself and do not come twice.
   */
  clockWasSet(byMs: number): void {
    if (byMs >= 0) return;
    for (const entry of this.#entries.values()) {
      if (entry.timing.kind !== "interval") continue;
      entry.state = { ...entry.state, lastMs: Math.floor(entry.state.lastMs + byMs) };
    }
    this.refresh();
  }

  #slot(entry: Entry, nowMs: number): DueRun {
    const { timing, state, catchUp } = entry;
    const first = entry.dueMs;
    const now = Math.floor(nowMs);
    const made = (slotMs: number, lastMs: number, skipped: string | null = null): DueRun => ({
      entry,
      slotMs,
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

  /** Whether the runs missed are few enough to be sent one by one; looked at when the first of them is. */
  #mayCatchUp(entry: Entry, nowMs: number): boolean {
    if (entry.isCatchingUp) return true;
    let at: number | null = entry.dueMs;
    for (let n = 0; n < CATCH_UP_MAX && at !== null && at <= nowMs; n++) at = entry.timing.next(at);
    return entry.isCatchingUp = at === null || at > nowMs;
  }
}

/**
 * A kept state as it can be used now. A last run far ahead of the clock, for an interval a minute, is of a
 * clock that was wrong: the entry counts from now.
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
