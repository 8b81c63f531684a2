/** Sorted sets as Redis lists them with their scores. */

import type { Reply } from "../../wire/mod.ts";

/**
 * Reads members and scores, from epoch seconds to milliseconds. RESP3 gives pairs, RESP2 a flat list of
 * texts.
 */
export function scored(reply: Reply): { tag: string; scoreMs: number }[] {
  const rows: { tag: string; scoreMs: number }[] = [];
  const items = Array.isArray(reply) ? reply : [];
  if (Array.isArray(items[0])) {
    for (const pair of items as Reply[][]) {
      rows.push({ tag: String(pair[0]), scoreMs: Number(pair[1]) * 1000 });
    }
  } else {
    for (let i = 0; i + 1 < items.length; i += 2) {
      rows.push({ tag: String(items[i]), scoreMs: Number(items[i + 1]) * 1000 });
    }
  }
  return rows;
}
