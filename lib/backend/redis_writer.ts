/**
 * Writes batches of results to Redis: by one script, or by SETEX and PUBLISH for each if the server refuses
 * scripts.
 */

import { type Disarm, errorText, isRetryable, OperatingError, type World } from "../base/mod.ts";
import { extraMs } from "../net/mod.ts";
import type { ResultMeta } from "../wire/mod.ts";
import { mustStay, type ResultRecord } from "./backend.ts";
import type { Argument, RedisClient } from "./node_redis.ts";
import type { BatchResult } from "./queue.ts";
import { argument, AS_BYTES, AS_TEXT, type RedisLink, type RedisLinks } from "./redis_link.ts";
import { STORE_SCRIPT, storeOneScript } from "./redis_scripts.ts";

/**
 * Characters or bytes of a document beyond which, on a cluster, no script stores it: Lua would block the
 * server for too long.
 */
const SCRIPTED_MAX = 16 * 1024;
/** How long a batch of results waits for its answer before the connection is dropped, milliseconds. */
const ANSWER_MS = 10_000;

/** The store, as its writer sees it. */
export interface WriterParts {
  readonly world: World;
  readonly links: RedisLinks;
  /** The prefix of a task's key. */
  readonly taskPrefix: string;
  /** Lifetime of a document in whole seconds, as text; null: for ever. */
  readonly ttl: string | null;
  /**
   * Whether the store is on a cluster: then each document has a slot of its own, and no script stores two of
   * them.
   */
  readonly isCluster: boolean;
  /** Whether documents are bytes. */
  readonly isBinary: boolean;
  /** The socket timeout of the settings, milliseconds; null: none. */
  readonly socketTimeoutMs: number | null;
  /** Reads a stored document; throws for one that cannot be read. */
  decode(document: string | Uint8Array): ResultMeta;
}

