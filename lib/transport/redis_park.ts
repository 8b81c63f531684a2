/**
 * Parked messages: not due yet, and in nobody's memory. Their records stay in `unacked` under a name without owner,
 * their scores are their due times, and whichever consumer looks next after that moves them to the heads of their
 * queues.
 */

import { type Clock, type Disarm, errorText, type Random } from "../base/mod.ts";
import { callScript, type RedisConnection } from "../redis/mod.ts";
import type { Reply, RespArg } from "../wire/mod.ts";
import { readUnacked } from "./redis_envelope.ts";
import type { RedisKeys } from "./redis_keys.ts";
import { UNPARK } from "./redis_scripts.ts";
import { scored } from "./redis_sorted.ts";
import type { ConsumerBase } from "./redis_unacked.ts";
import type { ParkedMessage } from "./transport.ts";

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
    const tags = due.map(String);
    const values = await connection.call(["HMGET", keys.unacked, ...tags]) as Reply[];
    const byList = new Map<string, RespArg[]>();
    const gone: string[] = [];
    // The one due first is pushed last, so that it is taken first.
    for (let i = tags.length - 1; i >= 0; i--) {
      const value = values[i];
      const record = typeof value === "string" ? readUnacked(value) : null;
      if (record === null) {
        gone.push(tags[i]!);
        continue;
      }
      const list = keys.listFor(record.routingKey, this.#options.priorityOf(record.envelope));
      const args = byList.get(list);
      if (args === undefined) byList.set(list, [tags[i]!, record.envelope]);
      else args.push(tags[i]!, record.envelope);
    }
    if (gone.length > 0) await connection.call(["ZREM", keys.parked, ...gone]);
    for (const [list, args] of byList) {
      await callScript(connection, UNPARK, {
        keys: [keys.unacked, keys.unackedIndex, keys.parked, list],
        args,
        doing: "move messages that are due",
      });
    }
    this.#options.onMoved();
    return due.length === MOVED_PER_STEP;
  }
}

/** The parked messages, soonest due first. */
export async function listParked(
  connection: RedisConnection,
  keys: RedisKeys,
  limit: number,
): Promise<ParkedMessage[]> {
  if (limit < 1) return [];
  const rows = scored(await connection.call(["ZRANGE", keys.parked, 0, limit - 1, "WITHSCORES"]));
  const parked: ParkedMessage[] = [];
  for (let from = 0; from < rows.length; from += LISTED_PER_STEP) {
    const step = rows.slice(from, from + LISTED_PER_STEP);
    const values = await connection.call(["HMGET", keys.unacked, ...step.map(({ tag }) => tag)]) as Reply[];
    for (let i = 0; i < step.length; i++) {
      const value = values[i];
      const record = typeof value === "string" ? readUnacked(value) : null;
      // Moved on meanwhile.
      if (record === null) continue;
      parked.push({ queue: record.routingKey, dueMs: step[i]!.scoreMs, envelope: record.envelope });
    }
  }
  return parked;
}
