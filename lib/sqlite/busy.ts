/**
 * How long a database that another process writes to is waited for. SQLite itself waits for a moment, during which
 * this isolate stands still; then the loop runs on, and the statement is tried again.
 */

import { type Clock, isRetryable } from "../base/mod.ts";

/** How long SQLite itself waits for another process's write, milliseconds. The loop stands still meanwhile. */
export const BUSY_TIMEOUT_MS = 250;
/** How long a database is tried that another process is making, milliseconds. */
export const OPEN_WITHIN_MS = 5000;
/** The time between two such tries, milliseconds. */
export const OPEN_AGAIN_MS = 10;
/** How long a write waits for other processes' writes before it fails, milliseconds. */
export const BUSY_MAX_MS = 10_000;
/** The time between two tries of a write, milliseconds. */
export const BUSY_PAUSE_MS = 20;

/**
 * Runs `run` until no other process is in its way, for at most 10 s. Rejects with what `run` threw last, at once if it
 * is not an OperatingError with `isRetryable`.
 */
export async function whenFree<T>(clock: Clock, run: () => T): Promise<T> {
  for (const endMs = clock.monoMs() + BUSY_MAX_MS;;) {
    try {
      return run();
    } catch (error) {
      const isBusy = isRetryable(error);
      if (!isBusy || clock.monoMs() >= endMs) throw error;
    }
    await clock.sleep(BUSY_PAUSE_MS);
  }
}
