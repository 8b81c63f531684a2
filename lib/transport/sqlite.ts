/**
 * sqlite: the embedded broker. One database file, many processes of one machine, no server.
 *
 * Messages are durable from the moment `publish` resolves. A consumer's messages lie under its session; a session ends
 * with its process, which others see from the process table at once (or, where process ids mean nothing to them, when
 * the lease has run out), and then its messages go back to the heads of their queues with the attempt counted.
 * Processes wake each other through files (sqlite_hub.ts), so that an idle one only looks once a second.
 */

import type { DatabaseSync } from "node:sqlite";
import { ConnectionLost, embeddedDatabasePath, type World } from "../base/mod.ts";
import type { Exchange, ExchangeType, Queue } from "./entity.ts";
import { bindingOf, priorityStepsOf, RoutingTable } from "./routing.ts";
import { makeWakeFolder, SqliteHub } from "./sqlite_hub.ts";
import { databaseFailure, openDatabase } from "./sqlite_schema.ts";
import { deadSessions, sessionRow } from "./sqlite_session.ts";
import { type Row, Statements } from "./sqlite_statements.ts";
import {
  type Binding,
  type Connect,
  DEAD_LETTERS_MAX,
  type DeadLetter,
  type ParkedMessage,
} from "./transport.ts";
import { VirtualConnection } from "./virtual.ts";
import { marked } from "./virtual_consumer.ts";
import {
  FANOUT_TTL_SECONDS,
  type FanoutRow,
  type HeldMessage,
  type LeaseRow,
  type ReturnedMessage,
  type Store,
  type StoreFailure,
  type Sweep,
} from "./virtual_store.ts";

/** How long a process that lives but does not renew its lease (stopped, hung) keeps its messages; as kombu's. */
const VISIBILITY_TIMEOUT_SECONDS = 3600;
/** How often a publisher drops what fanouts have left over, milliseconds, and how many messages stay at most. */
const FANOUT_CLEAN_MS = 5000;
const FANOUT_ROWS_MAX = 200_000;
/** How many parked messages one turn releases. */
const RELEASE_MAX = 1000;
const STEP_MAX = 0x7fff_ffff;

interface Counter {
  nextId: number;
  head: number;
}

/** The database as a Store. One per connection. */
class SqliteStore implements Store {
  readonly kind = "sqlite";
  readonly isShared = true;
  #db: DatabaseSync;
  #path: string;
  #world: World;
  #hub: SqliteHub;
  #sql: Statements;
  #visibilityMs: number;
  #sessions: number[] = [];
  #routing = new RoutingTable();
  #topology = 0;
  /** Inside a transaction that has used it. */
  #counter: Counter | null = null;
  #queuesMade = new Set<string>();
  #fanoutCleanAtMs = 0;
  #isClosed = false;

  constructor(world: World, db: DatabaseSync, options: { path: string; visibilitySeconds: number }) {
    this.#world = world;
    this.#db = db;
    this.#sql = new Statements(db);
    this.#path = options.path;
    this.#visibilityMs = options.visibilitySeconds * 1000;
    this.#hub = SqliteHub.open(world, options.path);
  }

  transact<T>(fn: () => T): T {
    const db = this.#db;
    if (this.#isClosed) throw new ConnectionLost(`Database "${this.#path}" is closed`);
    db.exec("BEGIN IMMEDIATE");
    this.#counter = null;
    this.#queuesMade.clear();
    try {
      const result = fn();
      const counter = this.#counter as Counter | null;
      if (counter) {
        this.#sql.run("UPDATE broker_counter SET next_id = ?, head = ?", counter.nextId, counter.head);
      }
      db.exec("COMMIT");
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some errors.
      if (db.isTransaction) db.exec("ROLLBACK");
      this.#topology = 0;
      throw error;
    } finally {
      this.#counter = null;
    }
  }

  failure(error: unknown): StoreFailure {
    return databaseFailure(error, this.#path);
  }

  declareExchange(exchange: Exchange): void {
    if (exchange.name === "") return;
    const known = this.#sql.get("SELECT type FROM broker_exchange WHERE name = ?", exchange.name);
    if (known?.["type"] === exchange.type) return;
    this.#sql.run(
      "INSERT INTO broker_exchange VALUES (?, ?) ON CONFLICT DO UPDATE SET type = excluded.type",
      exchange.name,
      exchange.type,
    );
    this.#topologyChanged();
  }

  declareQueue(queue: Queue): number {
    this.declareExchange(queue.exchange);
    this.#makeQueue(queue.name);
    const binding = bindingOf(queue);
    if (binding) {
      const added = this.#sql.run(
        "INSERT OR IGNORE INTO broker_binding VALUES (?, ?, ?)",
        binding.exchange,
        binding.routingKey,
        binding.queue,
      );
      if (added > 0) this.#topologyChanged();
    }
    return this.length(queue.name) ?? 0;
  }