/** Writes results, one batch at a time. */
export class RedisWriter {
  readonly #parts: WriterParts;
  readonly #answerMs: number;
  /** The batch that is being written; there is one at a time. */
  #unanswered: {
    readonly link: RedisLink;
    readonly sinceMs: number;
  } | null = null;
  #disarmAnswer: Disarm | null = null;
  #canScript = true;

  /** Does no I/O. */
  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#answerMs = Math.min(parts.socketTimeoutMs ?? Infinity, ANSWER_MS);
  }

  /** False once the server has refused scripts. */
  get canScript(): boolean {
    return this.#canScript;
  }

  /**
   * Stores and publishes a batch; one at a time. Resolves with null if all records are stored, else with an
   * error or null for each. Rejects with OperatingError if the whole batch failed.
   */
  async write(records: readonly ResultRecord[]): Promise<BatchResult> {
    const link = this.#parts.links.live ?? await this.#parts.links.open();
    const sinceMs = this.#parts.world.clock.monoMs();
    this.#unanswered = { link, sinceMs };
    this.#disarmAnswer ??= this.#armAnswer(sinceMs + this.#answerMs);
    try {
      const wanted = await this.#unguarded(link, records);
      if (wanted.length === 0) return null;
      // A single result is stored sooner without the script: Lua's code is rarely in the server's CPU caches.
      if (wanted.length === 1 || !this.canScript || this.#parts.isCluster) {
        return await this.#writePlainly(link, records, wanted);
      }
      try {
        const stored = link.client.sendCommand(this.#storeCommand(wanted));
        await Promise.all([stored, link.client.replicated([])]);
        return null;
      } catch (thrown) {
        const error = this.#parts.links.explain(thrown);
        if (!(error instanceof OperatingError) || error.isRetryable) throw error;
        // Refused as a whole: the records are written one by one, so that each gets its own answer.
        this.scriptRefused(error);
        return await this.#writePlainly(link, records, wanted);
      }
    } catch (thrown) {
      throw this.#parts.links.explain(thrown);
    } finally {
      this.#unanswered = null;
    }
  }

  /**
   * Arms the timer that drops a connection whose peer has vanished: its socket takes all bytes and never
   * answers. One timer serves all writes, nearly all of which are answered long before; a timer for each
   * would double the cost of a write. A server that still takes bytes is alive.
   */
  #armAnswer(atMs: number): Disarm {
    const { clock } = this.#parts.world;
    return clock.arm(atMs, () => {
      this.#disarmAnswer = null;
      if (this.#unanswered === null) return;
      const { link, sinceMs } = this.#unanswered;
      const { movedMs, openBytes } = link.client;
      const dueMs = Math.max(sinceMs, movedMs) + this.#answerMs + extraMs(openBytes);
      if (clock.monoMs() < dueMs) this.#disarmAnswer = this.#armAnswer(dueMs);
      else if (this.#parts.links.live === link) {
        this.#parts.links.drop(`The server gave no answer in ${this.#answerMs / 1000} s`);
      }
    });
  }

  /** Resolves with the records, without those whose stored state must stay. */
  async #unguarded(link: RedisLink, records: readonly ResultRecord[]): Promise<readonly ResultRecord[]> {
    let guarded = 0;
    for (let n = 0; n < records.length; n++) if (records[n]!.guard) guarded++;
    if (guarded === 0) return records;
    const asked = records.filter((record) => record.guard);
    const keys = asked.map((record) => this.#parts.taskPrefix + record.taskId);
    const reply = await link.client.sendCommand(
      ["MGET", ...keys],
      this.#parts.isBinary ? AS_BYTES : AS_TEXT,
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
      return this.#parts.decode(document).state;
    } catch {
      // A document that cannot be read is not worth keeping.
      return null;
    }
  }

  /**
   * Returns one EVAL for all: the client encodes each document once and awaits one reply (2 µs a result,
   * against 5).
   */
  #storeCommand(records: readonly ResultRecord[]): Argument[] {
    const count = records.length;
    const prefix = this.#parts.taskPrefix;
    const args: Argument[] = ["EVAL", STORE_SCRIPT, String(count)];
    for (let n = 0; n < count; n++) args.push(prefix + records[n]!.taskId);
    args.push(this.#parts.ttl ?? "0");
    for (let n = 0; n < count; n++) {
      const document = records[n]!.document;
      args.push(typeof document === "string" ? document : argument(document));
    }
    return args;
  }

  /** Writes the records with commands of their own. The result has an item for every record of `batch`. */
  async #writePlainly(
    link: RedisLink,
    batch: readonly ResultRecord[],
    wanted: readonly ResultRecord[],
  ): Promise<BatchResult> {
    const { client } = link;
    const commands: Argument[][] = [];
    const ofCommand: ResultRecord[] = [];
    for (const record of wanted) {
      const key = this.#parts.taskPrefix + record.taskId;
      for (const command of this.#commandsOf(client, key, argument(record.document))) {
        commands.push(command);
        ofCommand.push(record);
      }
    }
    const failures = new Map<ResultRecord, Error>();
    const thrown = await client.sendEach(commands);
    // Written again without scripts; records stored already are stored once more.
    if (this.#scriptsRefused(commands, thrown)) return await this.#writePlainly(link, batch, wanted);
    thrown.forEach((one, n) => {
      const record = ofCommand[n]!;
      if (one !== null && !failures.has(record)) failures.set(record, this.#parts.links.explain(one));
    });
    if (failures.size === 0) return null;
    for (const error of failures.values()) {
      if (isRetryable(error)) throw error;
    }
    return batch.map((record) => failures.get(record) ?? null);
  }

  /** Stores and publishes one document. Rejects with an operating error. */
  async save(client: RedisClient, key: string, document: Argument): Promise<void> {
    const commands = this.#commandsOf(client, key, document);
    const thrown = await client.sendEach(commands);
    if (this.#scriptsRefused(commands, thrown)) return await this.save(client, key, document);
    for (const one of thrown) if (one !== null) throw this.#parts.links.explain(one);
  }

  /**
   * Returns SETEX (SET without a lifetime) and PUBLISH of one document. On a cluster, where each document is
   * written alone, both are one script, which is one command less to encode and await per result (13 µs,
   * against 22).
   */
  #commandsOf(client: RedisClient, key: string, document: Argument): Argument[][] {
    const { ttl, isCluster } = this.#parts;
    if (isCluster && this.canScript && document.length <= SCRIPTED_MAX) {
      const script = storeOneScript(client.publishCommand, ttl !== null);
      return [["EVAL", script, "1", key, document, ...(ttl === null ? [] : [ttl])]];
    }
    const set = ttl === null ? ["SET", key, document] : ["SETEX", key, ttl, document];
    return [set, [client.publishCommand, key, document]];
  }

  /** Whether one of the commands was a script that the server refused because it allows none. */
  #scriptsRefused(commands: readonly Argument[][], thrown: readonly unknown[]): boolean {
    return commands.some(([name], n) =>
      name === "EVAL" && thrown[n] !== null && this.scriptRefused(this.#parts.links.explain(thrown[n]))
    );
  }

  /** Returns whether a script was refused because the server allows none, and remembers that. */
  scriptRefused(error: Error): boolean {
    const isForbidden = /NOPERM|unknown command|not allowed|no permissions/i.test(errorText(error));
    if (!isForbidden || !this.#canScript) return isForbidden;
    this.#canScript = false;
    this.#parts.world.log.info("The result store allows no scripts: results are written one by one");
    return true;
  }

  /** Stops the timer of unanswered writes. Idempotent. */
  close(): void {
    this.#disarmAnswer?.();
  }
}
