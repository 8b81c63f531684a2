/**
 * Parked messages: not due yet, and held by no worker. Their records stay in `unacked` under a tag without an
 * owner, and the first consumer that looks after they are due moves them to the heads of their queues.
 *
 * Python's workers do not know parked messages. When the last of our workers on a queue stops, it restores
 * the messages parked for that queue. If it died, Python's own sweep finds them one visibility timeout after
 * they were due: their scores are their due times, so that no sweep, however short its timeout, takes a
 * message that is not due.
 */

import { type Clock, type Disarm, errorText, type Random } from "../../base/mod.ts";
import { callScript, type RedisConnection } from "../../redis/mod.ts";
import { markReported, type Reply, type RespArg } from "../../wire/mod.ts";
import { readUnacked } from "./envelope.ts";
import { expireInbox } from "./inbox.ts";
import type { RedisKeys } from "./keys.ts";
import { DROP_PARKED, UNPARK } from "./scripts.ts";
import { scored } from "./sorted.ts";
import type { ConsumerBase } from "./unacked.ts";
import type { ParkedMessage } from "../message.ts";

/** Options of `Parking`. */
export interface ParkOptions {
  readonly clock: Clock;
  readonly random: Random;
  priorityOf(envelope: string): number;
  /** Called when this connection has pushed messages to lists, which tracking does not report. */
  onMoved(): void;
}

/** The longest pause between two checks: other workers park messages too. */
const LOOK_MS = 5000;
const MOVED_PER_STEP = 100;
/** The longest time for which a stopping worker restores parked messages. */
const GIVE_BACK_MS = 10_000;
const LISTED_PER_STEP = 500;

/** Moves due messages, on behalf of one consumer. */
export class Parking {
  #base: ConsumerBase;
  #options: ParkOptions;
  #disarm: Disarm | null = null;
  #dueMs = Infinity;
  #isMoving = false;
  #isClosed = false;

  constructor(base: ConsumerBase, options: ParkOptions) {
    this.#base = base;
    this.#options = options;
  }

  /** Starts checking for due messages. */
  start(): void {
    this.#arm(0);
  }

  stop(): void {
    this.#isClosed = true;
    this.#disarm?.();
  }

  /** Records that a message was parked until `dueMs` (wall clock). */
  note(dueMs: number): void {
    if (dueMs >= this.#dueMs || this.#isMoving) {
      this.#dueMs = Math.min(this.#dueMs, dueMs);
      return;
    }
    this.#dueMs = dueMs;
    this.#arm(Math.max(0, dueMs - this.#options.clock.wallMs()));
  }

  /**
   * Moves the messages parked for these queues to their heads, soonest due first; resolves with how many.
   * Called after `stop`. Rejects if the connection is lost.
   */
  async giveBack(queues: ReadonlySet<string>): Promise<number> {
    const { connection, keys } = this.#base;
    const { clock } = this.#options;
    const untilMs = clock.monoMs() + GIVE_BACK_MS;
    const tags = scored(await connection.call(["ZRANGE", keys.parked, 0, -1, "WITHSCORES"]))
      .map(({ tag }) => tag).reverse();
    let moved = 0;
    for (let from = 0; from < tags.length && clock.monoMs() < untilMs; from += MOVED_PER_STEP) {
      moved += await this.#move(tags.slice(from, from + MOVED_PER_STEP), queues);
    }
    return moved;
  }

