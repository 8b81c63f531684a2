/**
 * Frozen signatures' results: their ids, known before anything is sent.
 *
 * Source: celery 5.2.6 canvas.py freeze, result.py as_tuple; protocol.md 4.4.
 */

import type { ResultTuple } from "../wire/mod.ts";

/** The result of a frozen signature. `members`: those of a group; null for a task. */
export interface Frozen {
  readonly id: string;
  parent: Frozen | null;
  readonly members: Frozen[] | null;
}

/** Returns the result of a frozen task. */
export function frozenTask(id: string): Frozen {
  return { id, parent: null, members: null };
}

/** Returns the result tuple that Celery would write for a frozen result. */
export function frozenTuple(frozen: Frozen): ResultTuple {
  return [
    [frozen.id, frozen.parent === null ? null : frozenTuple(frozen.parent)],
    frozen.members === null ? null : frozen.members.map(frozenTuple),
  ];
}

/** Returns the first result in a chain of parents. */
export function firstFrozen(frozen: Frozen): Frozen {
  let node = frozen;
  const seen = new Set<Frozen>();
  while (node.parent !== null && !seen.has(node)) {
    seen.add(node);
    node = node.parent;
  }
  return node;
}
