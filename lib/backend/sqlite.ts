/**
 * Results in a SQLite file of this machine: the store beside the embedded broker, in the same database.
 *
 * Many processes share it. Writing is one transaction a turn of the loop; a reader is woken by a file that each
 * writer touches, and looks now and then besides, for a touch can be missed.
 *
 * | table | what |
 * |---|---|
 * | `result` | one row a task; `seq` grows with every change, which is how readers find news |
 * | `result_group` | saved groups |
 * | `result_chord`, `result_chord_member` | chord counters: size, growth, who completed it; the finished members |
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import {
  atMost,
  embeddedDatabasePath,
  errorText,
  OperatingError,
  ServerError,
  type World,
} from "../base/mod.ts";
import { makePrivateFolder, touchFile, type TouchWatch, watchTouches } from "../platform/mod.ts";
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
import { encodeChordMember, headerMembers } from "./chord.ts";
import { type StoreDone, StoreQueue } from "./queue.ts";
import { type RetryPolicy, retryPolicy } from "./retry.ts";
import { Watchers } from "./watchers.ts";

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

/** How long a statement waits for another process's transaction, milliseconds: it blocks this isolate. */
const BUSY_TIMEOUT_MS = 200;
const OPEN_BUSY_TIMEOUT_MS = 5000;
/** Between attempts to open a database that another process is making, milliseconds. */
const OPEN_AGAIN_MS = 10;
/** How often a waiting reader looks by itself, milliseconds. */
const LOOK_EVERY_MS = 200;
/** The same where the system gives no file watches. */
const LOOK_BLIND_MS = 20;
/** How long the file watch outlives the last wait, milliseconds: making one costs more than a round trip. */
const WATCH_IDLE_MS = 2000;
/** Expired rows deleted at once, and how often, milliseconds. */
const EXPIRED_PER_TURN = 200;
const EXPIRED_EVERY_MS = 1000;
/** With more ids than this awaited, news are read in order instead of by id. */
const BY_ID_MAX = 64;
const NEWS_MAX = 500;
const CLOSE_WAIT_MS = 5000;
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;

type Statements = ReturnType<typeof prepareAll>;

/** The store. */
export class SqliteBackend implements Backend {
  readonly kind = "sqlite" as const;
  readonly url: string;
  readonly countsChords = true;
  readonly expiresByItself = true;
  readonly replyTo = null;
  readonly #world: World;
  readonly #options: BackendOptions;
  readonly #database: DatabaseSync;
  readonly #sql: Statements;
  readonly #queue: StoreQueue;
  readonly #policy: RetryPolicy;
  readonly #watchers: Watchers;
  readonly #wakePath: string;
  /** The highest `seq` whose news were told. */
  #seen = 0;
  #wakes: TouchWatch | null = null;
  #isBlind = false;
  #disarmLook: (() => void) | null = null;
  #isLooking = false;
  #idleSince = 0;
  #expireAfter = 0;
  #closed: Promise<void> | null = null;
  #isClosed = false;

