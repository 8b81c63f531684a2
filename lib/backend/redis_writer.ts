/**
 * Writes batches of results to Redis: one script for all, or SETEX and PUBLISH for each where scripts are refused.
 */

import { type Disarm, errorText, isRetryable, OperatingError, type World } from "../base/mod.ts";
import { extraMs } from "../net/mod.ts";
import type { ResultMeta } from "../wire/mod.ts";
import { mustStay, type ResultRecord } from "./backend.ts";
import type { Argument, RedisClient } from "./node_redis.ts";
import type { BatchResult } from "./queue.ts";
import { argument, AS_BYTES, AS_TEXT, type RedisLink, type RedisLinks } from "./redis_link.ts";
import { STORE_SCRIPT, storeOneScript } from "./redis_scripts.ts";

/** Characters or bytes of a document beyond which a script would read for too long while others wait. */
const SCRIPTED_MAX = 16 * 1024;
/** How long a batch of results waits for its answer before another connection is tried. */
const ANSWER_MS = 10_000;

/** What a writer needs of its store. */
export interface WriterParts {
  readonly world: World;
  readonly links: RedisLinks;
  /** What stands before a task's id in its key. */
  readonly taskPrefix: string;
  /** Lifetime of a document in whole seconds, as text; null: for ever. */
  readonly ttl: string | null;
  /** Whether it is a cluster: then each document has a slot of its own, and no script has two of them. */
  readonly isCluster: boolean;
  /** Whether documents are bytes. */
  readonly isBinary: boolean;
  /** Of the settings; null: none. */
  readonly socketTimeoutMs: number | null;
  /** Reads a stored document; throws for one that cannot be read. */
  decode(document: string | Uint8Array): ResultMeta;
}

/** Writes results, one batch at a time. */
export class RedisWriter {
  readonly #parts: WriterParts;
  readonly #answerMs: number;
  /** The batch that is written now; there is one at a time. */
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
   * Stores and publishes a batch; one at a time. Null: all are stored; else what each record failed with. Rejects with
   * OperatingError if the whole batch may be tried again.
   */
  async write(records: readonly ResultRecord[]): Promise<BatchResult> {
    const link = this.#parts.links.live ?? await this.#parts.links.open();
    const sinceMs = this.#parts.world.clock.monoMs();
    this.#unanswered = { link, sinceMs };
    this.#disarmAnswer ??= this.#armAnswer(sinceMs + this.#answerMs);
    try {
      const wanted = await this.#unguarded(link, records);
      if (wanted.length === 0) return null;
      // A single one is stored sooner without the script: Lua is what the server's caches hold least.
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
        // Refused as a whole: one by one, so that each record hears its own answer.
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
   * A socket whose other side is gone without a word takes everything and answers nothing. One timer looks after all
   * writes, of which nearly every one is answered long before: one for each would cost as much as the rest of it. A
   * server that still takes bytes is not gone.
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

  /** The records but for those whose task has a stored state that must stay. */
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
      // What cannot be read cannot be a result worth keeping.
      return null;
    }
  }

  /** One EVAL for all: the client encodes each document once and awaits one reply (2 µs a result, against 5). */
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

  /** Each by itself. The answer has a place for every record of the batch. */
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
    // Again, without scripts: what is stored already is stored once more.
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

  /** Stores and publishes one document. Rejects with what went wrong. */
  async save(client: RedisClient, key: string, document: Argument): Promise<void> {
    const commands = this.#commandsOf(client, key, document);
    const thrown = await client.sendEach(commands);
    if (this.#scriptsRefused(commands, thrown)) return await this.save(client, key, document);
    for (const one of thrown) if (one !== null) throw this.#parts.links.explain(one);
  }

  /**
   * SETEX (SET without a lifetime) and PUBLISH of one document. On a cluster, where each document goes alone, both are
   * one script: a command less to encode and to await for each result (13 µs, against 22).
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

  /** Whether one of the commands was a script, and was refused for that. */
  #scriptsRefused(commands: readonly Argument[][], thrown: readonly unknown[]): boolean {
    return commands.some(([name], n) =>
      name === "EVAL" && thrown[n] !== null && this.scriptRefused(this.#parts.links.explain(thrown[n]))
    );
  }

  /** Notes that the server allows no scripts, if that is why it refused one; whether it is. */
  scriptRefused(error: Error): boolean {
    const isForbidden = /NOPERM|unknown command|not allowed|no permissions/i.test(errorText(error));
    if (!isForbidden || !this.#canScript) return isForbidden;
    this.#canScript = false;
    this.#parts.world.log.info("The result store allows no scripts: results are written one by one");
    return true;
  }

  /** Stops the watch over unanswered writes. Twice is once. */
  close(): void {
    this.#disarmAnswer?.();
  }
}
