/**
 * Waiting for results on Redis: every awaited id of a backend on one multiplexed subscription.
 *
 * SUBSCRIBE and MGET leave together. On one RESP3 connection their order is the server's order, so nothing falls
 * between them; on two connections, and on a cluster's, MGET waits for the subscription. A document that came as a
 * message is newer than any that MGET asked for before.
 *
 * The server cuts a subscriber off whose answers wait in more than 32 MB (client-output-buffer-limit pubsub): for one
 * large result, or many at once. So after a loss what is stored is asked for before anything is subscribed to again;
 * connections that are lost one right after the other are dialled in growing pauses.
 *
 * Source: celery 5.2.6 backends/redis.py ResultConsumer.
 */

import type { Buffer } from "node:buffer";
import { type Disarm, isRetryable, type World } from "../base/mod.ts";
import type { ResultMeta } from "../wire/mod.ts";
import { AS_BYTES, AS_TEXT, type RedisLink } from "./redis_link.ts";
import { Watchers } from "./watchers.ts";

/** What the subscription needs of its backend. */
export interface RedisWatchHost {
  readonly world: World;
  /** Documents are bytes. */
  readonly isBinary: boolean;
  /** Prefix of a task's key; the channel is the key. */
  readonly taskPrefix: string;
  decode(document: string | Uint8Array): ResultMeta;
  /** The live connection, or null. */
  live(): RedisLink | null;
  /** Dials, with the retries of the settings; rejects when they are used up. */
  reconnect(): Promise<RedisLink>;
  /** Any error as one of ours; ends the connection of a server that is no longer the one to ask. */
  explain(error: unknown): Error;
}

/** Channels of one SUBSCRIBE, and ids of the MGET beside it. */
const SUBSCRIBE_MAX = 1000;
/** A connection that lasted so long, milliseconds, was not cut for what we ask. */
const STEADY_MS = 3000;
/** Pause between two looks at what is waited for, milliseconds: on one connection, and on several. */
const CHECK_MS = 30_000;
const CHECK_SEVERAL_MS = 5000;
/** After two losses in that time: the first pause and the longest, milliseconds. */
const PAUSE_MS = 100;
const PAUSE_MAX_MS = 5000;

