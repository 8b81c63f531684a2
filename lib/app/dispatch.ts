/**
 * What a finished task sends: its callbacks, the next step of its chain, its errbacks.
 *
 * Source: celery 5.2.6 app/trace.py trace_task, backends/base.py _call_task_errbacks; protocol.md 8.2, 8.7.
 */

import { Group, Signature, toSignature } from "../canvas/mod.ts";
import type { TaskEmbed, WireSignature } from "../wire/mod.ts";
import type { App } from "./app.ts";
import { applySignature, canvasSender } from "./canvas_send.ts";

/** Who sends: ids of the task that is done. */
export interface Done {
  readonly id: string;
  readonly rootId: string;
  /** With `task_inherit_parent_priority` the priority of its message, else null. */
  readonly priority: number | null;
}

/** Sends callbacks and the next step of the chain with the result; they are its children. */
export async function sendNext(app: App, done: Done, embed: TaskEmbed, result: unknown): Promise<void> {
  const options = { parentId: done.id, rootId: done.rootId, priority: done.priority };
  const sender = canvasSender(app);
  const callbacks = embed.callbacks ?? [];
  if (callbacks.length === 1) {
    await applySignature(app, toSignature(callbacks[0]!, sender), [result], {}, options);
  } else if (callbacks.length > 1) {
    const all = callbacks.map((one) => toSignature(one, sender));
    const single: Signature[] = [];
    for (const one of all) {
      if (one instanceof Group) await applySignature(app, one, [result], {}, options);
      else single.push(one);
    }
    if (single.length > 0) await applySignature(app, new Group(single, null, sender), [result], {}, options);
  }
  const { chain } = embed;
  if (chain && chain.length > 0) {
    const next = toSignature(chain.at(-1)!, sender);
    const rest = chain.slice(0, -1).map((one) => toSignature(one, sender));
    await applySignature(app, next, [result], {}, {
      ...options,
      ...(rest.length > 0 ? { chain: rest } : {}),
    });
  }
}

/** Sends errbacks as one group, each with the id of the failed task. */
export async function sendErrbacks(app: App, done: Done, errbacks: readonly WireSignature[]): Promise<void> {
  if (errbacks.length === 0) return;
  const sender = canvasSender(app);
  const group = new Group(errbacks.map((one) => toSignature(one, sender)), null, sender);
  await applySignature(app, group, [done.id], {}, { parentId: done.id, rootId: done.rootId });
}