  deleteQueue(name: string): void {
    this.purge(name);
    this.#sql.run("DELETE FROM broker_queue WHERE name = ?", name);
    if (this.#sql.run("DELETE FROM broker_binding WHERE queue = ?", name) > 0) this.#topologyChanged();
    this.#queuesMade.delete(name);
  }

  routing(): RoutingTable {
    const topology = this.#sql.get("SELECT topology FROM broker_counter")!["topology"] as number;
    if (topology !== this.#topology) {
      const routing = new RoutingTable();
      for (const row of this.#sql.all("SELECT name, type FROM broker_exchange")) {
        routing.setExchange(row["name"] as string, row["type"] as ExchangeType);
      }
      for (const row of this.#sql.all("SELECT exchange, routing_key, queue FROM broker_binding")) {
        routing.bind(bindingRow(row));
      }
      this.#routing = routing;
      this.#topology = topology;
    }
    return this.#routing;
  }

  bindings(): Binding[] {
    const subscribers = this.#sql.all(
      "SELECT exchange, routing_key, queue FROM broker_listener WHERE is_subscriber = 1 ORDER BY exchange, queue",
    );
    return this.#sql.all("SELECT exchange, routing_key, queue FROM broker_binding").concat(subscribers).map(
      bindingRow,
    );
  }

  length(name: string): number | null {
    const row = this.#sql.get(
      `SELECT (SELECT count(*) FROM broker_ready WHERE queue = ?1) AS waiting,
              EXISTS (SELECT 1 FROM broker_queue WHERE name = ?1) AS known`,
      name,
    )!;
    const waiting = row["waiting"] as number;
    return waiting > 0 || row["known"] === 1 ? waiting : null;
  }

  purge(name: string): number {
    this.#sql.run(
      "DELETE FROM broker_message WHERE id IN (SELECT id FROM broker_ready WHERE queue = ?)",
      name,
    );
    return this.#sql.run("DELETE FROM broker_ready WHERE queue = ?", name);
  }

  insert(queue: string, step: number, envelope: string): void {
    if (!this.#queuesMade.has(queue)) this.#makeQueue(queue);
    const id = this.#counting().nextId++;
    this.#sql.statement("INSERT INTO broker_message VALUES (?, ?, ?, 0, ?)").run(id, queue, step, envelope);
    this.#sql.statement("INSERT INTO broker_ready VALUES (?, ?, ?, ?)").run(queue, step, id, id);
  }

  isReady(queue: string): boolean {
    return this.#sql.get("SELECT 1 FROM broker_ready WHERE queue = ? LIMIT 1", queue) !== undefined;
  }

  fetch(session: number, queues: readonly string[], limit: number): HeldMessage[] {
    const taken: HeldMessage[] = [];
    if (!this.#sql.get("SELECT 1 FROM broker_session WHERE id = ?", session)) {
      throw new ConnectionLost(`Connection to database "${this.#path}" was taken for dead`);
    }
    if (queues.length === 1) {
      this.#takeTo(session, { queue: queues[0]!, stepMax: STEP_MAX, limit }, taken);
      return taken;
    }
    while (taken.length < limit) {
      let step = Infinity;
      const heads = queues.map((queue) => {
        const row = this.#sql.get(
          "SELECT step FROM broker_ready WHERE queue = ? ORDER BY step LIMIT 1",
          queue,
        );
        const head = row === undefined ? Infinity : row["step"] as number;
        step = Math.min(step, head);
        return head;
      });
      if (step === Infinity) break;
      for (let n = 0; n < queues.length; n++) {
        if (heads[n] !== step || taken.length >= limit) continue;
        this.#takeTo(session, { queue: queues[n]!, stepMax: step, limit: limit - taken.length }, taken);
      }
    }
    return taken;
  }

  peek(queue: string): string | null {
    return this.#first(queue, STEP_MAX, 1)[0]?.["envelope"] as string | undefined ?? null;
  }

  pop(queue: string, limit: number): string[] {
    const rows = this.#first(queue, STEP_MAX, limit);
    const last = rows.at(-1);
    if (!last) return [];
    const range = [queue, last["step"]!, last["position"]!] as const;
    this.#sql.run(
      `DELETE FROM broker_message WHERE id IN
         (SELECT id FROM broker_ready WHERE queue = ? AND (step, position) <= (?, ?))`,
      ...range,
    );
    this.#sql.run("DELETE FROM broker_ready WHERE queue = ? AND (step, position) <= (?, ?)", ...range);
    return rows.map((row) => row["envelope"] as string);
  }

  settle(session: number, ids: readonly number[]): void {
    const list = JSON.stringify(ids);
    this.#sql.run(
      `DELETE FROM broker_message WHERE id IN
         (SELECT held.id FROM json_each(?) AS given CROSS JOIN broker_held AS held ON held.id = given.value
          WHERE held.session = ?)`,
      list,
      session,
    );
    this.#sql.run(
      "DELETE FROM broker_held WHERE id IN (SELECT value FROM json_each(?)) AND session = ?",
      list,
      session,
    );
  }

  putBack(session: number, messages: readonly ReturnedMessage[], at: "head" | "tail"): string[] {
    if (messages.length === 0) return [];
    const queues = new Set<string>();
    const counter = this.#counting();
    if (at === "head") counter.head -= messages.length;
    for (let n = 0; n < messages.length; n++) {
      const { id, envelope } = messages[n]!;
      const place = this.#release(session, id);
      if (!place) continue;
      this.#sql.run("UPDATE broker_message SET envelope = ? WHERE id = ?", envelope, id);
      this.#makeReady(place, id, at === "head" ? counter.head + n : counter.nextId++);
      queues.add(place.queue);
    }
    return [...queues];
  }

  park(session: number, id: number, dueMs: number): string | null {
    const place = this.#release(session, id);
    if (!place) return null;
    this.#sql.run("INSERT INTO broker_parked VALUES (?, ?)", dueMs, id);
    return place.queue;
  }

  nextDueMs(): number | null {
    const row = this.#sql.get("SELECT due FROM broker_parked ORDER BY due LIMIT 1");
    return row === undefined ? null : row["due"] as number;
  }

  releaseDue(nowMs: number): string[] {
    const rows = this.#sql.all(
      `SELECT parked.id, queue, step FROM broker_parked AS parked JOIN broker_message USING (id)
       WHERE due <= ? ORDER BY due, parked.id LIMIT ${RELEASE_MAX}`,
      nowMs,
    );
    const queues = new Set<string>();
    const counter = this.#counting();
    counter.head -= rows.length;
    for (let n = 0; n < rows.length; n++) {
      const place = placeRow(rows[n]!);
      this.#makeReady(place, rows[n]!["id"] as number, counter.head + n);
      queues.add(place.queue);
    }
    this.#sql.run(
      "DELETE FROM broker_parked WHERE (due, id) IN " +
        `(SELECT due, id FROM broker_parked WHERE due <= ? ORDER BY due, id LIMIT ${RELEASE_MAX})`,
      nowMs,
    );
    return [...queues];
  }

  begun(id: number): void {
    this.#sql.run("INSERT OR IGNORE INTO broker_begun VALUES (?)", id);
  }

  bury(session: number, id: number, reason: string, nowMs: number): void {
    if (!this.#release(session, id)) return;
    this.#sql.run(
      `INSERT INTO broker_dead SELECT id, queue, ?, attempts, ?, envelope FROM broker_message WHERE id = ?`,
      nowMs,
      reason,
      id,
    );
    this.#sql.run("DELETE FROM broker_message WHERE id = ?", id);
    this.#sql.run(
      `DELETE FROM broker_dead WHERE id IN
         (SELECT id FROM broker_dead ORDER BY at DESC LIMIT -1 OFFSET ${DEAD_LETTERS_MAX})`,
    );
  }

  parked(limit: number): ParkedMessage[] {
    return this.#sql.all(
      `SELECT queue, due, envelope FROM broker_parked AS parked CROSS JOIN broker_message AS message
         ON message.id = parked.id
       ORDER BY due, parked.id LIMIT ?`,
      Math.min(limit, STEP_MAX),
    ).map((row) => ({
      queue: row["queue"] as string,
      dueMs: row["due"] as number,
      envelope: row["envelope"] as string,
    }));
  }

  deadCount(): number {
    return this.#sql.get("SELECT count(*) AS n FROM broker_dead")!["n"] as number;
  }

  deadLetters(limit: number): DeadLetter[] {
    return this.#sql.all(
      "SELECT id, queue, at, reason, envelope FROM broker_dead ORDER BY at DESC, id DESC LIMIT ?",
      Math.min(limit, STEP_MAX),
    ).map((row) => ({
      id: String(row["id"]),
      queue: row["queue"] as string,
      reason: row["reason"] as string,
      atMs: row["at"] as number,
      envelope: row["envelope"] as string,
    }));
  }

  revive(id: string, queue: string, step: number): boolean {
    const row = this.#sql.get("DELETE FROM broker_dead WHERE id = ? RETURNING envelope", Number(id));
    if (row === undefined) return false;
    this.insert(queue, step, row["envelope"] as string);
    return true;
  }

  dropDead(id: string): boolean {
    return this.#sql.run("DELETE FROM broker_dead WHERE id = ?", Number(id)) > 0;
  }

  insertFanout(exchange: string, routingKey: string, envelope: string, nowMs: number): void {
    const subscriber = "SELECT 1 FROM broker_listener WHERE exchange = ? AND is_subscriber = 1 LIMIT 1";
    if (!this.#sql.get(subscriber, exchange)) return;
    const seq = this.#counting().nextId++;
    this.#sql.run(
      "INSERT INTO broker_fanout VALUES (?, ?, ?, ?, ?)",
      exchange,
      seq,
      routingKey,
      nowMs,
      envelope,
    );
    if (nowMs >= this.#fanoutCleanAtMs) this.#cleanFanouts(nowMs);
  }

  lastSeq(): number {
    return this.#counting().nextId - 1;
  }

  fanoutAfter(exchange: string, seq: number, limit: number): FanoutRow[] {
    return this.#sql.all(
      "SELECT seq, routing_key, envelope FROM broker_fanout WHERE exchange = ? AND seq > ? ORDER BY seq LIMIT ?",
      exchange,
      seq,
      limit,
    ).map((row) => ({
      seq: row["seq"] as number,
      routingKey: row["routing_key"] as string,
      envelope: row["envelope"] as string,
    }));
  }

  listeners(exchange: string): number {
    return this.#sql.get(
      "SELECT count(*) AS n FROM broker_listener WHERE exchange = ?",
      exchange,
    )!["n"] as number;
  }

  readLease(name: string): LeaseRow | null {
    const row = this.#sql.get("SELECT owner, token, since, ends FROM broker_lease WHERE name = ?", name);
    return row
      ? {
        owner: row["owner"] as string,
        token: row["token"] as number,
        sinceMs: row["since"] as number,
        endsMs: row["ends"] as number,
      }
      : null;
  }

  writeLease(name: string, { owner, token, sinceMs, endsMs }: LeaseRow): void {
    this.#sql.run(
      "INSERT OR REPLACE INTO broker_lease VALUES (?, ?, ?, ?, ?)",
      name,
      owner,
      token,
      sinceMs,
      endsMs,
    );
  }

  records(book: string): Map<string, string> {
    const rows = this.#sql.all("SELECT key, value FROM broker_record WHERE book = ?", book);
    return new Map(rows.map((row) => [row["key"] as string, row["value"] as string]));
  }

  readRecord(book: string, key: string): string | null {
    const row = this.#sql.get("SELECT value FROM broker_record WHERE book = ? AND key = ?", book, key);
    return row ? row["value"] as string : null;
  }

  writeRecord(book: string, key: string, value: string | null): void {
    if (value === null) this.#sql.run("DELETE FROM broker_record WHERE book = ? AND key = ?", book, key);
    else this.#sql.run("INSERT OR REPLACE INTO broker_record VALUES (?, ?, ?)", book, key, value);
  }

  openSession(name: string, leaseSeconds: number): number {
    const { host } = this.#world;
    const id = this.#counting().nextId++;
    this.#sql.run(
      "INSERT INTO broker_session VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      ...sessionRow({
        id,
        name,
        instance: this.#hub.instance,
        pid: host.pid,
        expires: this.#expiry(leaseSeconds),
      }),
    );
    this.#hub.sessions.add(id);
    this.#sessions.push(id);
    return id;
  }

  renewSession(session: number, leaseSeconds: number): boolean {
    const expires = this.#expiry(leaseSeconds);
    return this.#sql.run("UPDATE broker_session SET expires = ? WHERE id = ?", expires, session) > 0;
  }

  listen(session: number, queue: Queue, isSubscriber: boolean): void {
    this.#sql.run(
      "INSERT OR REPLACE INTO broker_listener VALUES (?, ?, ?, ?, ?, ?)",
      session,
      queue.name,
      queue.exchange.name,
      queue.routingKey,
      isSubscriber ? 1 : 0,
      queue.autoDelete ? 1 : 0,
    );
  }

  unlisten(session: number, queueName: string): void {
    const row = this.#sql.get(
      "DELETE FROM broker_listener WHERE session = ? AND queue = ? RETURNING auto_delete",
      session,
      queueName,
    );
    if (row?.["auto_delete"] !== 1) return;
    if (this.#sql.get("SELECT 1 FROM broker_listener WHERE queue = ? LIMIT 1", queueName)) return;
    this.deleteQueue(queueName);
  }

  closeSession(session: number): void {
    this.#endSession(session);
    this.#hub.sessions.delete(session);
  }

  sweep(nowMs: number): Sweep {
    const dead = deadSessions(this.#sql, { hub: this.#hub, nowMs, visibilityMs: this.#visibilityMs });
    if (dead.length === 0) return { restored: 0, queues: [] };
    return this.transact(() => {
      const queues = new Set<string>();
      let restored = 0;
      // Another sweep may have been faster; those gone meanwhile hold nothing.
      for (const session of dead) restored += this.#restore(session, queues);
      return { restored, queues: [...queues] };
    });
  }

  wake(topics: ReadonlySet<string>): void {
    this.#hub.wake(topics);
  }

  watch(topics: ReadonlySet<string>, onWake: () => void): void {
    this.#hub.watch(this, topics, onWake);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // A session that was not closed in order is from now on a dead one, to this process too.
    for (const session of this.#sessions) this.#hub.sessions.delete(session);
    this.#hub.close(this);
    this.#sql.close();
    this.#db.close();
  }

  #restore(session: number, queues: Set<string>): number {
    const rows = this.#sql.all(
      `SELECT held.id, queue, step, envelope FROM broker_held AS held JOIN broker_message USING (id)
       WHERE session = ? ORDER BY held.id`,
      session,
    );
    const counter = this.#counting();
    counter.head -= rows.length;
    for (let n = 0; n < rows.length; n++) {
      const row = rows[n]!;
      const id = row["id"] as number;
      const place = placeRow(row);
      this.#sql.run(
        `UPDATE broker_message SET envelope = ?2, attempts =
           attempts + (attempts = 0 OR EXISTS (SELECT 1 FROM broker_begun WHERE id = ?1))
         WHERE id = ?1`,
        id,
        marked(row["envelope"] as string),
      );
      this.#makeReady(place, id, counter.head + n);
      queues.add(place.queue);
    }
    this.#endSession(session);
    // Of what was settled since, too: rows of it are few, and ids are never used twice.
    this.#sql.run("DELETE FROM broker_begun WHERE id NOT IN (SELECT id FROM broker_held)");
    return rows.length;
  }

  #endSession(session: number): void {
    this.#sql.run("DELETE FROM broker_held WHERE session = ?", session);
    for (const row of this.#sql.all("SELECT queue FROM broker_listener WHERE session = ?", session)) {
      this.unlisten(session, row["queue"] as string);
    }
    this.#sql.run("DELETE FROM broker_session WHERE id = ?", session);
  }

  #takeTo(
    session: number,
    from: { queue: string; stepMax: number; limit: number },
    taken: HeldMessage[],
  ): void {
    const rows = this.#first(from.queue, from.stepMax, from.limit);
    const last = rows.at(-1);
    if (!last) return;
    const range = [from.queue, last["step"]!, last["position"]!] as const;
    this.#sql.run(
      `INSERT INTO broker_held SELECT id, ? FROM broker_ready
       WHERE queue = ? AND (step, position) <= (?, ?)`,
      session,
      ...range,
    );
    this.#sql.run("DELETE FROM broker_ready WHERE queue = ? AND (step, position) <= (?, ?)", ...range);
    for (const row of rows) {
      taken.push({
        id: row["id"] as number,
        queue: from.queue,
        attempts: row["attempts"] as number,
        envelope: row["envelope"] as string,
      });
    }
  }

  #first(queue: string, stepMax: number, limit: number): Row[] {
    return this.#sql.all(
      `SELECT ready.step, position, ready.id, attempts, envelope
       FROM broker_ready AS ready CROSS JOIN broker_message AS message ON message.id = ready.id
       WHERE ready.queue = ? AND ready.step <= ? ORDER BY ready.step, position LIMIT ?`,
      queue,
      stepMax,
      Math.min(limit, STEP_MAX),
    );
  }

  /** Takes a held message from its session; where it belongs, or null where the session does not hold it. */
  #release(session: number, id: number): Place | null {
    if (this.#sql.run("DELETE FROM broker_held WHERE id = ? AND session = ?", id, session) === 0) return null;
    const row = this.#sql.get("SELECT queue, step FROM broker_message WHERE id = ?", id);
    return row ? placeRow(row) : null;
  }

  #makeReady(place: Place, id: number, position: number): void {
    if (!this.#queuesMade.has(place.queue)) this.#makeQueue(place.queue);
    this.#sql.run("INSERT INTO broker_ready VALUES (?, ?, ?, ?)", place.queue, place.step, position, id);
  }

  #makeQueue(name: string): void {
    this.#sql.run("INSERT OR IGNORE INTO broker_queue VALUES (?)", name);
    this.#queuesMade.add(name);
  }

  #cleanFanouts(nowMs: number): void {
    this.#fanoutCleanAtMs = nowMs + FANOUT_CLEAN_MS;
    this.#sql.run(
      "DELETE FROM broker_fanout WHERE at < ? OR seq <= ?",
      nowMs - FANOUT_TTL_SECONDS * 1000,
      this.#counting().nextId - FANOUT_ROWS_MAX,
    );
  }

  #topologyChanged(): void {
    this.#sql.run("UPDATE broker_counter SET topology = topology + 1");
  }

  #counting(): Counter {
    if (this.#counter) return this.#counter;
    const row = this.#sql.get("SELECT next_id, head FROM broker_counter")!;
    return this.#counter = { nextId: row["next_id"] as number, head: row["head"] as number };
  }

  #expiry(leaseSeconds: number): number {
    return this.#world.clock.wallMs() + leaseSeconds * 1000;
  }
}