/** The subscription of one backend. */
export class RedisWatch {
  readonly #host: RedisWatchHost;
  readonly watchers: Watchers;
  #toSubscribe = new Set<string>();
  #toUnsubscribe = new Set<string>();
  #isScheduled = false;
  #isReconnecting = false;
  #lostMs = -Infinity;
  #losses = 0;
  #wasLost = false;
  readonly #closing = new AbortController();
  #isClosed = false;
  #isCheckArmed = false;
  #disarmCheck: Disarm = () => {};
  /** Ids whose MGET is under way, with its number; a message takes its id out. */
  #asked = new Map<string, number>();
  #askNumber = 0;
  readonly #flushNow = () => {
    this.#isScheduled = false;
    this.#flush();
  };
  readonly #onMessage = (message: string | Buffer, channel: string | Buffer) => {
    const key = typeof channel === "string" ? channel : channel.toString("utf8");
    const id = key.slice(this.#host.taskPrefix.length);
    if (this.#asked.size > 0) this.#asked.delete(id);
    this.watchers.deliver(id, message);
  };

  constructor(host: RedisWatchHost) {
    this.#host = host;
    this.watchers = new Watchers({
      onFirst: (ids) => this.#want(ids),
      // It is subscribed to and asked for already, or is about to be: whatever comes is told to all who wait by then.
      onMore: () => {},
      onLast: (id) => this.#unwant(id),
      decode: host.decode,
    });
  }

  /** The connection is gone: dials again where anybody waits. */
  onLost(): void {
    this.#asked.clear();
    this.#toUnsubscribe.clear();
    const nowMs = this.#host.world.clock.monoMs();
    this.#losses = nowMs - this.#lostMs < STEADY_MS ? this.#losses + 1 : 1;
    this.#lostMs = nowMs;
    this.#wasLost = true;
    if (this.watchers.size > 0) this.#reconnect();
  }

  /** News of these channels may have been missed: what is stored is asked for. */
  onMissed(channels: readonly string[]): void {
    const link = this.#host.live();
    if (link === null || this.#isClosed) return;
    const ids = channels.map((channel) => channel.slice(this.#host.taskPrefix.length));
    this.#ask(link, ids.filter((id) => this.watchers.has(id)));
  }

  /**
   * News can be missed in silence: while a shard of a cluster has a new master, by a proxy before the server that has
   * another server now, by a worker that may store and not publish. So now and then what is waited for is asked for,
   * which finds a new master too.
   */
  #armCheck(isInOrder: boolean): void {
    if (this.#isCheckArmed || this.#isClosed) return;
    this.#isCheckArmed = true;
    const { clock } = this.#host.world;
    this.#disarmCheck = clock.arm(clock.monoMs() + (isInOrder ? CHECK_MS : CHECK_SEVERAL_MS), () => {
      this.#isCheckArmed = false;
      if (this.watchers.size === 0) return;
      const link = this.#host.live();
      if (link !== null) this.#ask(link, this.watchers.ids());
      this.#armCheck(link?.isInOrder ?? isInOrder);
    });
  }

  /** Ends every wait. */
  close(): void {
    this.#isClosed = true;
    this.#disarmCheck();
    this.#closing.abort();
    this.watchers.close();
  }

  #want(ids: readonly string[]): void {
    for (const id of ids) this.#toSubscribe.add(id);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // node-redis itself writes at the end of the turn, so a microtask loses no batching.
    queueMicrotask(this.#flushNow);
  }

  #unwant(id: string): void {
    this.#asked.delete(id);
    // Not subscribed yet: then there is nothing to undo.
    if (this.#toSubscribe.delete(id)) return;
    if (this.#toUnsubscribe.size === 0) this.#host.world.clock.defer(() => this.#unsubscribe());
    this.#toUnsubscribe.add(id);
  }

  #flush(): void {
    // Subscribing with an answer on its way makes that answer a subscriber's: all is subscribed to after it.
    if (this.#isClosed || this.#isReconnecting || this.#toSubscribe.size === 0) return;
    const link = this.#host.live();
    if (!link) {
      this.#reconnect();
      return;
    }
    const fresh = [...this.#toSubscribe];
    this.#toSubscribe.clear();
    // Still subscribed from before.
    for (const id of fresh) this.#toUnsubscribe.delete(id);
    this.#subscribe(link, fresh);
  }

  #subscribe(link: RedisLink, ids: readonly string[]): void {
    for (let at = 0; at < ids.length; at += SUBSCRIBE_MAX) {
      const part = ids.slice(at, at + SUBSCRIBE_MAX);
      const keys = part.map((id) => this.#host.taskPrefix + id);
      const subscribed = link.subscriber.subscribe(keys, this.#onMessage, this.#host.isBinary);
      if (link.isInOrder) {
        subscribed.catch((error) => this.#isRefused(error));
        this.#ask(link, part);
      } else subscribed.then(() => this.#ask(link, part), (error) => this.#isRefused(error));
    }
    this.#armCheck(link.isInOrder);
  }

  /**
   * Whether the server refuses what the waits need, for good: then they end with its words. What passes is tried again,
   * and a connection that is lost tells of it itself.
   */
  #isRefused(thrown: unknown): boolean {
    const error = this.#host.explain(thrown);
    if (this.#isClosed || isRetryable(error)) return false;
    this.watchers.fail(error);
    return true;
  }

  #ask(link: RedisLink, ids: readonly string[]): void {
    for (let at = 0; at < ids.length; at += SUBSCRIBE_MAX) {
      this.#askPart(link, ids.slice(at, at + SUBSCRIBE_MAX));
    }
  }

  #askPart(link: RedisLink, ids: readonly string[]): void {
    const number = ++this.#askNumber;
    const args = ["MGET"];
    for (const id of ids) {
      this.#asked.set(id, number);
      args.push(this.#host.taskPrefix + id);
    }
    link.client.sendCommand(args, this.#host.isBinary ? AS_BYTES : AS_TEXT).then((reply) => {
      const documents = reply as (string | Buffer | null)[];
      for (let n = 0; n < ids.length; n++) {
        const id = ids[n]!;
        if (this.#asked.get(id) !== number) continue;
        this.#asked.delete(id);
        const document = documents[n];
        if (document !== null && document !== undefined) this.watchers.deliver(id, document);
      }
    }, (error) => {
      // A lost connection asks again after it is back. A server that refuses one MGET (loading) would not: so
      // the connection is looked at, and where it lives the same ids are asked again a moment later.
      if (this.#isRefused(error) || this.#host.live() !== link || this.#isClosed) return;
      const { clock } = this.#host.world;
      clock.arm(clock.monoMs() + 250, () => {
        if (this.#host.live() === link) this.#ask(link, ids.filter((id) => this.watchers.has(id)));
      });
    });
  }

  #unsubscribe(): void {
    const ids = [...this.#toUnsubscribe];
    this.#toUnsubscribe.clear();
    const link = this.#host.live();
    if (!link || ids.length === 0) return;
    const keys = ids.map((id) => this.#host.taskPrefix + id);
    // Where it fails the connection is gone, and the subscription with it.
    link.subscriber.unsubscribe(keys, this.#onMessage, this.#host.isBinary).catch(() => {});
  }

  #reconnect(): void {
    if (this.#isReconnecting || this.#isClosed) return;
    this.#isReconnecting = true;
    this.#resume().then((link) => {
      this.#isReconnecting = false;
      this.#toSubscribe.clear();
      if (this.#isClosed || this.watchers.size === 0) return;
      if (this.#host.live() === link) this.#subscribe(link, this.watchers.ids());
      else this.#reconnect();
    }, (error) => {
      this.#isReconnecting = false;
      this.#toSubscribe.clear();
      if (!this.#isClosed) this.watchers.fail(error);
    });
  }

  /** Dials and tells what is stored; the connection, where nothing is subscribed to yet. */
  async #resume(): Promise<RedisLink> {
    if (this.#losses > 1) {
      const pauseMs = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** (this.#losses - 2));
      await this.#host.world.clock.sleep(pauseMs, this.#closing.signal);
    }
    const link = await this.#host.reconnect();
    if (!this.#wasLost) return link;
    this.#wasLost = false;
    const ids = this.watchers.ids();
    for (let at = 0; at < ids.length; at += SUBSCRIBE_MAX) {
      const part = ids.slice(at, at + SUBSCRIBE_MAX);
      const keys = part.map((id) => this.#host.taskPrefix + id);
      let documents: (string | Buffer | null)[];
      try {
        documents = await link.client.sendCommand(
          ["MGET", ...keys],
          this.#host.isBinary ? AS_BYTES : AS_TEXT,
        ) as typeof documents;
      } catch {
        // Refused or cut: the MGET behind the subscription asks again.
        return link;
      }
      part.forEach((id, n) => {
        const document = documents[n];
        if (document !== null && document !== undefined) this.watchers.deliver(id, document);
      });
    }
    return link;
  }
}
