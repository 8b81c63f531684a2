/**
 * After a reconnect the new consumer takes over the messages that the lost one of the same process held.
 *
 * Without this a cut would delay the messages by the lease time and count as a death of the worker, and tasks
 * settled at the moment of the cut would run again. Every step is idempotent, so that an interrupted takeover
 * can be repeated as a whole.
 */

import { callScript, sendScript, toOperatingError } from "../../redis/mod.ts";
import { type Reply, RespError } from "../../wire/mod.ts";
import { readUnacked } from "./envelope.ts";
import { TAKE_OVER } from "./scripts.ts";
import { type ConsumerBase, sendAcks, type Settlement } from "./unacked.ts";

/** What a lost consumer hands over to its successor. */
export interface Handover {
  readonly settlements: readonly Settlement[];
  /** By lease, the tag numbers that may be recorded under it. Grows with every attempted takeover. */
  readonly parts: { readonly id: string; readonly numbers: readonly number[] }[];
}

/** A message taken over. */
export interface TakenOver {
  readonly number: number;
  readonly queue: string;
  readonly envelope: string;
}

const NUMBERS_PER_STEP = 200;

/**
 * Takes over the messages of a lost consumer; resolves with those that nobody else has taken, oldest first.
 * `reserve` reserves new tag numbers and returns the first. Rejects with ConnectionLost or the server's
 * error, and can then be repeated.
 */
export async function takeOver(
  base: ConsumerBase,
  handover: Handover,
  reserve: (count: number) => number,
): Promise<TakenOver[]> {
  const { connection, keys, id } = base;
  for (const settlement of handover.settlements) await settle(base, settlement);
  const taken: TakenOver[] = [];
  const parts = [...handover.parts];
  for (const part of parts) {
    // From here on a fetch of the old connection that is still in transit pops nothing.
    await connection.call(["DEL", keys.owner(part.id)]);
    for (let from = 0; from < part.numbers.length; from += NUMBERS_PER_STEP) {
      const numbers = part.numbers.slice(from, from + NUMBERS_PER_STEP);
      const first = reserve(numbers.length);
      handover.parts.push({ id, numbers: numbers.map((_, n) => first + n) });
      const values = await callScript(connection, TAKE_OVER, {
        keys: [keys.unacked, keys.unackedIndex],
        args: [`${part.id}:`, `${id}:`, first, ...numbers],
        doing: "take over what the lost connection held",
      }) as Reply[];
      for (let n = 0; n < values.length; n++) {
        const value = values[n];
        if (typeof value !== "string") continue;
        const record = readUnacked(value);
        taken.push({
          number: first + n,
          queue: record?.routingKey ?? "",
          envelope: record?.envelope ?? value,
        });
      }
    }
  }
  const ids = parts.map((part) => part.id).filter((one) => one !== id);
  // A cluster's failover may undo a settlement that the old master had confirmed, so the owner stays: then
  // the sweep finds the record.
  if (ids.length > 0 && !base.isCluster) await connection.call(["SREM", keys.owners, ...ids]);
  return taken;
}

function settle(base: ConsumerBase, { tags, script, args }: Settlement): Promise<void> {
  const { connection, keys } = base;
  return new Promise((resolve, reject) => {
    const sink = {
      onReply: (reply: Reply) =>
        reply instanceof RespError ? reject(toOperatingError(reply, "settle messages")) : resolve(),
      onLost: reject,
    };
    if (tags !== null) sendAcks(connection, keys, tags, IGNORED, sink);
    else if (script !== null) sendScript(connection, script, 3, args, sink);
    else resolve();
  });
}

/** Ignores the first of two replies: an error comes to both commands. */
const IGNORED = { onReply(): void {}, onLost(): void {} };
