/**
 * Leases: how a dead worker is noticed within seconds, and how no live worker's messages are taken from it.
 *
 * Each consumer has an id. While it lives it renews a key of that id, which expires after the lease, and moves the
 * scores of what it holds to now; so a sweep by visibility timeout, ours or Python's, never finds a live message old.
 * The sweep of dead owners takes messages whose owner's key is gone and whose score has not moved for a lease:
 * a key that the server evicted does not yet make its owner dead.
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

/** What the lease needs besides. */
export interface LeaseOptions {
  readonly world: World;
  readonly redis: RedisOptions;
  /** What the owner's key says: who this is, and the queues that it consumes, a line each. */
  about(): string;
  readonly leaseMs: number;
  /** Whether this process had a connection before. */
  readonly isReconnect: boolean;
  /** The lists of a message whose record names an exchange; empty where nothing is bound. */
  route(exchange: string, routingKey: string): Promise<string[]>;
  /** The priority of an envelope. */
  priorityOf(envelope: string): number;
  onRestored(count: number): void;
}

const RENEW_TAGS_MAX = 2000;
const TAGS_PER_PAGE = 2000;
const TAGS_PER_STEP = 50;
const SWEEP_LOCK_MS = 2000;
/** The longest pause between two attempts to connect. */
const GRACE_MAX_MS = 30_000;

/** What a consumer is lost with that did not renew in time: it stood still, or its key was deleted. */
export const LAPSED =
  "The lease on this worker's messages lapsed before it was renewed; others may have taken them";

/** A message to give back. */
interface Stray {
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
    // A user's own short visibility timeout must not make peers take what we hold, either.
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

  /** Gives the lease up: nothing is held any more. */
  async release(): Promise<void> {
    const { keys, connection, id } = this.#base;
    await connection.callAll([["DEL", keys.owner(id)], ["SREM", keys.owners, id]]);
  }

  /** Of some queues those that no living worker consumes. */
  async withoutWorkers(queues: readonly string[]): Promise<string[]> {
    const { keys, connection, id } = this.#base;
    const ids = (await connection.call(["SMEMBERS", keys.owners]) as Reply[]).map(String)
      .filter((one) => one !== id);
    const about = await connection.callAll(ids.map((one) => ["GET", keys.owner(one)]));
    const consumed = new Set<string>();
    for (const text of about) {
      if (typeof text !== "string") continue; // a lease that has ended
      const [, ...names] = text.split("\n");
      // One that does not say what it consumes may consume anything.
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
          // What was not begun must not be begun any more: somebody else may have it.
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

  /** Owners by id: milliseconds until their lease ends, or below 0 for the dead. */
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

  /** True where something is left that is too young yet. */
  async #restoreDead(dead: ReadonlySet<string>): Promise<boolean> {
    const { keys, connection, id } = this.#base;
    const locked = await connection.call(["SET", keys.sweep, id, "PX", SWEEP_LOCK_MS, "NX"]);
    if (locked === null) return true;
    try {
      const nowMs = await this.#serverMs();
      const found = await this.#tagsUpTo(nowMs, (tag) => dead.has(readTag(tag)?.owner ?? ""));
      const upSinceMs = await this.#serverStartMs(nowMs);
      const ripeMs = nowMs - this.#options.leaseMs;
      // A lease that ended while the server was away ends nobody: its owner comes back when its next attempt is due.
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

  /** Kombu's own check, for messages of Python workers above all: anything older than the visibility timeout. */
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

  /** Tags with a score up to `untilMs`, oldest first. Parked messages have theirs in the future. */
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
   * Gives the messages of these tags back, oldest to be taken first. `begun`: their process died with them, and had
   * begun these of those that were there at a death before.
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
    const stray: Stray = { tag, queue: record.routingKey, envelope };
    const queues = record.exchange === ""
      ? [record.routingKey]
      : await this.#options.route(record.exchange, record.routingKey);
    if (queues.length === 0) {
      log.warning(`Cannot restore message ${tag}: no queue is bound to "${record.exchange}" for it`);
      return 0;
    }
    return await this.#push(stray, queues);
  }

  /** To the first queue atomically with the record's removal; to further ones (a topic's) only if that was ours. */
  async #push(stray: Stray, queues: readonly string[]): Promise<number> {
    const { keys, connection } = this.#base;
    const priority = this.#options.priorityOf(stray.envelope);
    const given = await callScript(connection, GIVE_BACK, {
      keys: [keys.unacked, keys.unackedIndex, keys.listFor(queues[0]!, priority)],
      args: ["RPUSH", stray.tag, stray.envelope],
      doing: "restore a message",
    });
    if (given !== 1) return 0;
    expireInbox(this.#base, keys.listFor(queues[0]!, priority), queues[0]!);
    for (const name of queues.slice(1)) {
      await connection.call(["RPUSH", keys.listFor(name, priority), stray.envelope]);
    }
    return 1;
  }

  /**
   * When the server was started. Where it does not say, to a user without `INFO` (@dangerous) above all, it may have
   * been right before this connection was made.
   */
  async #serverStartMs(nowMs: number): Promise<number> {
    const connectedMs = nowMs - (this.#base.clock.monoMs() - this.#openedMs);
    // A cluster was without a master as long as its workers were away, however long ago this node was started.
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

  /** Sweeps are a safety net: what goes wrong is told once here and tried again later. */
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
 * When the server was started, by what it tells in INFO: the whole second in which it was. `nowMs` is its time where it
 * does not tell that (before Redis 6.2); without an uptime it is -Infinity.
 *
 * It counts the seconds that have begun, so its uptime is from second to second: taken from the very moment it would
 * put the start up to a second too late, and behind what was recorded in the server's first second.
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
