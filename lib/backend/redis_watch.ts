/**
 * Waiting for results on Redis: every awaited id of a backend on one multiplexed subscription.
 *
 * SUBSCRIBE and MGET leave together. On one RESP3 connection their order is the server's order, so nothing falls
 * between them; on two connections MGET waits for the subscription. A document that came as a message is newer than
 * any that MGET asked for before.
 *
 * Source: celery 5.2.6 backends/redis.py ResultConsumer.
 */

import type { Buffer } from "node:buffer";
import type { World } from "../base/mod.ts";
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
}

/** Channels of one SUBSCRIBE, and ids of the MGET beside it. */
const SUBSCRIBE_MAX = 1000;

/** The subscription of one backend. */
export class RedisWatch {
  readonly #host: RedisWatchHost;
  readonly watchers: Watchers;
  #toSubscribe = new Set<string>();
  #toUnsubscribe = new Set<string>();
  #isScheduled = false;
  #isReconnecting = false;
  #isClosed = false;
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
    if (this.watchers.size > 0) this.#reconnect();
  }

  /** Tells nobody anything any more. */
  close(): void {
    this.#isClosed = true;
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
    if (this.#isClosed || this.#toSubscribe.size === 0) return;
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
      if (link.subscriber === link.client) {
        // A failure here is the connection's, which tells of it itself.
        subscribed.catch(() => {});
        this.#ask(link, part);
      } else subscribed.then(() => this.#ask(link, part), () => {});
    }
  }

  #ask(link: RedisLink, ids: readonly string[]): void {
    if (ids.length === 0) return;
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
    }, () => {
      // A lost connection asks again after it is back. A server that refuses one MGET (loading) would not: so
      // the connection is looked at, and where it lives the same ids are asked again a moment later.
      if (this.#host.live() !== link || this.#isClosed) return;
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
    this.#host.reconnect().then((link) => {
      this.#isReconnecting = false;
      this.#toSubscribe.clear();
      if (!this.#isClosed) this.#subscribe(link, this.watchers.ids());
    }, (error) => {
      this.#isReconnecting = false;
      this.#toSubscribe.clear();
      if (!this.#isClosed) this.watchers.fail(error);
    });
  }
}
