/** Waits with a time limit. */

import type { Clock } from "./world.ts";

/**
 * Waits for `work`, at most `ms` milliseconds. Returns true if it ended in time. Rejects if `work` rejects in
 * time. Leaves no timer behind.
 */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
  const over = new AbortController();
  const late = clock.sleep(ms, over.signal).then(() => false, () => true);
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    over.abort();
  }
}
