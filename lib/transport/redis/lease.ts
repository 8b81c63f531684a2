/**
 * Leases: a dead worker is noticed within seconds, and no live worker's messages are taken from it.
 *
 * Each consumer has an id. While it lives it renews a key of that id, which expires after the lease time, and
 * sets the scores of its messages to now; so a sweep by visibility timeout, ours or Python's, never finds a
 * live message old. The sweep of dead owners takes messages whose owner's key is gone and whose score has not
 * changed for the lease time: an evicted key alone does not make its owner dead.
 *
 * Source of the visibility timeout's rules: kombu 5.2.4 transport/redis.py QoS.restore_visible, Mutex.
 */

import { ConnectionLost, type Disarm, errorText, type World } from "../../base/mod.ts";
import { callScript, isMovedError, sendScript, toOperatingError } from "../../redis/mod.ts";
import { markedIfEnvelope, type Reply, type RespArg, RespError } from "../../wire/mod.ts";
import { deadDocument } from "./dead.ts";
import { markedAfterDeath, readUnacked } from "./envelope.ts";
import { expireInbox } from "./inbox.ts";
import { readTag } from "./keys.ts";
import type { RedisOptions } from "./options.ts";
import { DEAD_LETTER, GIVE_BACK, RENEW, UNLOCK } from "./scripts.ts";
import { scored } from "./sorted.ts";
import type { ConsumerBase, Unacked } from "./unacked.ts";

/** Options of `Lease`. */
export interface LeaseOptions {
  readonly world: World;
  readonly redis: RedisOptions;
  /** Returns the value of the owner's key: the owner's name and the queues that it consumes, one per line. */
  about(): string;
  readonly leaseMs: number;
  /** Whether this process had a connection before. */
  readonly isReconnect: boolean;
  /** Resolves with the queues of a message whose record names an exchange; empty if nothing is bound. */
  route(exchange: string, routingKey: string): Promise<string[]>;
  /** Returns the priority of an envelope. */
  priorityOf(envelope: string): number;
  onRestored(count: number): void;
}

const RENEW_TAGS_MAX = 2000;
const TAGS_PER_PAGE = 2000;
const TAGS_PER_STEP = 50;
const SWEEP_LOCK_MS = 2000;
/** The longest pause between two attempts to connect. */
const GRACE_MAX_MS = 30_000;

/** The error of a consumer whose lease expired, because the process stalled or its key was deleted. */
export const LAPSED =
  "The lease on this worker's messages lapsed before it was renewed; others may have taken them";

/** A message to restore. */
interface Restorable {
  readonly tag: string;
  readonly queue: string;
  readonly envelope: string;
}

/** The lease of one consumer, and its part in the sweeps. */
export class Lease {
  #base: ConsumerBase;
  #unacked: Unacked;
  #options: LeaseOptions;
  #renewMs: number;
  #timers: (Disarm | null)[] = [null, null, null];
  #isClosed = false;
  /** When this connection was made, monotonic. */
  readonly #openedMs: number;

  constructor(base: ConsumerBase, unacked: Unacked, options: LeaseOptions) {
    this.#base = base;
    this.#unacked = unacked;
    this.#options = options;
    this.#openedMs = base.clock.monoMs();
    // Peers must not take held messages by a user's short visibility timeout, either.
    const { visibilityTimeoutMs } = options.redis;
    this.#renewMs = Math.min(options.leaseMs / 3, Math.max(visibilityTimeoutMs / 3, 300));
  }

