/** Chord counters, one member at a time. */

import type { Backend, ChordMember, ChordPart } from "../../lib/backend/mod.ts";

/** Counts one finished member. Returns all members if it completed its header, else null. */
export async function countChordPart(
  backend: Pick<Backend, "countChordParts">,
  part: ChordPart,
): Promise<ChordMember[] | null> {
  const [header] = await backend.countChordParts([part]);
  return header === undefined ? null : await header.members();
}
