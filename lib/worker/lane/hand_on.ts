/**
 * Handing on: what the end of a task sends, such as the next step of its chain, goes straight into the hands of the
 * worker that ran it, instead of through the broker's queue and back. A chain of 1,000 steps took 9.3 s with it and
 * 13.5 s without (medians of nine runs in turns on two busy cores).
 *
 *     app/run (the task's function has returned) ─► CurrentTask.isIdle
 *     app/send, pool (publishing one message)    ─► PublishOptions.handOn
 *     app/broker/publisher_broker.ts             ─► App.handOn, set by this room to `handOn` below
 *     transport Consumer.handOn                  ─► transport/redis/hand_on.ts records it; it comes by `onDeliveries`
 *
 * Each may say no, and then the message is published. Only Redis can do it; docs/decisions/003-hand-on.md says why it
 * is safe.
 */

import type { OutgoingMessage } from "../../transport/mod.ts";
import type { LaneParts } from "./parts.ts";
import type { Lane } from "./lane.ts";

/** Takes a message in hand if a slot is about to be free for it and nothing waits; null: publish it. */
export function handOn(
  { lane, state, strategies }: LaneParts & { readonly lane: Lane },
  out: OutgoingMessage,
): Promise<void> | null {
  if (!lane.hasSlotForNext) return null;
  const strategy = strategies.get(String(out.message.headers["task"]));
  return state.consumer?.handOn?.(out, strategy?.acksLate === false) ?? null;
}
