/** The store in which beat keeps the states of entries over restarts. */

import { toJson } from "../wire/mod.ts";

/** The state of an entry's runs. */
export interface RunState {
  /**
   * The time that the next run is counted from, epoch milliseconds: the last run's, or when the entry was
   * first seen.
   */
  readonly lastMs: number;
  /** How often it was sent. */
  readonly count: number;
  /** Id of the last task sent; null: none. */
  readonly taskId: string | null;
  /** Due time of the run being sent, if the broker keeps no records; null: none. */
  readonly sendingMs: number | null;
}

/** A store. Every entry is a row of its own, so that a run writes one row. */
export interface ScheduleStore {
  /** Identifies this beat, over restarts; unique to the store. */
  readonly owner: string;
  /** The file, for the banner; null: none. */
  readonly path: string | null;
  /** Reads all states, by entry name. Rejects if the file cannot be read. */
  load(): Promise<Map<string, RunState>>;
  /**
   * Writes states; null deletes one. They are on disk when it resolves. Rejects with OperatingError; some may
   * have been written then.
   */
  save(states: ReadonlyMap<string, RunState | null>): Promise<void>;
  /** Closes the store; a second call has no effect. */
  close(): Promise<void>;
}

/** Encodes a state as one JSON text. */
export function encodeState(state: RunState): string {
  const { lastMs, count, taskId, sendingMs } = state;
  return toJson({
    last: lastMs,
    count,
    ...(taskId === null ? {} : { id: taskId }),
    ...(sendingMs === null ? {} : { sending: sendingMs }),
  });
}

/** Decodes a state; null if the text is not one. */
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