  /** Use `open`. */
  constructor(world: World, url: string, path: string, database: DatabaseSync, options: BackendOptions) {
    this.#world = world;
    this.#options = options;
    this.url = url;
    this.#database = database;
    this.#sql = prepareAll(database);
    this.#wakePath = `${path}-results`;
    this.#policy = retryPolicy(options, world.random);
    this.#queue = new StoreQueue({
      clock: world.clock,
      log: world.log,
      policy: {
        maxRetries: Math.max(this.#policy.maxRetries, 20),
        delayMs: (n) => Math.min(250, 5 * 2 ** n),
      },
      schedule: (fn) => world.clock.defer(fn),
      write: (records) => {
        this.#transaction(() => {
          for (let n = 0; n < records.length; n++) this.#put(records[n]!);
          this.#expireSome();
        });
        this.#tell();
        return null;
      },
    });
    this.#watchers = new Watchers({
      onFirst: (ids) => this.#wait(ids),
      onMore: (ids) => this.#wait(ids),
      onLast: () => {
        if (this.#watchers.size === 0) this.#idleSince = world.clock.monoMs();
      },
      decode: (document) => this.#decode(document),
    });
  }

  /** Opens (and where needed makes) the database of a `sqlite:` URL. Rejects with an operating error. */
  static async open(world: World, url: string, options: BackendOptions): Promise<SqliteBackend> {
    const path = embeddedDatabasePath(url, world.host);
    const [{ DatabaseSync }] = await Promise.all([import("node:sqlite"), loadSerializer(options.serializer)]);
    makePrivateFolder(path.slice(0, path.lastIndexOf("/")) || "/");
    const { clock } = world;
    for (const untilMs = clock.monoMs() + OPEN_BUSY_TIMEOUT_MS;;) {
      let database: DatabaseSync | null = null;
      try {
        database = new DatabaseSync(path);
        database.exec(`PRAGMA busy_timeout = ${OPEN_BUSY_TIMEOUT_MS}`);
        database.exec("PRAGMA journal_mode = WAL");
        database.exec("PRAGMA synchronous = NORMAL");
        database.exec(SCHEMA);
        database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
        return new SqliteBackend(world, url, path, database, options);
      } catch (error) {
        database?.close();
        // Where two processes make one database, SQLite refuses one of them the switch to WAL at once.
        if (!isBusy(error) || clock.monoMs() >= untilMs) {
          throw new OperatingError(`Cannot open the result store "${path}": ${errorText(error)}`, {
            cause: error,
          });
        }
      }
      await clock.sleep(OPEN_AGAIN_MS);
    }
  }

  /** Appends a result. Data lane; leaves in this turn's transaction. */
  store(record: ResultRecord, done: StoreDone | null): void {
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

  /** The stored document, decoded. */
  fetch(taskId: string): Promise<ResultMeta | null> {
    return this.#attempt(() => this.#meta(taskId));
  }

  /** As `fetch`. */
  fetchMany(ids: readonly string[]): Promise<(ResultMeta | null)[]> {
    return this.#attempt(() => ids.map((id) => this.#meta(id)));
  }

  /** Waits. */
  watch(ids: readonly string[], onMeta: (meta: ResultMeta) => void, onError: (error: Error) => void): Watch {
    return this.#watchers.open(ids, onMeta, onError);
  }

  /** Deletes a result. */
  forget(taskId: string): Promise<void> {
    return this.#attempt(() => void this.#sql.deleteResult.run(taskId));
  }

  /** Saves a group. */
  saveGroup(groupId: string, tuple: string): Promise<void> {
    return this.#attempt(() => void this.#sql.saveGroup.run(groupId, tuple, this.#expiry()));
  }

  /** A saved group's tuple. */
  fetchGroup(groupId: string): Promise<string | null> {
    return this.#attempt(() => {
      const row = this.#sql.fetchGroup.get(groupId, this.#nowMs());
      return row ? String(row["tuple"]) : null;
    });
  }

  /** Deletes a saved group. */
  deleteGroup(groupId: string): Promise<void> {
    return this.#attempt(() => void this.#sql.deleteGroup.run(groupId));
  }

  /** Sets a chord's size. */
  startChord(groupId: string, size: number): Promise<void> {
    return this.#attempt(() => void this.#sql.startChord.run(groupId, size, this.#expiry()));
  }

  /** One more is expected. */
  growChord(groupId: string, by: number): Promise<void> {
    return this.#attempt(() => void this.#sql.growChord.run(groupId, by, this.#expiry()));
  }

  /** Counts members, all in one transaction. */
  async countChordParts(parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]> {
    const documents = parts.map((part) => encodeChordMember(part, this.#options.serializer));
    const counted = await this.#attempt(() =>
      this.#transaction(() => parts.map((part, n) => this.#count(part, documents[n]!)))
    );
    const complete: CompleteHeader[] = [];
    counted.forEach((members, n) => {
      if (members !== null) {
        complete.push({
          part: parts[n]!,
          members: () => this.#members(parts[n]!.groupId, members),
        });
      }
    });
    return complete;
  }

  #members(groupId: string, documents: readonly (string | Uint8Array)[]): Promise<ChordMember[]> {
    return headerMembers(this, groupId, documents, this.#options, this.#world.clock);
  }

  /** Deletes a chord's counters. */
  endChord(groupId: string): Promise<void> {
    return this.#attempt(() =>
      this.#transaction(() => {
        this.#sql.deleteMembers.run(groupId);
        this.#sql.deleteChord.run(groupId);
      })
    );
  }

  /** Deletes everything that has expired. */
  cleanup(): Promise<void> {
    return this.#attempt(() => this.#transaction(() => this.#expireUpTo(-1)));
  }

  /** Stores what waits, for at most 5 s, and closes the database. Twice is once. */
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
    this.#isClosed = true;
    this.#queue.close();
    this.#stopLooking();
    this.#database.close();
  }

  #nowMs(): number {
    return Math.trunc(this.#world.clock.wallMs());
  }

  #expiry(): number | null {
    const { expiresSeconds } = this.#options;
    return expiresSeconds ? Math.trunc(this.#nowMs() + expiresSeconds * 1000) : null;
  }

  #decode(document: string | Uint8Array): ResultMeta {
    return decodeResultMeta(document, this.#options.serializer, this.#options.accept);
  }

  #meta(id: string): ResultMeta | null {
    const row = this.#sql.fetchResult.get(id, this.#nowMs());
    return row ? this.#decode(row["document"] as string | Uint8Array) : null;
  }

  #put(record: ResultRecord): void {
    const { taskId, state, document } = record;
    if (record.guard) {
      const stored = this.#sql.stateOf.get(taskId, this.#nowMs());
      if (stored && mustStay(stored["state"] as string, state)) return;
    }
    this.#sql.store.run(taskId, state, document, this.#expiry());
  }

  #count(part: ChordPart, document: string | Uint8Array): (string | Uint8Array)[] | null {
    const { groupId, taskId } = part;
    this.#sql.touchChord.run(groupId, this.#expiry());
    const isSeen = this.#sql.hasMember.get(groupId, taskId) !== undefined;
    this.#sql.putMember.run(groupId, taskId, part.groupIndex, document);
    const chord = this.#sql.chord.get(groupId)!;
    const count = Number(this.#sql.countMembers.get(groupId)!["n"]);
    if (chord["size"] === null || count !== Number(chord["size"]) + Number(chord["grown"])) return null;
    const owner = chord["owner"];
    // Only the task that completed it, run again after a crash, goes on a second time.
    if (isSeen && owner !== null && owner !== taskId) return null;
    this.#sql.ownChord.run(taskId, groupId);
    return this.#sql.members.all(groupId).map((row) => row["document"] as string | Uint8Array);
  }

  /** Deletes a few expired rows now and then, so that the file does not grow and no turn is long. */
  #expireSome(): void {
    const now = this.#world.clock.monoMs();
    if (now < this.#expireAfter) return;
    this.#expireAfter = now + EXPIRED_EVERY_MS;
    this.#expireUpTo(EXPIRED_PER_TURN);
  }

  #expireUpTo(most: number): void {
    const now = this.#nowMs();
    this.#sql.expireResults.run(now, most);
    this.#sql.expireGroups.run(now);
    this.#sql.expireMembers.run(now);
    this.#sql.expireChords.run(now);
  }

  #transaction<T>(run: () => T): T {
    const database = this.#database;
    try {
      database.exec("BEGIN IMMEDIATE");
      try {
        const result = run();
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    } catch (error) {
      throw explain(error);
    }
  }

  /** Runs something that another process's transaction may hold up, with retries. */
  async #attempt<T>(run: () => T): Promise<T> {
    for (let retry = 0;; retry++) {
      if (this.#isClosed) throw new OperatingError("The result store is closed");
      try {
        return run();
      } catch (thrown) {
        const error = explain(thrown);
        if (!(error instanceof OperatingError) || !error.isRetryable || retry >= 20) throw error;
        await this.#world.clock.sleep(Math.min(250, 5 * 2 ** retry));
      }
    }
  }

  // Waiting.

  #tell(): void {
    touchFile(this.#wakePath, this.#world.clock.wallMs());
    if (this.#watchers.size > 0) this.#look();
  }

  #wait(ids: readonly string[]): void {
    this.#startLooking();
    queueMicrotask(() => {
      if (this.#isClosed) return;
      try {
        for (const id of ids) {
          const row = this.#watchers.has(id) && this.#sql.fetchResult.get(id, this.#nowMs());
          if (row) this.#watchers.deliver(id, row["document"] as string | Uint8Array);
        }
      } catch {
        // Another process held the file; the next look finds them, for it reads from before.
        this.#seen = 0;
      }
    });
  }

  #startLooking(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    if (this.#wakes === null && !this.#isBlind) {
      try {
        this.#wakes = watchTouches([this.#wakePath], () => this.#watchers.size > 0 && this.#look());
      } catch {
        // No inotify instance left: looking often makes up for it.
        this.#isBlind = true;
      }
    }
    try {
      this.#seen = Number(this.#sql.lastSeq.get()?.["seq"] ?? 0);
    } catch {
      this.#seen = 0;
    }
    this.#armLook();
  }

  #armLook(): void {
    const { clock } = this.#world;
    this.#disarmLook = clock.arm(clock.monoMs() + (this.#isBlind ? LOOK_BLIND_MS : LOOK_EVERY_MS), () => {
      if (this.#watchers.size === 0) {
        if (clock.monoMs() - this.#idleSince >= WATCH_IDLE_MS) return this.#stopLooking();
      } else this.#look();
      if (!this.#isClosed) this.#armLook();
    });
  }

  #stopLooking(): void {
    this.#isLooking = false;
    this.#disarmLook?.();
    this.#disarmLook = null;
    this.#wakes?.close();
    this.#wakes = null;
  }

  /** Tells what was stored since the last look. */
  #look(): void {
    if (this.#isClosed) return;
    try {
      const ids = this.#watchers.size <= BY_ID_MAX ? this.#watchers.ids() : null;
      // Read before the rows: what is stored in between is then told by the next look, not passed over.
      const upTo = ids ? Number(this.#sql.lastSeq.get()?.["seq"] ?? 0) : 0;
      for (;;) {
        const rows = ids
          ? this.#sql.newsOf.all(JSON.stringify(ids), this.#seen)
          : this.#sql.news.all(this.#seen, NEWS_MAX);
        if (ids) this.#seen = Math.max(this.#seen, upTo);
        for (const row of rows) {
          if (!ids) this.#seen = Number(row["seq"]);
          const id = String(row["task_id"]);
          if (this.#watchers.has(id)) this.#watchers.deliver(id, row["document"] as string | Uint8Array);
        }
        if (ids || rows.length < NEWS_MAX) return;
      }
    } catch (error) {
      // Another process holds the file: the next look reads the same. Anything else is the end of the wait.
      const reason = explain(error);
      if (!(reason instanceof OperatingError && reason.isRetryable)) this.#watchers.fail(reason);
    }
  }
}

function prepareAll(database: DatabaseSync) {
  const prepare = (sql: string): { [K in "run" | "get" | "all"]: Bound<K> } => database.prepare(sql);
  return {
    store: prepare("REPLACE INTO result (task_id, state, document, expires_at) VALUES (?, ?, ?, ?)"),
    stateOf: prepare("SELECT state FROM result WHERE task_id = ? AND coalesce(expires_at > ?, true)"),
    fetchResult: prepare("SELECT document FROM result WHERE task_id = ? AND coalesce(expires_at > ?, true)"),
    deleteResult: prepare("DELETE FROM result WHERE task_id = ?"),
    lastSeq: prepare("SELECT seq FROM sqlite_sequence WHERE name = 'result'"),
    news: prepare("SELECT seq, task_id, document FROM result WHERE seq > ? ORDER BY seq LIMIT ?"),
    newsOf: prepare(
      "SELECT seq, task_id, document FROM result " +
        "WHERE task_id IN (SELECT value FROM json_each(?)) AND seq > ? ORDER BY seq",
    ),
    saveGroup: prepare("REPLACE INTO result_group (group_id, tuple, expires_at) VALUES (?, ?, ?)"),
    fetchGroup: prepare(
      "SELECT tuple FROM result_group WHERE group_id = ? AND coalesce(expires_at > ?, true)",
    ),
    deleteGroup: prepare("DELETE FROM result_group WHERE group_id = ?"),
    startChord: prepare(
      "INSERT INTO result_chord (group_id, size, expires_at) VALUES (?, ?, ?) " +
        "ON CONFLICT (group_id) DO UPDATE SET size = excluded.size, expires_at = excluded.expires_at",
    ),
    growChord: prepare(
      "INSERT INTO result_chord (group_id, grown, expires_at) VALUES (?, ?, ?) " +
        "ON CONFLICT (group_id) DO UPDATE SET grown = grown + excluded.grown, expires_at = excluded.expires_at",
    ),
    touchChord: prepare(
      "INSERT INTO result_chord (group_id, expires_at) VALUES (?, ?) " +
        "ON CONFLICT (group_id) DO UPDATE SET expires_at = excluded.expires_at",
    ),
    chord: prepare("SELECT size, grown, owner FROM result_chord WHERE group_id = ?"),
    ownChord: prepare("UPDATE result_chord SET owner = ? WHERE group_id = ?"),
    deleteChord: prepare("DELETE FROM result_chord WHERE group_id = ?"),
    hasMember: prepare("SELECT 1 FROM result_chord_member WHERE group_id = ? AND task_id = ?"),
    putMember: prepare(
      "INSERT INTO result_chord_member (group_id, task_id, position, document) VALUES (?, ?, ?, ?) " +
        "ON CONFLICT (group_id, task_id) DO UPDATE SET position = excluded.position, document = excluded.document",
    ),
    countMembers: prepare("SELECT count(*) AS n FROM result_chord_member WHERE group_id = ?"),
    members: prepare(
      "SELECT document FROM result_chord_member WHERE group_id = ? ORDER BY position IS NULL, position, rowid",
    ),
    deleteMembers: prepare("DELETE FROM result_chord_member WHERE group_id = ?"),
    expireResults: prepare(
      "DELETE FROM result WHERE seq IN (SELECT seq FROM result WHERE expires_at <= ? LIMIT ?)",
    ),
    expireGroups: prepare("DELETE FROM result_group WHERE expires_at <= ?"),
    expireMembers: prepare(
      "DELETE FROM result_chord_member WHERE group_id IN (SELECT group_id FROM result_chord WHERE expires_at <= ?)",
    ),
    expireChords: prepare("DELETE FROM result_chord WHERE expires_at <= ?"),
  };
}

/** A statement's method with plain positional values. */
type Bound<K extends "run" | "get" | "all"> = (...values: SQLInputValue[]) => ReturnType<StatementSync[K]>;

function explain(error: unknown): Error {
  if (error instanceof OperatingError) return error;
  const isRetryable = isBusy(error);
  return new ServerError(`The result store answered: ${errorText(error)}`, {
    code: isRetryable ? "BUSY" : String(resultCode(error)),
    cause: error,
    isRetryable,
  });
}

/** Whether another process was in the way. */
function isBusy(error: unknown): boolean {
  // Extended codes keep the plain one in their low byte.
  const code = resultCode(error) & 0xff;
  return code === SQLITE_BUSY || code === SQLITE_LOCKED ||
    /database (table )?is locked/.test(errorText(error));
}

function resultCode(error: unknown): number {
  return typeof error === "object" && error !== null && "errcode" in error ? Number(error.errcode) : 0;
}
