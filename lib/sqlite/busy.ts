/**
 * Waits for a database that another process writes to. SQLite itself waits for a moment, which blocks this
 * isolate. After that the event loop goes on, and the statement is retried.
 */

import { type Clock, isRetryable } from "../base/mod.ts";

/** How long SQLite itself waits for another process's write, milliseconds. It blocks the event loop. */
export const BUSY_TIMEOUT_MS = 250;
/** How long opening is retried while another process creates the database, milliseconds. */
export const OPEN_WITHIN_MS = 5000;
/** The time between two attempts to open it, milliseconds. */
export const OPEN_AGAIN_MS = 10;
/** How long a write waits for other processes' writes before it fails, milliseconds. */
export const BUSY_MAX_MS = 10_000;
/** The time between two attempts of a write, milliseconds. */
export const BUSY_PAUSE_MS = 20;

/**
 * Runs `run`, and retries it for at most 10 s while another process is in its way. Rejects with the last
 * error of `run`, at once if it is not an OperatingError with `isRetryable`.
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
