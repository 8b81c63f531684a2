/**
 * Hand-on: a message that the end of a task sends, such as the next step of its chain, goes straight to the
 * worker that ran the task, without a trip through the broker's queue. A chain of 1,000 steps took 9.3 s with
 * it and 13.5 s without (medians of nine runs in turns on two busy cores).
 *
 *     app/run (the task's function has returned) ─► CurrentTask.isIdle
 *     app/send, pool (publishing one message)    ─► PublishOptions.handOn
 *     app/broker/publisher_broker.ts             ─► App.handOn, set by this room to `handOn` below
 *     transport Consumer.handOn                  ─► transport/redis/hand_on.ts records it; it comes by `onDeliveries`
 *
 * Each may refuse, and then the message is published. Only the Redis transport supports it;
 * docs/decisions/003-hand-on.md says why it is safe.
 */

import type { OutgoingMessage } from "../../transport/mod.ts";
import type { LaneParts } from "./parts.ts";
import type { Lane } from "./lane.ts";

/**
 * Hands a message on if a slot is about to be free for it and no request waits. Returns null if it must be
 * published.
 */
export function handOn(
  { lane, state, strategies }: LaneParts & { readonly lane: Lane },
  out: OutgoingMessage,
): Promise<void> | null {
  if (!lane.hasSlotForNext) return null;
  const strategy = strategies.get(String(out.message.headers["task"]));
  return state.consumer?.handOn?.(out, strategy?.acksLate === false) ?? null;
}
