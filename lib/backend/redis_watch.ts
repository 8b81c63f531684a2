/**
 * Waiting for results on Redis: every awaited id of a backend on one multiplexed subscription.
 *
 * SUBSCRIBE and MGET leave together. On one RESP3 connection the server processes them in that order, so no
 * result is missed between them; on two connections, and on a cluster, MGET waits for the subscription. A
 * document that arrives as a message is newer than the reply to an MGET that was sent before.
 *
 * The server disconnects a subscriber with more than 32 MB of pending output (client-output-buffer-limit
 * pubsub): for one large result, or many at once. So after a loss the stored results are read before anything
 * is subscribed again, and connections that are lost in quick succession are dialled with growing pauses.
 *
 * Source: celery 5.2.6 backends/redis.py ResultConsumer.
 */

import type { Buffer } from "node:buffer";
import { type Disarm, isRetryable, type World } from "../base/mod.ts";
import type { ResultMeta } from "../wire/mod.ts";
import { AS_BYTES, AS_TEXT, type RedisLink } from "./redis_link.ts";
import { Watchers } from "./watchers.ts";

/** The backend, as the subscription sees it. */
export interface RedisWatchHost {
  readonly world: World;
  /** Whether documents are bytes. */
  readonly isBinary: boolean;
  /** Prefix of a task's key; the channel is the key. */
  readonly taskPrefix: string;
  decode(document: string | Uint8Array): ResultMeta;
  /** The live connection, or null. */
  live(): RedisLink | null;
  /** Dials, with the retries of the settings; rejects when they are used up. */
  reconnect(): Promise<RedisLink>;
  /** Converts an error to one of ours; drops the connection if the server is no longer the master. */
  explain(error: unknown): Error;
}

/** Most channels of one SUBSCRIBE, and ids of its MGET. */
const SUBSCRIBE_MAX = 1000;
/** A connection that lasted so long, milliseconds, was not cut because of our requests. */
const STEADY_MS = 3000;
/** Pause between two periodic reads of awaited results, milliseconds: on one connection, and on several. */
const CHECK_MS = 30_000;
const CHECK_SEVERAL_MS = 5000;
/** The first pause after two losses within STEADY_MS, and the longest one, milliseconds. */
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
  /** Ids whose MGET is under way, with its number; a message removes its id. */
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
      onFirst: (ids) => this.#subscribeSoon(ids),
      // The ids are subscribed and asked for already, or are about to be: a document is delivered to all
      // watches of that time.
      onMore: () => {},
      onLast: (id) => this.#unsubscribeSoon(id),
      decode: host.decode,
    });
  }

  /** Handles the loss of the connection: dials again if anybody waits. */
  onLost(): void {
    this.#asked.clear();
    this.#toUnsubscribe.clear();
    const nowMs = this.#host.world.clock.monoMs();
    this.#losses = nowMs - this.#lostMs < STEADY_MS ? this.#losses + 1 : 1;
    this.#lostMs = nowMs;
    this.#wasLost = true;
    if (this.watchers.size > 0) this.#reconnect();
  }

  /** Reads the stored results of channels whose messages may have been missed. */
  onMissed(channels: readonly string[]): void {
    const link = this.#host.live();
    if (link === null || this.#isClosed) return;
    const ids = channels.map((channel) => channel.slice(this.#host.taskPrefix.length));
    this.#ask(link, ids.filter((id) => this.watchers.has(id)));
  }

  /**
   * Arms the periodic read of awaited results. Messages can be missed unnoticed: when a cluster's shard gets
   * a new master, when a proxy switches to another server, or if a worker may store but not publish. The read
   * also finds a new master.
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

  #subscribeSoon(ids: readonly string[]): void {
    for (const id of ids) this.#toSubscribe.add(id);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // node-redis itself writes at the end of the turn, so a microtask loses no batching.
    queueMicrotask(this.#flushNow);
  }

  #unsubscribeSoon(id: string): void {
    this.#asked.delete(id);
    // An id that is not subscribed yet needs no UNSUBSCRIBE.
    if (this.#toSubscribe.delete(id)) return;
    if (this.#toUnsubscribe.size === 0) this.#host.world.clock.defer(() => this.#unsubscribe());
    this.#toUnsubscribe.add(id);
  }

  #flush(): void {
    // `#resume` is reading stored results, and a subscription would put its reply under a subscriber's output
    // limit: everything is subscribed after it.
    if (this.#isClosed || this.#isReconnecting || this.#toSubscribe.size === 0) return;
    const link = this.#host.live();
    if (!link) {
      this.#reconnect();
      return;
    }
    const fresh = [...this.#toSubscribe];
    this.#toSubscribe.clear();
    // These ids are still subscribed.
    for (const id of fresh) this.#toUnsubscribe.delete(id);
    this.#subscribe(link, fresh);
  }

  #subscribe(link: RedisLink, ids: readonly string[]): void {
    for (let at = 0; at < ids.length; at += SUBSCRIBE_MAX) {
      const part = ids.slice(at, at + SUBSCRIBE_MAX);
      const keys = part.map((id) => this.#host.taskPrefix + id);
      const subscribed = link.subscriber.subscribe(keys, this.#onMessage, this.#host.isBinary);
      if (link.isInOrder) {
        subscribed.catch((error) => this.#failIfFinal(error));
        this.#ask(link, part);
      } else subscribed.then(() => this.#ask(link, part), (error) => this.#failIfFinal(error));
    }
    this.#armCheck(link.isInOrder);
  }

  /**
   * Ends all waits with an error that is final, and returns whether it is. A temporary error is tried again,
   * and `onLost` reports a lost connection.
   */
  #failIfFinal(thrown: unknown): boolean {
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
      // After a reconnect everything is asked for again. After an MGET that the server refused (it is
      // loading) nothing is, so if the connection still lives, the same ids are asked for again a moment
      // later.
      if (this.#failIfFinal(error) || this.#host.live() !== link || this.#isClosed) return;
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
    // If it fails, the connection is lost, and the subscription with it.
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

  /** Dials and delivers the stored results; resolves with the connection, which has no subscriptions yet. */
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
        // Refused, or the connection is lost: the MGET after the subscription asks again.
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