  #arm(ms: number): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    this.#disarm?.();
    this.#disarm = clock.arm(clock.monoMs() + Math.min(ms, LOOK_MS), () => void this.#look());
  }

  async #look(): Promise<void> {
    if (this.#isClosed || this.#base.connection.isLost) return;
    this.#isMoving = true;
    this.#dueMs = Infinity;
    let nextMs = LOOK_MS * (0.9 + this.#options.random.fraction() * 0.2);
    try {
      while (!this.#isClosed && await this.#moveDue());
      const { connection, keys } = this.#base;
      const [first] = scored(await connection.call(["ZRANGE", keys.parked, 0, 0, "WITHSCORES"]));
      if (first !== undefined) this.#dueMs = Math.min(this.#dueMs, first.scoreMs);
      nextMs = Math.min(nextMs, Math.max(0, this.#dueMs - this.#options.clock.wallMs()));
    } catch (error) {
      if (!this.#isClosed && !this.#base.connection.isLost) {
        this.#base.log.warning(`Cannot look for messages that are due: ${errorText(error)}`);
      }
    } finally {
      this.#isMoving = false;
    }
    this.#arm(nextMs);
  }

  /** Moves some of the due messages; resolves with true if there may be more. */
  async #moveDue(): Promise<boolean> {
    const { connection, keys } = this.#base;
    const now = this.#options.clock.wallMs() / 1000;
    const due = await connection.call(
      ["ZRANGEBYSCORE", keys.parked, "-inf", now, "LIMIT", 0, MOVED_PER_STEP],
    ) as Reply[];
    if (due.length === 0) return false;
    // The message due first is pushed last, so that it is fetched first.
    await this.#move(due.map(String).reverse(), null);
    this.#options.onMoved();
    return due.length === MOVED_PER_STEP;
  }

  /** Moves messages of some or all queues to their heads, in this order; resolves with how many. */
  async #move(tags: readonly string[], queues: ReadonlySet<string> | null): Promise<number> {
    const { connection, keys } = this.#base;
    const values = await connection.call(["HMGET", keys.unacked, ...tags]) as Reply[];
    const byList = new Map<string, { queue: string; args: RespArg[] }>();
    const gone: string[] = [];
    for (let i = 0; i < tags.length; i++) {
      const value = values[i];
      const record = typeof value === "string" ? readUnacked(value) : null;
      if (record === null) {
        gone.push(tags[i]!);
        continue;
      }
      if (queues !== null && !queues.has(record.routingKey)) continue;
      const list = keys.listFor(record.routingKey, this.#options.priorityOf(record.envelope));
      const found = byList.get(list);
      const args = [tags[i]!, markReported(record.envelope)];
      if (found !== undefined) found.args.push(...args);
      else byList.set(list, { queue: record.routingKey, args });
    }
    if (gone.length > 0) await connection.call(["ZREM", keys.parked, ...gone]);
    let moved = 0;
    for (const [list, { queue, args }] of byList) {
      moved += Number(
        await callScript(connection, UNPARK, {
          keys: [keys.unacked, keys.unackedIndex, keys.parked, list],
          args,
          doing: "move parked messages",
        }),
      );
      expireInbox(this.#base, list, queue);
    }
    return moved;
  }
}

/** Lists the parked messages, soonest due first. */
export async function listParked(
  connection: RedisConnection,
  keys: RedisKeys,
  limit: number,
): Promise<ParkedMessage[]> {
  const parked: ParkedMessage[] = [];
  await eachParked(connection, keys, limit, (message) => parked.push(message));
  return parked;
}

/** Deletes the messages parked for a queue; resolves with how many. */
export async function purgeParked(
  connection: RedisConnection,
  keys: RedisKeys,
  queueName: string,
): Promise<number> {
  const ids: string[] = [];
  // Only ids are kept: there may be a million of them.
  await eachParked(connection, keys, Infinity, ({ id, queue }) => queue === queueName && ids.push(id));
  return await dropParked(connection, keys, ids);
}

async function eachParked(
  connection: RedisConnection,
  keys: RedisKeys,
  limit: number,
  onParked: (message: ParkedMessage) => void,
): Promise<void> {
  if (limit < 1) return;
  const last = Number.isFinite(limit) ? limit - 1 : -1;
  const rows = scored(await connection.call(["ZRANGE", keys.parked, 0, last, "WITHSCORES"]));
  for (let from = 0; from < rows.length; from += LISTED_PER_STEP) {
    const step = rows.slice(from, from + LISTED_PER_STEP);
    const values = await connection.call(["HMGET", keys.unacked, ...step.map(({ tag }) => tag)]) as Reply[];
    for (let i = 0; i < step.length; i++) {
      const value = values[i];
      const record = typeof value === "string" ? readUnacked(value) : null;
      // Another consumer has moved it meanwhile.
      if (record === null) continue;
      const { tag, scoreMs } = step[i]!;
      onParked({ id: tag, queue: record.routingKey, dueMs: scoreMs, envelope: record.envelope });
    }
  }
}

/** Deletes parked messages by their ids; resolves with how many were still parked. */
export async function dropParked(
  connection: RedisConnection,
  keys: RedisKeys,
  ids: readonly string[],
): Promise<number> {
  let dropped = 0;
  for (let from = 0; from < ids.length; from += LISTED_PER_STEP) {
    dropped += Number(
      await callScript(connection, DROP_PARKED, {
        keys: [keys.unacked, keys.unackedIndex, keys.parked],
        args: ids.slice(from, from + LISTED_PER_STEP),
        doing: "delete parked messages",
      }),
    );
  }
  return dropped;
}
