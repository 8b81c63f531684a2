/**
 * The Redis result store, laid out exactly as Celery does, so that Python workers and clients share it.
 *
 * | key | what |
 * |---|---|
 * | `celery-task-meta-<task id>` | the result document; the channel of the same name tells of each change |
 * | `celery-taskset-meta-<group id>` | a saved group |
 * | … `.j`, `.t`, `.s` | a chord's finished members, growth and size |
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend, backends/base.py BaseKeyValueStoreBackend.
 */

import {
  atMost,
  type Disarm,
  errorText,
  OperatingError,
  ServerError,
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
  mustStay,
  type ResultRecord,
  type Watch,
} from "./backend.ts";
import { decodeGroup, encodeChordMember, encodeGroup, headerMembers, isTextSerializer } from "./chord.ts";
import { type BatchResult, RareLine, type StoreDone, StoreQueue } from "./queue.ts";
import type { Argument, NodeRedis } from "./node_redis.ts";
import { argument, AS_BYTES, AS_TEXT, type RedisLink, RedisLinks } from "./redis_link.ts";
import {
  type ChordCount,
  countByScript,
  type Counted,
  countPlainly,
  headerDocuments,
} from "./redis_chord.ts";
import { STORE_SCRIPT } from "./redis_scripts.ts";
import { readRedisPlace } from "./redis_url.ts";
import { RedisWatch } from "./redis_watch.ts";
import { type RetryPolicy, retryPolicy } from "./retry.ts";

/** The largest string of Redis. */
const DOCUMENT_BYTES_MAX = 536_870_912;
const TOO_LARGE = "value too large for Redis backend";
const RETRY_LIMIT =
  "Retry limit exceeded while trying to reconnect to the Celery redis result store backend. " +
  "The Celery application must be restarted.";
/** Least time between two lines about a lost connection, milliseconds. */
const LINE_EVERY_MS = 1000;
/** How long `close` waits for what was appended, milliseconds. */
const CLOSE_WAIT_MS = 5000;
/** How long a batch of results waits for its answer before another connection is tried. */
const ANSWER_MS = 10_000;
/** Keys of one MGET. */
const MGET_MAX = 1000;