  /** Takes the lease, before the first fetch, and begins to renew and to sweep. */
  async open(): Promise<void> {
    const { keys, connection, id } = this.#base;
    await callScript(connection, RENEW, {
      keys: [keys.unackedIndex, keys.owner(id), keys.owners],
      args: [id, this.#options.about(), Math.round(this.#options.leaseMs), `${id}:`],
      doing: "take the lease",
    });
    this.#arm(0, this.#renewMs, () => this.#renew());
    this.#arm(1, 0, () => void this.#sweepDead());
    this.#arm(2, 0, () => void this.#sweepOld());
  }

  /** Stops the timers. */
  stop(): void {
    this.#isClosed = true;
    for (const disarm of this.#timers) disarm?.();
  }

  /** Ends the lease, once no message is held any more. */
  async release(): Promise<void> {
    const { keys, connection, id } = this.#base;
    await connection.callAll([["DEL", keys.owner(id)], ["SREM", keys.owners, id]]);
  }

  /** Returns those of the given queues that no other live worker consumes. */
  async withoutWorkers(queues: readonly string[]): Promise<string[]> {
    const { keys, connection, id } = this.#base;
    const ids = (await connection.call(["SMEMBERS", keys.owners]) as Reply[]).map(String)
      .filter((one) => one !== id);
    const about = await connection.callAll(ids.map((one) => ["GET", keys.owner(one)]));
    const consumed = new Set<string>();
    for (const text of about) {
      if (typeof text !== "string") continue; // a lease that has ended
      const [, ...names] = text.split("\n");
      // An owner that does not list its queues may consume any of them.
      if (names.length === 0) return [];
      for (const name of names) consumed.add(name);
    }
    return queues.filter((name) => !consumed.has(name));
  }

  #arm(slot: number, ms: number, fn: () => void): void {
    if (this.#isClosed) return;
    const { clock } = this.#options.world;
    this.#timers[slot]?.();
    this.#timers[slot] = clock.arm(clock.monoMs() + ms, fn);
  }

  #renew(): void {
    const { keys, connection, id } = this.#base;
    const numbers = this.#unacked.numbers();
    let from = 0;
    do {
      const args: RespArg[] = [keys.unackedIndex, keys.owner(id), keys.owners];
      args.push(id, this.#options.about(), Math.round(this.#options.leaseMs), `${id}:`);
      const to = Math.min(numbers.length, from + RENEW_TAGS_MAX);
      const isFirst = from === 0;
      for (; from < to; from++) args.push(numbers[from]!);
      sendScript(connection, RENEW, 3, args, {
        onReply: (reply) => {
          if (reply instanceof RespError) this.#onRefused(reply);
          // Tasks that have not begun must not begin any more: another worker may have them.
          else if (isFirst && reply === 0) connection.fail(new ConnectionLost(LAPSED));
        },
        onLost: () => {},
      });
    } while (from < numbers.length);
    this.#arm(0, this.#renewMs, () => this.#renew());
  }

  #onRefused(reply: RespError): void {
    const { connection, log } = this.#base;
    const error = toOperatingError(reply, "renew the lease");
    if (isMovedError(reply)) connection.fail(error);
    else log.error(error.message);
  }

  /** Reads the owners by id: milliseconds until their lease ends, below 0 for dead ones. */
  async #owners(): Promise<Map<string, number>> {
    const { keys, connection } = this.#base;
    const ids = (await connection.call(["SMEMBERS", keys.owners]) as Reply[]).map(String);
    const left = await connection.callAll(ids.map((id) => ["PTTL", keys.owner(id)]));
    return new Map(ids.map((id, i) => [id, Number(left[i])]));
  }

