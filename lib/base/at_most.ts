/** Waiting with a limit. */

import type { Clock } from "./world.ts";

/** Waits for some work, `ms` milliseconds at most: true where it ended in time. Rejects as it does; leaves no timer. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
  const over = new AbortController();
  const late = clock.sleep(ms, over.signal).then(() => false, () => true);
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    over.abort();
  }
}
