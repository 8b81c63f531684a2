/**
 * Sessions of the embedded broker: they hold messages and listen to queues for as long as their process
 * lives.
 */

import type { World } from "../../../base/mod.ts";
import { processMark, processSpace } from "../../../platform/mod.ts";
import type { Database } from "../../../sqlite/mod.ts";
import type { Queue } from "../../entity.ts";
import { markedIfEnvelope } from "../../../wire/mod.ts";
import type { SessionStore, Sweep } from "../store.ts";
import type { Counter } from "./counter.ts";
import type { SqliteHub } from "./hub.ts";
import { placeOf, type SqliteMessages } from "./messages.ts";
import type { SqliteTopology } from "./topology.ts";

/** The parts of the store that sessions need. */
export interface SessionParts {
  readonly world: World;
  readonly database: Database;
  readonly counter: Counter;
  readonly hub: SqliteHub;
  readonly messages: SqliteMessages;
  readonly topology: SqliteTopology;
  /**
   * How long a process that lives but does not renew its lease (stopped, hung) keeps its messages,
   * milliseconds.
   */
  readonly visibilityMs: number;
  transact<T>(fn: () => T): T;
}

/** The tables broker_session and broker_listener. */
export class SqliteSessions implements SessionStore {
  readonly #parts: SessionParts;
  readonly #database: Database;
  /** The sessions of this connection. */
  readonly #own: number[] = [];

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#database = parts.database;
  }

  open(name: string, leaseSeconds: number): number {
    const { world, counter, hub } = this.#parts;
    const { pid } = world.host;
    const id = counter.next();
    const space = processSpace();
    this.#database.run(
      "INSERT INTO broker_session VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      id,
      name,
      hub.instance,
      pid,
      space?.boot ?? null,
      space?.namespace ?? null,
      processMark(pid),
      this.#expiry(leaseSeconds),
    );
    hub.sessions.add(id);
    this.#own.push(id);
    return id;
  }

  renew(session: number, leaseSeconds: number): boolean {
    const expires = this.#expiry(leaseSeconds);
    return this.#database.run("UPDATE broker_session SET expires = ? WHERE id = ?", expires, session) > 0;
  }

  listen(session: number, queue: Queue, isSubscriber: boolean): void {
    this.#database.run(
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
    const row = this.#database.get(
      "DELETE FROM broker_listener WHERE session = ? AND queue = ? RETURNING auto_delete",
      session,
      queueName,
    );
    if (row?.["auto_delete"] !== 1) return;
    if (this.#database.get("SELECT 1 FROM broker_listener WHERE queue = ? LIMIT 1", queueName)) return;
    this.#parts.topology.deleteQueue(queueName);
  }

  listeners(exchange: string): number {
    return this.#database.get(
      "SELECT count(*) AS n FROM broker_listener WHERE exchange = ?",
      exchange,
    )!["n"] as number;
  }

  close(session: number): void {
    this.#end(session);
    this.#parts.hub.sessions.delete(session);
  }

  sweep(nowMs: number): Sweep {
    const dead = this.#dead(nowMs);
    if (dead.length === 0) return { restored: 0, queues: [] };
    return this.#parts.transact(() => {
      const queues = new Set<string>();
      let restored = 0;
      // Another sweep may have been faster; a session that it ended holds nothing.
      for (const session of dead) restored += this.#restore(session, queues);
      return { restored, queues: [...queues] };
    });
  }

  /**
   * Called when the connection closes: from now on this process, too, takes a session that was not closed for
   * dead.
   */
  abandon(): void {
    for (const session of this.#own) this.#parts.hub.sessions.delete(session);
  }

  /**
   * Returns the sessions whose processes are dead. For this isolate's sessions that is known; for others of
   * the same process table that table shows it; for the rest their leases do. A process that lives but does
   * not renew (stopped, hung) keeps its messages until `visibilityMs` after its lease, so that no task runs
   * twice because a machine was slow.
   */
  #dead(nowMs: number): number[] {
    const { hub, visibilityMs } = this.#parts;
    const rows = this.#database.all("SELECT * FROM broker_session");
    // The usual case, this isolate's sessions alone, needs no further checks.
    if (rows.every((row) => row["instance"] === hub.instance && hub.sessions.has(row["id"] as number))) {
      return [];
    }
    const dead: number[] = [];
    const space = processSpace();
    for (const row of rows) {
      const id = row["id"] as number;
      const expires = row["expires"] as number;
      let isDead = expires < nowMs;
      if (row["instance"] === hub.instance) {
        isDead = !hub.sessions.has(id);
      } else if (space && row["boot"] !== null && row["boot"] !== space.boot) {
        isDead = true; // the machine was restarted since
      } else if (space && row["namespace"] === space.namespace && row["started"] !== null) {
        isDead = processMark(row["pid"] as number) !== row["started"] || expires + visibilityMs < nowMs;
      }
      if (isDead) dead.push(id);
    }
    return dead;
  }

  #restore(session: number, queues: Set<string>): number {
    const { counter, messages } = this.#parts;
    const rows = this.#database.all(
      `SELECT held.id, queue, step, envelope FROM broker_held AS held JOIN broker_message USING (id)
       WHERE session = ? ORDER BY held.id`,
      session,
    );
    const first = counter.ahead(rows.length);
    for (let n = 0; n < rows.length; n++) {
      const row = rows[n]!;
      const id = row["id"] as number;
      const place = placeOf(row);
      this.#database.run(
        `UPDATE broker_message SET envelope = ?2, attempts =
           attempts + (attempts = 0 OR EXISTS (SELECT 1 FROM broker_begun WHERE id = ?1))
         WHERE id = ?1`,
        id,
        markedIfEnvelope(row["envelope"] as string),
      );
      messages.makeReady(place, id, first + n);
      queues.add(place.queue);
    }
    this.#end(session);
    // Includes rows of messages settled since: they are few, and ids are never used twice.
    this.#database.run("DELETE FROM broker_begun WHERE id NOT IN (SELECT id FROM broker_held)");
    return rows.length;
  }

  #end(session: number): void {
    this.#database.run("DELETE FROM broker_held WHERE session = ?", session);
    for (const row of this.#database.all("SELECT queue FROM broker_listener WHERE session = ?", session)) {
      this.unlisten(session, row["queue"] as string);
    }
    this.#database.run("DELETE FROM broker_session WHERE id = ?", session);
  }

  #expiry(leaseSeconds: number): number {
    return this.#parts.world.clock.wallMs() + leaseSeconds * 1000;
  }
}