  async #sweepDead(): Promise<void> {
    let nextMs = this.#options.leaseMs / 2;
    await this.#guarded("look for messages of dead workers", async () => {
      const owners = await this.#owners();
      const dead = new Set<string>();
      for (const [id, leftMs] of owners) {
        if (leftMs < 0) dead.add(id);
        // The next sweep is right after the first lease that may end.
        else if (id !== this.#base.id) nextMs = Math.min(nextMs, leftMs + 50);
      }
      if (dead.size > 0 && await this.#restoreDead(dead)) nextMs = Math.min(nextMs, 1000);
    });
    const jitter = 1 + this.#options.world.random.fraction() * 0.2;
    this.#arm(1, Math.max(100, nextMs * jitter), () => void this.#sweepDead());
  }

  /** Returns true if messages of dead owners may be left for a later sweep. */
  async #restoreDead(dead: ReadonlySet<string>): Promise<boolean> {
    const { keys, connection, id } = this.#base;
    const locked = await connection.call(["SET", keys.sweep, id, "PX", SWEEP_LOCK_MS, "NX"]);
    if (locked === null) return true;
    try {
      const nowMs = await this.#serverMs();
      const found = await this.#tagsUpTo(nowMs, (tag) => dead.has(readTag(tag)?.owner ?? ""));
      const upSinceMs = await this.#serverStartMs(nowMs);
      const ripeMs = nowMs - this.#options.leaseMs;
      // An owner whose lease ended while the server was down is not dead: it reconnects with its next
      // attempt.
      const graceMs = nowMs - upSinceMs < Math.min(GRACE_MAX_MS, 3 * this.#options.leaseMs)
        ? upSinceMs
        : -Infinity;
      const isRipe = ({ scoreMs }: { scoreMs: number }) => scoreMs <= ripeMs && scoreMs >= graceMs;
      const begun = new Set<string>();
      for (const owner of dead) {
        for (const number of await connection.call(["SMEMBERS", keys.begun(owner)]) as Reply[]) {
          begun.add(`${owner}:${number}`);
        }
      }
      await this.#restore(found.filter(isRipe).map(({ tag }) => tag), begun);
      const young = new Set<string>();
      for (const row of found) if (!isRipe(row)) young.add(readTag(row.tag)!.owner);
      const over = [...dead].filter((owner) => !young.has(owner));
      if (over.length > 0) {
        await connection.call(["SREM", keys.owners, ...over]);
        await connection.call(["DEL", ...over.map((owner) => keys.begun(owner))]);
      }
      return young.size > 0;
    } finally {
      if (!connection.isLost) {
        await callScript(connection, UNLOCK, {
          keys: [keys.sweep],
          args: [id],
          doing: "release the sweep's lock",
        });
      }
    }
  }

  /**
   * Restores messages older than the visibility timeout, as kombu does; this is mainly for those of Python
   * workers.
   */
  async #sweepOld(): Promise<void> {
    const { visibilityTimeoutMs, unackedMutexExpireMs, unackedRestoreLimit } = this.#options.redis;
    await this.#guarded("restore unacknowledged messages", async () => {
      const { keys, connection } = this.#base;
      const token = this.#options.world.random.id();
      const locked = await connection.call([
        "SET",
        keys.unackedMutex,
        token,
        "NX",
        "PX",
        unackedMutexExpireMs,
      ]);
      if (locked === null) return;
      try {
        const untilMs = await this.#serverMs() - visibilityTimeoutMs;
        const owners = await this.#owners();
        const isAlive = (tag: string) => (owners.get(readTag(tag)?.owner ?? "") ?? -1) >= 0;
        const found = await this.#tagsUpTo(untilMs, (tag) => !isAlive(tag));
        const tags = found.map(({ tag }) => tag);
        await this.#restore(unackedRestoreLimit === null ? tags : tags.slice(-unackedRestoreLimit), null);
      } finally {
        if (!connection.isLost) {
          const what = { keys: [keys.unackedMutex], args: [token], doing: "release the restore lock" };
          await callScript(connection, UNLOCK, what);
        }
      }
    });
    const everyMs = Math.max(1000, Math.min(100_000, visibilityTimeoutMs / 4));
    this.#arm(2, everyMs * (0.9 + this.#options.world.random.fraction() * 0.2), () => void this.#sweepOld());
  }

  /**
   * Finds tags with a score up to `untilMs`, oldest first. The scores of parked messages are in the future.
   */
  async #tagsUpTo(
    untilMs: number,
    isWanted: (tag: string) => boolean,
  ): Promise<{ tag: string; scoreMs: number }[]> {
    const { keys, connection } = this.#base;
    const found: { tag: string; scoreMs: number }[] = [];
    for (let offset = 0;; offset += TAGS_PER_PAGE) {
      const limit: RespArg[] = ["LIMIT", offset, TAGS_PER_PAGE];
      const reply = await connection.call([
        "ZRANGEBYSCORE",
        keys.unackedIndex,
        0,
        untilMs / 1000,
        "WITHSCORES",
        ...limit,
      ]);
      const rows = scored(reply);
      for (const row of rows) if (isWanted(row.tag)) found.push(row);
      if (rows.length < TAGS_PER_PAGE) return found;
    }
  }

  /**
   * Restores the messages of these tags, so that the oldest is fetched first. `begun`: their process died;
   * these tags are those whose task had begun, as recorded for messages that a process died with before.
   * Null: no death is counted.
   */
  async #restore(tags: readonly string[], begun: ReadonlySet<string> | null): Promise<void> {
    const { keys, connection } = this.#base;
    const newestFirst = [...tags].sort((a, b) => orderOf(b) - orderOf(a));
    let restored = 0;
    for (let from = 0; from < newestFirst.length && !this.#isClosed; from += TAGS_PER_STEP) {
      const step = newestFirst.slice(from, from + TAGS_PER_STEP);
      const values = await connection.call(["HMGET", keys.unacked, ...step]) as Reply[];
      for (let i = 0; i < step.length; i++) {
        restored += await this.#restoreOne(step[i]!, values[i] ?? null, begun);
      }
    }
    if (restored > 0) this.#options.onRestored(restored);
  }

  async #restoreOne(tag: string, value: Reply, begun: ReadonlySet<string> | null): Promise<number> {
    const { keys, connection, log } = this.#base;
    if (typeof value !== "string") {
      await connection.call(["ZREM", keys.unackedIndex, tag]);
      return 0;
    }
    const record = readUnacked(value);
    const envelope = record === null
      ? null
      : begun !== null
      ? markedAfterDeath(record.envelope, begun.has(tag))
      : markedIfEnvelope(record.envelope);
    if (record === null || envelope === null) {
      const reason = "Not a message: found among the unacknowledged of a dead worker";
      const letter = { reason, queue: record?.routingKey || null, envelope: record?.envelope ?? value };
      await callScript(connection, DEAD_LETTER, {
        keys: [keys.unacked, keys.unackedIndex, keys.dead],
        args: [tag, deadDocument(this.#options.world, letter)],
        doing: "keep a message as a dead letter",
      });
      return 0;
    }
    const message: Restorable = { tag, queue: record.routingKey, envelope };
    const queues = record.exchange === ""
      ? [record.routingKey]
      : await this.#options.route(record.exchange, record.routingKey);
    if (queues.length === 0) {
      log.warning(`Cannot restore message ${tag}: no queue is bound to "${record.exchange}" for it`);
      return 0;
    }
    return await this.#push(message, queues);
  }

  /**
   * Pushes to the first queue in one step with the record's removal; to further queues (a topic's) only if
   * this sweep removed the record.
   */
  async #push(message: Restorable, queues: readonly string[]): Promise<number> {
    const { keys, connection } = this.#base;
    const priority = this.#options.priorityOf(message.envelope);
    const given = await callScript(connection, GIVE_BACK, {
      keys: [keys.unacked, keys.unackedIndex, keys.listFor(queues[0]!, priority)],
      args: ["RPUSH", message.tag, message.envelope],
      doing: "restore a message",
    });
    if (given !== 1) return 0;
    expireInbox(this.#base, keys.listFor(queues[0]!, priority), queues[0]!);
    for (const name of queues.slice(1)) {
      await connection.call(["RPUSH", keys.listFor(name, priority), message.envelope]);
    }
    return 1;
  }

  /**
   * Returns when the server was started. If the server does not tell, as to a user without `INFO`
   * (@dangerous), it is assumed to have started when this connection was made.
   */
  async #serverStartMs(nowMs: number): Promise<number> {
    const connectedMs = nowMs - (this.#base.clock.monoMs() - this.#openedMs);
    // A cluster had no master while its workers were disconnected, however long ago this node was started.
    if (this.#base.isCluster && this.#options.isReconnect) return connectedMs;
    let info = "";
    try {
      info = String(await this.#base.connection.call(["INFO", "server"]));
    } catch (error) {
      if (this.#base.connection.isLost) throw error;
    }
    if (info.includes("uptime_in_seconds")) return serverStartMs(info, nowMs);
    return connectedMs;
  }

  async #serverMs(): Promise<number> {
    const [seconds, micros] = await this.#base.connection.call(["TIME"]) as Reply[];
    return Number(seconds) * 1000 + Number(micros) / 1000;
  }

  /** Runs a sweep and logs its error. Sweeps are a safety net, and are tried again later. */
  async #guarded(doing: string, sweep: () => Promise<void>): Promise<void> {
    if (this.#isClosed || this.#base.connection.isLost) return;
    try {
      await sweep();
    } catch (error) {
      if (!this.#isClosed && !this.#base.connection.isLost) {
        this.#base.log.warning(`Cannot ${doing}: ${errorText(error)}`);
      }
    }
  }
}

/**
 * Returns the whole second in which the server was started, by its INFO, in epoch milliseconds; -Infinity
 * without an uptime. `nowMs` is the server's time, used if INFO does not have it (before Redis 6.2).
 *
 * The uptime is a difference of whole seconds. Subtracted from the exact time it would put the start up to a
 * second too late, after messages that were recorded in the server's first second.
 */
export function serverStartMs(info: string, nowMs: number): number {
  const uptime = Number(/uptime_in_seconds:(\d+)/.exec(info)?.[1] ?? Infinity);
  const micros = /server_time_usec:(\d+)/.exec(info)?.[1];
  const nowSeconds = Math.floor(micros === undefined ? nowMs / 1000 : Number(micros) / 1e6);
  return (nowSeconds - uptime) * 1000;
}

function orderOf(tag: string): number {
  return readTag(tag)?.number ?? 0;
}