/** The queue and step of a message. */
interface Place {
  readonly queue: string;
  readonly step: number;
}

function placeRow(row: Row): Place {
  return { queue: row["queue"] as string, step: row["step"] as number };
}

function bindingRow(row: Row): Binding {
  return {
    queue: row["queue"] as string,
    exchange: row["exchange"] as string,
    routingKey: row["routing_key"] as string,
  };
}

/**
 * Opens the embedded broker of `sqlite://` (default place), `sqlite:///absolute.db` or `sqlite://relative.db`
 * (base/paths.ts), making what is missing. Of `broker_transport_options` it reads `priority_steps` and
 * `visibility_timeout` (seconds; default 3600): how long a process that lives but has stopped keeps its messages.
 * Rejects with AccessRefused, ServerError or DialError, each one line with the path.
 */
export const connectSqlite: Connect = async (world, url, options) => {
  options.signal?.throwIfAborted();
  const path = embeddedDatabasePath(url, world.host);
  const prioritySteps = priorityStepsOf(options.transportOptions);
  const visibility = options.transportOptions["visibility_timeout"];
  const db = await openDatabase(path, world.clock);
  makeWakeFolder(path);
  const store = new SqliteStore(world, db, {
    path,
    visibilitySeconds: typeof visibility === "number" ? visibility : VISIBILITY_TIMEOUT_SECONDS,
  });
  return new VirtualConnection(world, store, { url, prioritySteps, clientName: options.clientName });
};
