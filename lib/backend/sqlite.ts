/**
 * Results in a SQLite file of this machine, which by default is the database of the embedded broker.
 *
 * Many processes share it. A turn of the event loop writes one transaction; readers are woken by a file that
 * each writer touches (sqlite_watch.ts). Chord counters: sqlite_chord.ts.
 *
 * | table | what |
 * |---|---|
 * | `result` | one row a task; `seq` grows with every change, which is how readers find news |
 * | `result_group` | saved groups |
 * | `result_chord`, `result_chord_member` | chord counters: size, growth, who completed it; the finished members |
 */

import { atMost, embeddedDatabasePath, isRetryable, OperatingError, type World } from "../base/mod.ts";
import { Database, isDiskFull, whenFree } from "../sqlite/mod.ts";
import { decodeResultMeta, loadSerializer, type ResultMeta } from "../wire/mod.ts";
import {
  type Backend,
  type BackendOptions,
  type ChordPart,
  type CompleteHeader,
  mustStay,
  type ResultRecord,
  type Watch,
} from "./backend.ts";
import { encodeChordMember, headerMembers } from "./chord.ts";
import { type StoreDone, StoreQueue } from "./queue.ts";
import { SqliteChords } from "./sqlite_chord.ts";
import { SqliteWatch } from "./sqlite_watch.ts";

const SCHEMA = `
CREATE TABLE IF NOT EXISTS result (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  task_id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  document ANY NOT NULL,
  expires_at INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS result_expires ON result (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS result_group (
  group_id TEXT PRIMARY KEY, tuple TEXT NOT NULL, expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS result_chord (
  group_id TEXT PRIMARY KEY, size INTEGER, grown INTEGER NOT NULL DEFAULT 0, owner TEXT, expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS result_chord_member (
  group_id TEXT NOT NULL, task_id TEXT NOT NULL, position INTEGER, document ANY NOT NULL,
  PRIMARY KEY (group_id, task_id)
) STRICT;
`;

/** How many expired rows are deleted at once, and how often, milliseconds. */
const EXPIRED_PER_TURN = 200;
const EXPIRED_EVERY_MS = 1000;
const CLOSE_WAIT_MS = 5000;
/**
 * How often a batch is tried again before the log says so; and the longest pause before a retry,
 * milliseconds.
 */
const RETRIES_SILENT = 10;
const RETRY_MAX_MS = 250;

/** The store of `sqlite://`. */
export class SqliteBackend implements Backend {
  readonly kind = "sqlite" as const;
  readonly url: string;
  readonly countsChords = true;
  readonly expiresByItself = true;
  readonly replyTo = null;
  readonly #world: World;
  readonly #options: BackendOptions;
  readonly #database: Database;
  readonly #chords: SqliteChords;
  readonly #watch: SqliteWatch;
  /** Results wait until the disk has room or another process releases the file, and the log has said so. */
  #isHeldUp = false;
  readonly #queue: StoreQueue;
  #expireAfter = 0;
  #closed: Promise<void> | null = null;
  #isClosed = false;

