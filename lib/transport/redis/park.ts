/**
 * Parked messages: not due yet, and in nobody's memory. Their records stay in `unacked` under a name without owner, and
 * whichever consumer looks next after they are due moves them to the heads of their queues.
 *
 * Python's workers know nothing of that. The last of our workers of a queue gives back what is parked for it when it
 * stops; if it died, Python's own sweep finds the records one visibility timeout after they were due: their scores are
 * the times when they are due, so that no sweep, however short its timeout, takes what is still waiting.
 */

import { type Clock, type Disarm, errorText, type Random } from "../../base/mod.ts";
import { callScript, type RedisConnection } from "../../redis/mod.ts";
import { markTold, type Reply, type RespArg } from "../../wire/mod.ts";
import { readUnacked } from "./envelope.ts";
import { expireInbox } from "./inbox.ts";
import type { RedisKeys } from "./keys.ts";
import { DROP_PARKED, UNPARK } from "./scripts.ts";
import { scored } from "./sorted.ts";
import type { ConsumerBase } from "./unacked.ts";
import type { ParkedMessage } from "../message.ts";

/** What moving parked messages needs besides. */
export interface ParkOptions {
  readonly clock: Clock;
  readonly random: Random;
  priorityOf(envelope: string): number;
  /** Messages were put into lists by our own hand, which tracking does not report. */
  onMoved(): void;
}

/** Others park too: how long one waits at most before it looks again. */
const LOOK_MS = 5000;
const MOVED_PER_STEP = 100;
/** How long a worker that stops gives parked messages back at most. */
const GIVE_BACK_MS = 10_000;
const LISTED_PER_STEP = 500;

/** The mover of one consumer. */
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

  /** Begins to look. */
  start(): void {
    this.#arm(0);
  }

  stop(): void {
    this.#isClosed = true;
    this.#disarm?.();
  }

  /** A message was parked until `dueMs` (wall clock). */
  note(dueMs: number): void {
    if (dueMs >= this.#dueMs || this.#isMoving) {
      this.#dueMs = Math.min(this.#dueMs, dueMs);
      return;
    }
    this.#dueMs = dueMs;
    this.#arm(Math.max(0, dueMs - this.#options.clock.wallMs()));
  }

  /** Puts what is parked for these queues at their heads, soonest due in front; how many. After `stop`. */
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

  /** Moves some of what is due; true where there may be more. */
  async #moveDue(): Promise<boolean> {
    const { connection, keys } = this.#base;
    const now = this.#options.clock.wallMs() / 1000;
    const due = await connection.call(
      ["ZRANGEBYSCORE", keys.parked, "-inf", now, "LIMIT", 0, MOVED_PER_STEP],
    ) as Reply[];
    if (due.length === 0) return false;
    // The one due first is pushed last, so that it is taken first.
    await this.#move(due.map(String).reverse(), null);
    this.#options.onMoved();
    return due.length === MOVED_PER_STEP;
  }

  /** Moves messages to the heads of their queues in this order, of all queues or of some; how many. */
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
      const args = [tags[i]!, markTold(record.envelope)];
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

/** The parked messages, soonest due first. */
export async function listParked(
  connection: RedisConnection,
  keys: RedisKeys,
  limit: number,
): Promise<ParkedMessage[]> {
  const parked: ParkedMessage[] = [];
  await eachParked(connection, keys, limit, (message) => parked.push(message));
  return parked;
}

/** Deletes what is parked for a queue; how many. */
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
      // Moved on meanwhile.
      if (record === null) continue;
      const { tag, scoreMs } = step[i]!;
      onParked({ id: tag, queue: record.routingKey, dueMs: scoreMs, envelope: record.envelope });
    }
  }
}

/** Deletes parked messages by their ids; how many of them still were parked. */
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
