/**
 * The Redis result store, laid out exactly as Celery does, so that Python workers and clients share it.
 *
 * | key | what |
 * |---|---|
 * | `celery-task-meta-<task id>` | the result document; each change is published on the channel of the same name |
 * | `celery-taskset-meta-<group id>` | a saved group |
 * | … `.j`, `.t`, `.s` | a chord's finished members, growth and size |
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend, backends/base.py BaseKeyValueStoreBackend.
 */

import {
  atMost,
  errorText,
  humanizeSeconds,
  isRetryable,
  LogThrottle,
  OperatingError,
  UsageError,
  type World,
} from "../base/mod.ts";
import { decodeResultMeta, loadSerializer, type ResultMeta } from "../wire/mod.ts";
import {
  type Backend,
  type BackendOptions,
  type ChordMember,
  type ChordPart,
  type CompleteHeader,
  type ResultRecord,
  type Watch,
} from "./backend.ts";
import {
  decodeGroup,
  encodeChordMember,
  encodeGroup,
  ENDED,
  ENDED_SECONDS,
  headerMembers,
  isTextSerializer,
} from "./chord.ts";
import { type StoreDone, StoreQueue } from "./queue.ts";
import type { Argument, RedisClient } from "./node_redis.ts";
import { argument, AS_BYTES, AS_TEXT, type RedisLink, RedisLinks } from "./redis_link.ts";
import {
  type ChordCount,
  countByScript,
  type Counted,
  countPlainly,
  headerDocuments,
} from "./redis_chord.ts";
import { redisStoreOptions } from "./redis_options.ts";
import { RedisWatch } from "./redis_watch.ts";
import { RedisWriter } from "./redis_writer.ts";
import { type RetryPolicy, retryPolicy } from "./retry.ts";

/** The largest string of Redis. */
const DOCUMENT_BYTES_MAX = 536_870_912;
const TOO_LARGE = "value too large for Redis backend";
const RETRY_LIMIT =
  "Retry limit exceeded while trying to reconnect to the Celery redis result store backend. " +
  "The Celery application must be restarted.";
/** Least time between two lines about a lost connection, milliseconds. */
const LINE_EVERY_MS = 1000;
/** How long `close` waits for appended results, milliseconds. */
const CLOSE_WAIT_MS = 5000;
/** Most keys of one MGET. */
const MGET_MAX = 1000;

/** The store on Redis. */
export class RedisBackend implements Backend {
  readonly kind = "redis" as const;
  readonly url: string;
  readonly countsChords = true;
  readonly expiresByItself = true;
  readonly replyTo = null;
  readonly #world: World;
  readonly #options: BackendOptions;
  readonly #links: RedisLinks;
  readonly #queue: StoreQueue;
  readonly #writer: RedisWriter;
  readonly #watch: RedisWatch;
  readonly #policy: RetryPolicy;
  readonly #lostLine: LogThrottle;
  readonly #taskPrefix: string;
  readonly #groupPrefix: string;
  /** Whole seconds as text; null: for ever. */
  readonly #ttl: string | null;
  /** Whether the server is a cluster, which places a key by its hash tag. */
  readonly #isCluster: boolean;
  readonly #isBinary: boolean;
  readonly #isOrdered: boolean;
  readonly #closing = new AbortController();
  #closed: Promise<void> | null = null;