  private constructor(world: World, url: string, database: Database, options: BackendOptions) {
    const { clock, log } = world;
    this.#world = world;
    this.#options = options;
    this.url = url;
    this.#database = database;
    this.#chords = new SqliteChords(database, { nowMs: () => this.#nowMs(), expiry: () => this.#expiry() });
    this.#watch = new SqliteWatch(clock, database, (document) => decodeResultMeta(document, this.#options));
    this.#queue = new StoreQueue({
      clock,
      log,
      policy: {
        // `waitsFor` tries temporary errors again without limit.
        maxRetries: 0,
        delayMs: (n) => Math.min(RETRY_MAX_MS, 5 * 2 ** n),
      },
      // There may be room again, and another process releases the file at some time. Until then, once the
      // queue is a quarter full, the worker fetches no more tasks.
      waitsFor: (error) => isDiskFull(error) || isRetryable(error),
      onRetry: (error, retry) => {
        if (this.#isHeldUp || !isDiskFull(error) && retry < RETRIES_SILENT) return;
        this.#isHeldUp = true;
        log.error(`${error.message}: results wait for it`);
      },
      schedule: (fn) => clock.defer(fn),
      serializer: options.serializer,
      write: (records) => {
        database.transact(() => {
          for (let n = 0; n < records.length; n++) this.#put(records[n]!);
          this.#expireSome();
        });
        this.#isHeldUp = false;
        this.#watch.stored();
        return null;
      },
    });
  }

  /** Opens the database of a `sqlite:` URL, and creates what is missing. Rejects with an operating error. */
  static async open(world: World, url: string, options: BackendOptions): Promise<SqliteBackend> {
    const path = embeddedDatabasePath(url, world.host);
    await loadSerializer(options.serializer);
    const database = await Database.open({
      path,
      clock: world.clock,
      noun: "the result store",
      whenReplaced: "reopen",
      makeTables: (one) => one.exec(SCHEMA),
    });
    return new SqliteBackend(world, url, database, options);
  }

  store(record: ResultRecord, done: StoreDone | null): void {
    this.#queue.append(record, done);
  }

  get isCongested(): boolean {
    return this.#queue.isCongested;
  }

  flush(): Promise<void> {
    return this.#queue.flush();
  }

  fetch(taskId: string): Promise<ResultMeta | null> {
    return this.#whenFree(() => this.#meta(taskId));
  }

  fetchMany(ids: readonly string[], isCarried = false): Promise<(ResultMeta | null)[]> {
    return this.#whenFree(() => ids.map((id) => this.#meta(id, isCarried)));
  }

  watch(ids: readonly string[], onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void): Watch {
    return this.#watch.watch(ids, onMeta, onError);
  }

  async forget(taskId: string): Promise<void> {
    await this.#run("DELETE FROM result WHERE task_id = ?", taskId);
  }

  async saveGroup(groupId: string, tuple: string): Promise<void> {
    await this.#run(
      "REPLACE INTO result_group (group_id, tuple, expires_at) VALUES (?, ?, ?)",
      groupId,
      tuple,
      this.#expiry(),
    );
  }

  fetchGroup(groupId: string): Promise<string | null> {
    return this.#whenFree(() => {
      const row = this.#database.get(
        "SELECT tuple FROM result_group WHERE group_id = ? AND coalesce(expires_at > ?, true)",
        groupId,
        this.#nowMs(),
      );
      return row ? String(row["tuple"]) : null;
    });
  }

  async deleteGroup(groupId: string): Promise<void> {
    await this.#run("DELETE FROM result_group WHERE group_id = ?", groupId);
  }

  startChord(groupId: string, size: number): Promise<void> {
    return this.#whenFree(() => this.#chords.start(groupId, size));
  }

  growChord(groupId: string, by: number): Promise<void> {
    return this.#whenFree(() => this.#chords.grow(groupId, by));
  }

  async countChordParts(parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]> {
    const documents = parts.map((part) => encodeChordMember(part, this.#options.serializer));
    const counted = await this.#transact(() =>
      parts.map((part, n) => this.#chords.count(part, documents[n]!))
    );
    const complete: CompleteHeader[] = [];
    counted.forEach((members, n) => {
      if (members === null) return;
      const part = parts[n]!;
      complete.push({
        part,
        members: () => headerMembers(this, part.groupId, members, this.#options, this.#world.clock),
      });
    });
    return complete;
  }

  endChord(groupId: string): Promise<void> {
    return this.#transact(() => this.#chords.end(groupId));
  }

  cleanup(): Promise<void> {
    return this.#transact(() => this.#expireUpTo(-1));
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
    this.#isClosed = true;
    this.#queue.close();
    this.#watch.close();
    this.#database.close();
  }

  #nowMs(): number {
    return Math.trunc(this.#world.clock.wallMs());
  }

  #expiry(): number | null {
    const { expiresSeconds } = this.#options;
    return expiresSeconds ? Math.trunc(this.#nowMs() + expiresSeconds * 1000) : null;
  }

  #meta(id: string, isCarried = false): ResultMeta | null {
    const document = this.#watch.document(id);
    return document === null ? null : decodeResultMeta(document, this.#options, isCarried);
  }

  #put(record: ResultRecord): void {
    const { taskId, state, document } = record;
    if (record.guard) {
      const stored = this.#database.get(
        "SELECT state FROM result WHERE task_id = ? AND coalesce(expires_at > ?, true)",
        taskId,
        this.#nowMs(),
      );
      if (stored && mustStay(stored["state"] as string, state)) return;
    }
    this.#database.statement("REPLACE INTO result (task_id, state, document, expires_at) VALUES (?, ?, ?, ?)")
      .run(taskId, state, document, this.#expiry());
  }

  /** Deletes a few expired rows from time to time, so that the file does not grow and turns stay short. */
  #expireSome(): void {
    const now = this.#world.clock.monoMs();
    if (now < this.#expireAfter) return;
    this.#expireAfter = now + EXPIRED_EVERY_MS;
    this.#expireUpTo(EXPIRED_PER_TURN);
  }

  #expireUpTo(most: number): void {
    const now = this.#nowMs();
    this.#database.run(
      "DELETE FROM result WHERE seq IN (SELECT seq FROM result WHERE expires_at <= ? LIMIT ?)",
      now,
      most,
    );
    this.#database.run("DELETE FROM result_group WHERE expires_at <= ?", now);
    this.#chords.expire();
  }

  #run(sql: string, ...values: (string | number | null)[]): Promise<number> {
    return this.#whenFree(() => this.#database.run(sql, ...values));
  }

  #transact<T>(run: () => T): Promise<T> {
    return this.#whenFree(() => this.#database.transact(run));
  }

  #whenFree<T>(run: () => T): Promise<T> {
    return whenFree(this.#world.clock, () => {
      if (this.#isClosed) throw new OperatingError("The result store is closed");
      return run();
    });
  }
}
