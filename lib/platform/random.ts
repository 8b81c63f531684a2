/** Real random values, from the runtime's cryptographic source. */

import type { Random } from "../base/mod.ts";

const POOL_WORDS = 1024;

/**
 * Returns a Random on `crypto`. Words are drawn in pools, because one call costs as much as a thousand words.
 */
export function realRandom(): Random {
  const pool = new Uint32Array(POOL_WORDS);
  let next = POOL_WORDS;
  const u32 = () => {
    if (next === POOL_WORDS) {
      crypto.getRandomValues(pool);
      next = 0;
    }
    return pool[next++]!;
  };
  return { u32, fraction: () => u32() / 2 ** 32, id: () => crypto.randomUUID() };
}
