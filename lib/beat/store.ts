/** Where beat keeps what it has sent, over restarts. */

import { toJson } from "../wire/mod.ts";

/** What is known of an entry's runs. */
export interface RunState {
  /**
   * The time that the next run is counted from, epoch milliseconds: the last run's, or when the entry was
   * first seen.
   */
  readonly lastMs: number;
  /** How often it was sent. */
  readonly count: number;
  /** The last task sent; null: none. */
  readonly taskId: string | null;
  /** The run that is being sent, where the broker cannot keep a record of it; null: none. */
  readonly sendingMs: number | null;
}

/** A store. Everything is kept per entry, so that one send writes one row. */
export interface ScheduleStore {
  /** Names this beat among others, over restarts; unique to the store. */
  readonly owner: string;
  /** For the banner; null: nothing is kept. */
  readonly path: string | null;
  /** Everything kept, by entry name. */
  load(): Promise<Map<string, RunState>>;
  /**
   * Writes states, null deletes one. On disk when it resolves; rejects with OperatingError, and then wrote
   * some or none.
   */
  save(states: ReadonlyMap<string, RunState | null>): Promise<void>;
  close(): Promise<void>;
}

/** A state as it is kept: one JSON text. */
export function encodeState(state: RunState): string {
  const { lastMs, count, taskId, sendingMs } = state;
  return toJson({
    last: lastMs,
    count,
    ...(taskId === null ? {} : { id: taskId }),
    ...(sendingMs === null ? {} : { sending: sendingMs }),
  });
}

/** The state in a text; null where it is not one. */
export function decodeState(text: unknown): RunState | null {
  if (typeof text !== "string") return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { last, count, id, sending } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(last) || !Number.isSafeInteger(count)) return null;
  return {
    lastMs: last as number,
    count: count as number,
    taskId: typeof id === "string" ? id : null,
    sendingMs: Number.isSafeInteger(sending) ? sending as number : null,
  };
}