  /** Does no I/O; use `open`. */
  constructor(world: World, url: string, options: BackendOptions) {
    this.#world = world;
    this.#options = options;
    const place = redisStoreOptions(world, url, options);
    this.url = place.shownUrl;
    this.#policy = retryPolicy(options, world.random);
    this.#lostLine = new LogThrottle(world, { everyMs: LINE_EVERY_MS });
    const prefix = globalPrefix(options.transportOptions["global_keyprefix"]);
    this.#taskPrefix = `${prefix}celery-task-meta-`;
    this.#groupPrefix = `${prefix}celery-taskset-meta-`;
    this.#isCluster = place.server.place.kind === "cluster";
    this.#ttl = options.expiresSeconds ? String(Math.max(1, Math.trunc(options.expiresSeconds))) : null;
    this.#isBinary = !isTextSerializer(options.serializer);
    this.#isOrdered = options.transportOptions["result_chord_ordered"] !== false;
    this.#links = new RedisLinks(world, place, {
      onLost: () => this.#watch.onLost(),
      onMissed: (channels) => this.#watch.onMissed(channels),
    });
    this.#writer = new RedisWriter({
      world,
      links: this.#links,
      taskPrefix: this.#taskPrefix,
      ttl: this.#ttl,
      isCluster: this.#isCluster,
      isBinary: this.#isBinary,
      socketTimeoutMs: place.socketTimeoutMs,
      decode: (document) => decodeResultMeta(document, this.#options),
    });
    this.#queue = new StoreQueue({
      clock: world.clock,
      log: world.log,
      policy: this.#policy,
      // node-redis writes at the end of the turn, so a microtask loses no batching and saves a turn of the loop.
      schedule: (fn) => queueMicrotask(fn),
      write: (records) => this.#writer.write(records),
      serializer: options.serializer,
      onRetry: (_error, retry, delayMs) => this.#logLost(retry, delayMs),
    });
    this.#watch = new RedisWatch({
      world,
      isBinary: this.#isBinary,
      taskPrefix: this.#taskPrefix,
      decode: (document) => decodeResultMeta(document, this.#options),
      live: () => this.#links.live,
      reconnect: () => this.#reconnect(),
      explain: (error) => this.#links.explain(error),
    });
  }

  /**
   * Opens the store, and begins to load the client and to connect in the background. Rejects with UsageError
   * for a wrong URL; if the server cannot be reached, the first call that needs it rejects.
   */
  static async open(world: World, url: string, options: BackendOptions): Promise<RedisBackend> {
    const backend = new RedisBackend(world, url, options);
    await loadSerializer(options.serializer);
    // The next call that needs the connection dials again and reports the failure.
    backend.#links.open().catch(() => {});
    return backend;
  }

  store(record: ResultRecord, done: StoreDone | null): void {
    if (record.document.length > DOCUMENT_BYTES_MAX) {
      const error = new OperatingError(`Cannot store the result of task ${record.taskId}: ${TOO_LARGE}`);
      this.#world.log.error(error.message);
      done?.(error);
      this.#queue.appendReplacement(record, error);
      return;
    }
    this.#queue.append(record, done);
  }

  get isCongested(): boolean {
    return this.#queue.isCongested;
  }

  flush(): Promise<void> {
    return this.#queue.flush();
  }

  async fetch(taskId: string): Promise<ResultMeta | null> {
    const reply = await this.#read((client) =>
      client.sendCommand(["GET", this.#taskPrefix + taskId], this.#as)
    );
    return reply === null ? null : decodeResultMeta(reply as string | Uint8Array, this.#options);
  }

  async fetchMany(ids: readonly string[], isCarried = false): Promise<(ResultMeta | null)[]> {
    const metas: (ResultMeta | null)[] = [];
    for (let at = 0; at < ids.length; at += MGET_MAX) {
      const keys = ids.slice(at, at + MGET_MAX).map((id) => this.#taskPrefix + id);
      const reply = await this.#read((client) => client.sendCommand(["MGET", ...keys], this.#as));
      for (const document of reply as (string | Uint8Array | null)[]) {
        metas.push(document === null ? null : decodeResultMeta(document, this.#options, isCarried));
      }
    }
    return metas;
  }

  watch(ids: readonly string[], onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void): Watch {
    return this.#watch.watchers.open(ids, onMeta, onError);
  }

  async forget(taskId: string): Promise<void> {
    await this.#do((client) => client.sendCommand(["DEL", this.#taskPrefix + taskId]));
  }

  /** Stores and publishes `{"result": tuple}`. */
  async saveGroup(groupId: string, tuple: string): Promise<void> {
    const document = argument(encodeGroup(tuple, this.#options.serializer));
    await this.#save(this.#groupKey(groupId), document);
  }

  async fetchGroup(groupId: string): Promise<string | null> {
    const reply = await this.#read((client) =>
      client.sendCommand(["GET", this.#groupKey(groupId)], this.#as)
    );
    return reply === null ? null : decodeGroup(reply as string | Uint8Array, this.#options);
  }

  async deleteGroup(groupId: string): Promise<void> {
    await this.#do((client) => client.sendCommand(["DEL", this.#groupKey(groupId)]));
  }

  async startChord(groupId: string, size: number): Promise<void> {
    await this.#save(`${this.#groupKey(groupId)}.s`, String(size));
  }

  /** Adds to `.t`. It is not tried again, since that could count twice. */
  async growChord(groupId: string, by: number): Promise<void> {
    const key = `${this.#groupKey(groupId)}.t`;
    const link = await this.#openWithRetries();
    try {
      await Promise.all([
        link.client.sendCommand(["INCRBY", key, String(by)]),
        this.#ttl === null ? null : link.client.sendCommand(["EXPIRE", key, this.#ttl]),
        link.client.replicated([key]),
      ]);
    } catch (error) {
      throw this.#links.explain(error);
    }
  }

  /**
   * Counts members in Celery's keys. It is one script, so that a member counted again with another result
   * replaces its first result. The key `.o`, which Python never reads, has the task that completed the
   * header: only that task, run again after a crash, gets the members a second time.
   */
  async countChordParts(parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]> {
    if (parts.length === 0) return [];
    const counts = parts.map((part) => this.#countOf(part));
    const replies = await this.#do(async (client) => {
      const counted = await this.#count(client, counts);
      await client.replicated(counts.map(({ key }) => key));
      return counted;
    });
    const complete: CompleteHeader[] = [];
    replies.forEach((number, n) => {
      const part = parts[n]!;
      if (number !== null) complete.push({ part, members: () => this.#members(part.groupId, number) });
    });
    return complete;
  }

  #countOf(part: ChordPart): ChordCount {
    return {
      key: this.#groupKey(part.groupId),
      taskId: part.taskId,
      index: part.groupIndex,
      member: argument(encodeChordMember(part, this.#options.serializer)),
      isOrdered: this.#isOrdered,
      ttl: this.#ttl,
    };
  }

  async #members(groupId: string, number: number): Promise<ChordMember[] | null> {
    const header = { key: this.#groupKey(groupId), isOrdered: this.#isOrdered };
    const documents = await this.#read((client) => headerDocuments(client, header, this.#as));
    // Another process counted the last member again, and has ended the chord already.
    if (documents.length < number) return null;
    return await headerMembers(this, groupId, documents, this.#options, this.#world.clock);
  }

  /** Deletes the counters, and records in `.o` for ENDED_SECONDS that the chord has ended. */
  async endChord(groupId: string): Promise<void> {
    const key = this.#groupKey(groupId);
    await this.#do((client) =>
      Promise.all([
        client.sendCommand(["SETEX", `${key}.o`, String(ENDED_SECONDS), ENDED]),
        client.sendCommand(["DEL", `${key}.j`, `${key}.t`, `${key}.s`]),
      ])
    );
  }

  /** No effect: keys expire by themselves. */
  cleanup(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await atMost(this.#world.clock, CLOSE_WAIT_MS, this.#queue.flush());
    this.#closing.abort(new OperatingError("The result store is closed"));
    this.#watch.close();
    this.#queue.close();
    this.#writer.close();
    this.#links.close();
  }

  async #save(key: string, document: Argument): Promise<void> {
    await this.#do((client) => this.#writer.save(client, key, document));
  }

  /**
   * Returns the key of a group. The keys of its chord begin with it, and are all in the group's slot on a
   * cluster.
   */
  #groupKey(groupId: string): string {
    return this.#groupPrefix + (this.#isCluster ? `{${groupId}}` : groupId);
  }

  get #as(): typeof AS_TEXT {
    return this.#isBinary ? AS_BYTES : AS_TEXT;
  }

  /** Counts by script, or with Celery's own commands if the server refuses scripts. */
  async #count(client: RedisClient, counts: readonly ChordCount[]): Promise<Counted[]> {
    if (this.#writer.canScript) {
      try {
        return await countByScript(client, counts, this.#isCluster);
      } catch (thrown) {
        const error = this.#links.explain(thrown);
        if (isRetryable(error)) throw error;
        if (!this.#writer.scriptRefused(error)) throw error;
      }
    }
    return await Promise.all(counts.map((count) => countPlainly(client, count)));
  }

  // The control lane: connecting and trying again.

  /** Runs an idempotent operation, with the retries of the settings. */
  #do<T>(run: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.#attempt(run, this.#policy.maxRetries);
  }

  /**
   * Runs a read: with one retry, for a connection that broke while idle, or all if
   * `result_backend_always_retry` is on.
   */
  #read<T>(run: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.#attempt(run, this.#options.alwaysRetry ? this.#policy.maxRetries : 1, true);
  }

  async #attempt<T>(
    run: (client: RedisClient) => Promise<T>,
    maxRetries: number,
    isRead = false,
  ): Promise<T> {
    for (let retry = 0;; retry++) {
      let isDialing = false;
      try {
        // The server disconnects a subscriber for a reply above its limit (32 MB): the retry uses a
        // connection without subscriptions.
        if (isRead && retry > 0 && this.#watch.watchers.size > 0) return await this.#links.apart(run);
        isDialing = this.#links.live === null;
        const link = this.#links.live ?? await this.#links.open();
        isDialing = false;
        return await run(link.client);
      } catch (thrown) {
        const error = this.#links.explain(thrown);
        // An unreachable store is reported after one timeout: there was no connection that could have broken.
        const limit = isRead && isDialing && !this.#options.alwaysRetry ? 0 : maxRetries;
        if (retry >= limit || !(error instanceof OperatingError) || !error.isRetryable) throw error;
        const delayMs = this.#policy.delayMs(retry);
        if (retry > 0) this.#logLost(retry, delayMs);
        await this.#world.clock.sleep(delayMs, this.#closing.signal);
      }
    }
  }

  async #openWithRetries(): Promise<RedisLink> {
    await this.#attempt(() => Promise.resolve(), this.#policy.maxRetries);
    return this.#links.live ?? await this.#links.open();
  }

  /**
   * Dials for waits, with the retries of the settings. After the last it logs Celery's line, and rejects with
   * that line and the reason.
   */
  async #reconnect(): Promise<RedisLink> {
    try {
      const link = await this.#openWithRetries();
      this.#queue.wake();
      return link;
    } catch (error) {
      if (!this.#closing.signal.aborted && isRetryable(error)) {
        this.#world.log.critical(RETRY_LIMIT);
        throw new OperatingError(`${RETRY_LIMIT} (${errorText(error)})`, { cause: error });
      }
      throw error;
    }
  }

  #logLost(retry: number, delayMs: number): void {
    const { maxRetries } = this.#policy;
    const when = humanizeSeconds(delayMs / 1000, "in ");
    this.#lostLine.log(
      "ERROR",
      `Connection to Redis lost: Retry (${retry}/${maxRetries === Infinity ? "Inf" : maxRetries}) ${when}.`,
    );
  }
}

/** Returns the user's prefix, with `_` after it unless it ends in `:`, `_`, `-` or `.`. */
function globalPrefix(given: unknown): string {
  if (given === undefined || given === null || given === "") return "";
  if (typeof given !== "string") {
    throw new UsageError(
      'Cannot use result_backend_transport_options["global_keyprefix"]: it must be a string',
    );
  }
  return /[:_.-]$/.test(given) ? given : `${given}_`;
}
