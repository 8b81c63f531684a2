/**
 * After a reconnect: what the lost consumer left behind is taken over by its successor in the same process.
 *
 * Without this a cut would cost a lease's time and count as a death of the worker, and what was settled at the moment
 * of the cut would run again. Every step can be done twice, so that a takeover that is cut itself is taken over whole.
 */

import { callScript, sendScript, toOperatingError } from "../redis/mod.ts";
import { type Reply, RespError } from "../wire/mod.ts";
import { readUnacked } from "./redis_envelope.ts";
import { ADOPT } from "./redis_scripts.ts";
import { type ConsumerBase, sendAcks, type Settlement } from "./redis_unacked.ts";

/** What a consumer leaves behind. */
export interface Estate {
  readonly settlements: readonly Settlement[];
  /** By lease: the tag numbers that may be recorded under it. Grows with every takeover that is begun. */
  readonly parts: { readonly id: string; readonly numbers: readonly number[] }[];
}

/** A message taken over. */
export interface Adopted {
  readonly number: number;
  readonly queue: string;
  readonly envelope: string;
}

const NUMBERS_PER_STEP = 200;

/**
 * Takes an estate over; the messages that nobody else had, oldest first. `reserve` gives the first of so many new tag
 * numbers. Rejects where the connection goes; the estate can be taken over again then.
 */
export async function adopt(
  base: ConsumerBase,
  estate: Estate,
  reserve: (count: number) => number,
): Promise<Adopted[]> {
  const { connection, keys, id } = base;
  for (const settlement of estate.settlements) await settle(base, settlement);
  const adopted: Adopted[] = [];
  const parts = [...estate.parts];
  for (const part of parts) {
    // From here on a fetch of the old connection that is still on its way to the server takes nothing.
    await connection.call(["DEL", keys.owner(part.id)]);
    for (let from = 0; from < part.numbers.length; from += NUMBERS_PER_STEP) {
      const numbers = part.numbers.slice(from, from + NUMBERS_PER_STEP);
      const first = reserve(numbers.length);
      estate.parts.push({ id, numbers: numbers.map((_, n) => first + n) });
      const values = await callScript(connection, ADOPT, {
        keys: [keys.unacked, keys.unackedIndex],
        args: [`${part.id}:`, `${id}:`, first, ...numbers],
        doing: "take over what the lost connection held",
      }) as Reply[];
      for (let n = 0; n < values.length; n++) {
        const value = values[n];
        if (typeof value !== "string") continue;
        const record = readUnacked(value);
        adopted.push({
          number: first + n,
          queue: record?.routingKey ?? "",
          envelope: record?.envelope ?? value,
        });
      }
    }
  }
  const ids = parts.map((part) => part.id).filter((one) => one !== id);
  if (ids.length > 0) await connection.call(["SREM", keys.owners, ...ids]);
  return adopted;
}

function settle(base: ConsumerBase, { tags, script, args }: Settlement): Promise<void> {
  const { connection, keys } = base;
  return new Promise((resolve, reject) => {
    const told = {
      onReply: (reply: Reply) =>
        reply instanceof RespError ? reject(toOperatingError(reply, "settle messages")) : resolve(),
      onLost: reject,
    };
    if (tags !== null) sendAcks(connection, keys, tags, IGNORED, told);
    else if (script !== null) sendScript(connection, script, 3, args, told);
    else resolve();
  });
}

/** Of two replies the second tells enough: an error comes to both commands. */
const IGNORED = { onReply(): void {}, onLost(): void {} };