/** The store. */
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
  readonly #watch: RedisWatch;
  readonly #policy: RetryPolicy;
  readonly #lostLine: RareLine;
  readonly #taskPrefix: string;
  readonly #groupPrefix: string;
  /** Whole seconds as text; null: for ever. */
  readonly #ttl: string | null;
  readonly #isBinary: boolean;
  readonly #isOrdered: boolean;
  readonly #closing = new AbortController();
  readonly #answerMs: number;
  /** The batch that is written now; there is one at a time. */
  #unanswered: { readonly link: RedisLink; readonly dueMs: number } | null = null;
  #disarmAnswer: Disarm | null = null;
  #canScript = true;
  #closed: Promise<void> | null = null;

  /** Does no I/O; use `open`. */
  constructor(world: World, url: string, options: BackendOptions) {
    this.#world = world;
    this.#options = options;
    const place = readRedisPlace(url, options);
    this.url = place.shownUrl;
    this.#policy = retryPolicy(options, world.random);
    this.#lostLine = new RareLine(world.clock, world.log, LINE_EVERY_MS);
    const prefix = globalPrefix(options.transportOptions["global_keyprefix"]);
    this.#taskPrefix = `${prefix}celery-task-meta-`;
    this.#groupPrefix = `${prefix}celery-taskset-meta-`;
    this.#ttl = options.expiresSeconds ? String(Math.max(1, Math.trunc(options.expiresSeconds))) : null;
    this.#isBinary = !isTextSerializer(options.serializer);
    this.#isOrdered = options.transportOptions["result_chord_ordered"] !== false;
    this.#answerMs = Math.min(place.socketTimeoutMs ?? Infinity, ANSWER_MS);
    this.#links = new RedisLinks(world, place, () => this.#watch.onLost());
    this.#queue = new StoreQueue({
      clock: world.clock,
      log: world.log,
      policy: this.#policy,
      // node-redis writes at the end of the turn, so a microtask loses no batching and saves a turn of the loop.
      schedule: (fn) => queueMicrotask(fn),
      write: (records) => this.#write(records),
      onRetry: (_error, retry, delayMs) => this.#sayLost(retry, delayMs),
    });
    this.#watch = new RedisWatch({
      world,
      isBinary: this.#isBinary,
      taskPrefix: this.#taskPrefix,
      decode: (document) => this.#decode(document),
      live: () => this.#links.live,
      reconnect: () => this.#reconnect(),
    });
  }

  /**
   * Makes the store and begins to load the client and to connect, both behind the caller's back. Throws UsageError
   * for a wrong URL; a server that cannot be reached is told by the first call that needs it.
   */
  static async open(world: World, url: string, options: BackendOptions): Promise<RedisBackend> {
    const backend = new RedisBackend(world, url, options);
    await loadSerializer(options.serializer);
    // Whoever needs the connection dials again and hears of the failure then.
    backend.#links.open().catch(() => {});
    return backend;
  }

  /** Appends a result. Data lane, per message; leaves with the next batch. */
  store(record: ResultRecord, done: StoreDone | null): void {
    if (record.document.length > DOCUMENT_BYTES_MAX) {
      const error = new OperatingError(`Cannot store the result of task ${record.taskId}: ${TOO_LARGE}`);
      this.#world.log.error(error.message);
      done?.(error);
      return;
    }
    this.#queue.append(record, done);
  }

  /** True when a quarter of what may wait does. */
  get isCongested(): boolean {
    return this.#queue.isCongested;
  }

  /** Resolves when everything appended so far is stored or given up. */
  flush(): Promise<void> {
    return this.#queue.flush();
  }

  /** GET and decode. */
  async fetch(taskId: string): Promise<ResultMeta | null> {
    const reply = await this.#read((client) =>
      client.sendCommand(["GET", this.#taskPrefix + taskId], this.#as)
    );
    return reply === null ? null : this.#decode(reply as string | Uint8Array);
  }

  /** MGET, in parts. */
  async fetchMany(ids: readonly string[]): Promise<(ResultMeta | null)[]> {
    const metas: (ResultMeta | null)[] = [];
    for (let at = 0; at < ids.length; at += MGET_MAX) {
      const keys = ids.slice(at, at + MGET_MAX).map((id) => this.#taskPrefix + id);
      const reply = await this.#read((client) => client.sendCommand(["MGET", ...keys], this.#as));
      for (const document of reply as (string | Uint8Array | null)[]) {
        metas.push(document === null ? null : this.#decode(document));
      }
    }
    return metas;
  }

  /** Waits on the one subscription of this store. */
  watch(ids: readonly string[], onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void): Watch {
    return this.#watch.watchers.open(ids, onMeta, onError);
  }

  /** DEL. */
  async forget(taskId: string): Promise<void> {
    await this.#do((client) => client.sendCommand(["DEL", this.#taskPrefix + taskId]));
  }

  /** SETEX and PUBLISH of `{"result": tuple}`. */
  async saveGroup(groupId: string, tuple: string): Promise<void> {
    const document = argument(encodeGroup(tuple, this.#options.serializer));
    await this.#do((client) => this.#set(client, this.#groupPrefix + groupId, document));
  }

  /** GET; the tuple as JSON text. */
  async fetchGroup(groupId: string): Promise<string | null> {
    const reply = await this.#read((client) =>
      client.sendCommand(["GET", this.#groupPrefix + groupId], this.#as)
    );
    return reply === null ? null : decodeGroup(reply as string | Uint8Array, this.#options);
  }

  /** DEL. */
  async deleteGroup(groupId: string): Promise<void> {
    await this.#do((client) => client.sendCommand(["DEL", this.#groupPrefix + groupId]));
  }

  /** Sets `.s`. */
  async startChord(groupId: string, size: number): Promise<void> {
    await this.#do((client) => this.#set(client, `${this.#groupPrefix}${groupId}.s`, String(size)));
  }

  /** Adds to `.t`; tried once, for a second try could count twice. */
  async growChord(groupId: string, by: number): Promise<void> {
    const key = `${this.#groupPrefix}${groupId}.t`;
    const link = await this.#openWithRetries();
    try {
      await Promise.all([
        link.client.sendCommand(["INCRBY", key, String(by)]),
        this.#ttl === null ? null : link.client.sendCommand(["EXPIRE", key, this.#ttl]),
      ]);
    } catch (error) {
      throw this.#links.explain(error);
    }
  }

  /**
   * Counts members in Celery's keys. The step is one script, so that a member that is counted again with another
   * result takes the place of its first one; who completed the header is kept beside it (`.o`, which Python never
   * reads): only that task, run again after a crash, gets the members a second time.
   */
  async countChordParts(parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]> {
    if (parts.length === 0) return [];
    const counts = parts.map((part) => this.#countOf(part));
    const replies = await this.#do((client) => this.#count(client, counts));
    const complete: CompleteHeader[] = [];
    replies.forEach((number, n) => {
      const part = parts[n]!;
      if (number !== null) complete.push({ part, members: () => this.#members(part.groupId, number) });
    });
    return complete;
  }

  #countOf(part: ChordPart): ChordCount {
    return {
      key: this.#groupPrefix + part.groupId,
      taskId: part.taskId,
      index: part.groupIndex,
      member: argument(encodeChordMember(part, this.#options.serializer)),
      isOrdered: this.#isOrdered,
      ttl: this.#ttl,
    };
  }

  async #members(groupId: string, number: number): Promise<ChordMember[] | null> {
    const header = { key: this.#groupPrefix + groupId, isOrdered: this.#isOrdered };
    const documents = await this.#read((client) => headerDocuments(client, header, this.#as));
    // Who counted the last one again, and was faster, has deleted them.
    if (documents.length < number) return null;
    return await headerMembers(this, groupId, documents, this.#options, this.#world.clock);
  }

  /** Deletes the counters. */
  async endChord(groupId: string): Promise<void> {
    const key = this.#groupPrefix + groupId;
    await this.#do((client) => client.sendCommand(["DEL", `${key}.j`, `${key}.t`, `${key}.s`, `${key}.o`]));
  }

  /** Keys expire by themselves. */
  cleanup(): Promise<void> {
    return Promise.resolve();
  }

  /** Stores what waits, for at most 5 s, and closes. Twice is once. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await atMost(this.#world.clock, CLOSE_WAIT_MS, this.#queue.flush());
    this.#closing.abort(new OperatingError("The result store is closed"));
    this.#watch.close();
    this.#queue.close();
    this.#disarmAnswer?.();
    this.#links.close();
  }

  get #as(): typeof AS_TEXT {
    return this.#isBinary ? AS_BYTES : AS_TEXT;
  }

  #decode(document: string | Uint8Array): ResultMeta {
    return decodeResultMeta(document, this.#options.serializer, this.#options.accept);
  }

  // Writing results: the data lane, per batch.

  async #write(records: readonly ResultRecord[]): Promise<BatchResult> {
    const link = this.#links.live ?? await this.#links.open();
    this.#unanswered = { link, dueMs: this.#world.clock.monoMs() + this.#answerMs };
    this.#disarmAnswer ??= this.#armAnswer(this.#unanswered.dueMs);
    try {
      const wanted = await this.#unguarded(link, records);
      if (wanted.length === 0) return null;
      // A single one is stored sooner without the script: Lua is what the server's caches hold least.
      if (wanted.length === 1 || !this.#canScript) return await this.#writePlainly(link, records, wanted);
      try {
        await link.client.sendCommand(this.#storeCommand(wanted));
        return null;
      } catch (thrown) {
        const error = this.#links.explain(thrown);
        if (!(error instanceof OperatingError) || error.isRetryable) throw error;
        // Refused as a whole: one by one, so that each record hears its own answer.
        this.#scriptRefused(error);
        return await this.#writePlainly(link, records, wanted);
      }
    } catch (thrown) {
      const error = this.#links.explain(thrown);
      if (error instanceof ServerError && error.code === "READONLY") {
        this.#links.drop("The server is read-only");
      }
      throw error;
    } finally {
      this.#unanswered = null;
    }
  }

  /**
   * A socket whose other side is gone without a word takes everything and answers nothing. One timer looks after all
   * writes, of which nearly every one is answered long before: one for each would cost as much as the rest of it.
   */
  #armAnswer(atMs: number): Disarm {
    const { clock } = this.#world;
    return clock.arm(atMs, () => {
      this.#disarmAnswer = null;
      if (this.#unanswered === null) return;
      const { link, dueMs } = this.#unanswered;
      if (clock.monoMs() < dueMs) this.#disarmAnswer = this.#armAnswer(dueMs);
      else if (this.#links.live === link) {
        this.#links.drop(`The server gave no answer in ${this.#answerMs / 1000} s`);
      }
    });
  }

  /** The records but for those whose task has a stored state that must stay. */
  async #unguarded(link: RedisLink, records: readonly ResultRecord[]): Promise<readonly ResultRecord[]> {
    let guarded = 0;
    for (let n = 0; n < records.length; n++) if (records[n]!.guard) guarded++;
    if (guarded === 0) return records;
    const asked = records.filter((record) => record.guard);
    const keys = asked.map((record) => this.#taskPrefix + record.taskId);
    const reply = await link.client.sendCommand(
      ["MGET", ...keys],
      this.#as,
    ) as (string | Uint8Array | null)[];
    const unwanted = new Set<ResultRecord>();
    reply.forEach((document, n) => {
      const stored = document === null ? null : this.#stateOf(document);
      if (stored !== null && mustStay(stored, asked[n]!.state)) unwanted.add(asked[n]!);
    });
    return unwanted.size === 0 ? records : records.filter((record) => !unwanted.has(record));
  }

  #stateOf(document: string | Uint8Array): string | null {
    try {
      return this.#decode(document).state;
    } catch {
      // What cannot be read cannot be a result worth keeping.
      return null;
    }
  }

  /** One EVAL for all: the client encodes each document once and awaits one reply (2 µs a result, against 5). */
  #storeCommand(records: readonly ResultRecord[]): Argument[] {
    const count = records.length;
    const prefix = this.#taskPrefix;
    const args: Argument[] = ["EVAL", STORE_SCRIPT, String(count)];
    for (let n = 0; n < count; n++) args.push(prefix + records[n]!.taskId);
    args.push(this.#ttl ?? "0");
    for (let n = 0; n < count; n++) {
      const document = records[n]!.document;
      args.push(typeof document === "string" ? document : argument(document));
    }
    return args;
  }

  /** SETEX and PUBLISH for each. The answer has a place for every record of the batch. */
  async #writePlainly(
    link: RedisLink,
    batch: readonly ResultRecord[],
    wanted: readonly ResultRecord[],
  ): Promise<BatchResult> {
    const settled = await Promise.allSettled(
      wanted.map((record) =>
        this.#set(link.client, this.#taskPrefix + record.taskId, argument(record.document))
      ),
    );
    const failures = new Map<ResultRecord, Error>();
    settled.forEach((outcome, n) => {
      if (outcome.status === "rejected") failures.set(wanted[n]!, this.#links.explain(outcome.reason));
    });
    if (failures.size === 0) return null;
    for (const error of failures.values()) {
      if (error instanceof OperatingError && error.isRetryable) throw error;
    }
    return batch.map((record) => failures.get(record) ?? null);
  }

  async #set(client: NodeRedis, key: string, document: Argument): Promise<void> {
    const set = this.#ttl === null ? ["SET", key, document] : ["SETEX", key, this.#ttl, document];
    const [stored, told] = await Promise.allSettled([
      client.sendCommand(set),
      client.sendCommand(["PUBLISH", key, document]),
    ]);
    if (stored.status === "rejected") throw stored.reason;
    if (told.status === "rejected") throw told.reason;
  }

  #scriptRefused(error: Error): void {
    const isForbidden = /NOPERM|unknown command|not allowed|no permissions/i.test(errorText(error));
    if (!isForbidden) return;
    this.#canScript = false;
    this.#world.log.info("The result store allows no scripts: results are written one by one");
  }

  /** Counts by script, or with Celery's own commands where scripts are refused. */
  async #count(client: NodeRedis, counts: readonly ChordCount[]): Promise<Counted[]> {
    if (this.#canScript) {
      try {
        return await countByScript(client, counts);
      } catch (thrown) {
        const error = this.#links.explain(thrown);
        if (error instanceof OperatingError && error.isRetryable) throw error;
        this.#scriptRefused(error);
        if (this.#canScript) throw error;
      }
    }
    return await Promise.all(counts.map((count) => countPlainly(client, count)));
  }

  // The control lane: connecting and trying again.

  /** Something that may be done twice, with the retries of the settings. */
  #do<T>(run: (client: NodeRedis) => Promise<T>): Promise<T> {
    return this.#attempt(run, this.#policy.maxRetries);
  }

  /** A read: one more try for a connection that broke while idle, and all retries only where asked for. */
  #read<T>(run: (client: NodeRedis) => Promise<T>): Promise<T> {
    return this.#attempt(run, this.#options.alwaysRetry ? this.#policy.maxRetries : 1);
  }

  async #attempt<T>(run: (client: NodeRedis) => Promise<T>, maxRetries: number): Promise<T> {
    for (let retry = 0;; retry++) {
      try {
        const link = this.#links.live ?? await this.#links.open();
        return await run(link.client);
      } catch (thrown) {
        const error = this.#links.explain(thrown);
        if (retry >= maxRetries || !(error instanceof OperatingError) || !error.isRetryable) throw error;
        if (error instanceof ServerError && error.code === "READONLY") {
          this.#links.drop("The server is read-only");
        }
        const delayMs = this.#policy.delayMs(retry);
        if (retry > 0) this.#sayLost(retry, delayMs);
        await this.#world.clock.sleep(delayMs, this.#closing.signal);
      }
    }
  }

  async #openWithRetries(): Promise<RedisLink> {
    await this.#attempt(() => Promise.resolve(), this.#policy.maxRetries);
    return this.#links.live ?? await this.#links.open();
  }

  /** For waits: dials with the retries of the settings; after the last, Celery's line and the reason. */
  async #reconnect(): Promise<RedisLink> {
    try {
      const link = await this.#openWithRetries();
      this.#queue.wake();
      return link;
    } catch (error) {
      if (!this.#closing.signal.aborted && error instanceof OperatingError && error.isRetryable) {
        this.#world.log.critical(RETRY_LIMIT);
        throw new OperatingError(`${RETRY_LIMIT} (${errorText(error)})`, { cause: error });
      }
      throw error;
    }
  }

  #sayLost(retry: number, delayMs: number): void {
    const { maxRetries } = this.#policy;
    const when = delayMs < 1000
      ? delayMs < 1 ? "now" : `in ${(delayMs / 1000).toFixed(2)} seconds`
      : `in ${(delayMs / 1000).toFixed(2)} second${delayMs === 1000 ? "" : "s"}`;
    this.#lostLine.error(
      `Connection to Redis lost: Retry (${retry}/${maxRetries === Infinity ? "Inf" : maxRetries}) ${when}.`,
    );
  }
}

/** A prefix given by the user, with `_` after it unless it ends in `:`, `_`, `-` or `.`. */
function globalPrefix(given: unknown): string {
  if (given === undefined || given === null || given === "") return "";
  if (typeof given !== "string") throw new UsageError("global_keyprefix is no text");
  return /[:_.-]$/.test(given) ? given : `${given}_`;
}
