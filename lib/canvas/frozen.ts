/**
 * What freezing a signature gives: the ids its results will have, before anything is sent.
 *
 * Source: celery 5.2.6 canvas.py freeze, result.py as_tuple; protocol.md 4.4.
 */

import type { ResultTuple } from "../wire/mod.ts";

/** A result to come. `members` is null for a task, the members for a group. */
export interface Frozen {
  readonly id: string;
  parent: Frozen | null;
  readonly members: Frozen[] | null;
}

/** A task's result to come. */
export function frozenTask(id: string): Frozen {
  return { id, parent: null, members: null };
}

/** The result tuple that Celery would write for it. */
export function frozenTuple(frozen: Frozen): ResultTuple {
  return [
    [frozen.id, frozen.parent === null ? null : frozenTuple(frozen.parent)],
    frozen.members === null ? null : frozen.members.map(frozenTuple),
  ];
}

/** The first result of a line of parents. */
export function firstFrozen(frozen: Frozen): Frozen {
  let node = frozen;
  const seen = new Set<Frozen>();
  while (node.parent !== null && !seen.has(node)) {
    seen.add(node);
    node = node.parent;
  }
  return node;
}
