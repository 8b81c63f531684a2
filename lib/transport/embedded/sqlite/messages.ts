/**
 * Messages of the embedded broker: those that wait (broker_ready) and those that sessions hold (broker_held).
 * Both refer to broker_message (schema.ts).
 */

import { ConnectionLost } from "../../../base/mod.ts";
import type { Database, Row } from "../../../sqlite/mod.ts";
import { toJson } from "../../../wire/mod.ts";
import type { HeldMessage, MessageStore, ReturnedMessage } from "../store.ts";
import type { Counter } from "./counter.ts";

/** The largest LIMIT that is passed to SQLite; also above every step. */
export const ROWS_MAX = 0x7fff_ffff;

/** The queue and step of a message. */
export interface Place {
  readonly queue: string;
  readonly step: number;
}

/** Returns the place in a row of broker_message. */
export function placeOf(row: Row): Place {
  return { queue: row["queue"] as string, step: row["step"] as number };
}

/** The tables broker_queue, broker_message, broker_ready, broker_held and broker_begun. */
export class SqliteMessages implements MessageStore {
  readonly #database: Database;
  readonly #counter: Counter;
  /** Queues made in this transaction. */
  readonly #made = new Set<string>();

  constructor(database: Database, counter: Counter) {
    this.#database = database;
    this.#counter = counter;
  }

  /** Called when a transaction begins. */
  reset(): void {
    this.#made.clear();
  }

  names(): string[] {
    return this.#database.all("SELECT name FROM broker_queue ORDER BY name").map((row) =>
      row["name"] as string
    );
  }

  length(queue: string): number | null {
    const row = this.#database.get(
      `SELECT (SELECT count(*) FROM broker_ready WHERE queue = ?1) AS waiting,
              EXISTS (SELECT 1 FROM broker_queue WHERE name = ?1) AS known`,
      queue,
    )!;
    const waiting = row["waiting"] as number;
    return waiting > 0 || row["known"] === 1 ? waiting : null;
  }

  heldOf(queue: string): number {
    const sql =
      `SELECT count(*) AS held FROM broker_held CROSS JOIN broker_message USING (id) WHERE queue = ?`;
    return this.#database.get(sql, queue)!["held"] as number;
  }

  purge(queue: string): number {
    this.#database.run(
      "DELETE FROM broker_message WHERE id IN (SELECT id FROM broker_ready WHERE queue = ?)",
      queue,
    );
    return this.#database.run("DELETE FROM broker_ready WHERE queue = ?", queue);
  }

  isReady(queue: string): boolean {
    return this.#database.get("SELECT 1 FROM broker_ready WHERE queue = ? LIMIT 1", queue) !== undefined;
  }

  insert(queue: string, step: number, envelope: string): void {
    this.makeQueue(queue);
    const database = this.#database;
    const id = this.#counter.next();
    database.statement("INSERT INTO broker_message VALUES (?, ?, ?, 0, ?)").run(id, queue, step, envelope);
    database.statement("INSERT INTO broker_ready VALUES (?, ?, ?, ?)").run(queue, step, id, id);
  }

  fetch(session: number, queues: readonly string[], limit: number): HeldMessage[] {
    const taken: HeldMessage[] = [];
    if (!this.#database.get("SELECT 1 FROM broker_session WHERE id = ?", session)) {
      throw new ConnectionLost(`Connection to database "${this.#database.path}" was taken for dead`);
    }
    if (queues.length === 1) {
      this.#takeTo(session, { queue: queues[0]!, stepMax: ROWS_MAX, limit }, taken);
      return taken;
    }
    while (taken.length < limit) {
      let step = Infinity;
      const heads = queues.map((queue) => {
        const row = this.#database.get(
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
    return this.#first(queue, ROWS_MAX, 1)[0]?.["envelope"] as string | undefined ?? null;
  }

  pop(queue: string, limit: number): string[] {
    const rows = this.#first(queue, ROWS_MAX, limit);
    const last = rows.at(-1);
    if (!last) return [];
    const range = [queue, last["step"]!, last["position"]!] as const;
    this.#database.run(
      `DELETE FROM broker_message WHERE id IN
         (SELECT id FROM broker_ready WHERE queue = ? AND (step, position) <= (?, ?))`,
      ...range,
    );
    this.#database.run("DELETE FROM broker_ready WHERE queue = ? AND (step, position) <= (?, ?)", ...range);
    return rows.map((row) => row["envelope"] as string);
  }

  settle(session: number, ids: readonly number[]): void {
    const list = toJson(ids);
    this.#database.run(
      `DELETE FROM broker_message WHERE id IN
         (SELECT held.id FROM json_each(?) AS given CROSS JOIN broker_held AS held ON held.id = given.value
          WHERE held.session = ?)`,
      list,
      session,
    );
    this.#database.run(
      "DELETE FROM broker_held WHERE id IN (SELECT value FROM json_each(?)) AND session = ?",
      list,
      session,
    );
  }

  putBack(session: number, messages: readonly ReturnedMessage[], at: "head" | "tail"): string[] {
    if (messages.length === 0) return [];
    const queues = new Set<string>();
    const first = at === "head" ? this.#counter.ahead(messages.length) : 0;
    for (let n = 0; n < messages.length; n++) {
      const { id, envelope } = messages[n]!;
      const place = this.release(session, id);
      if (!place) continue;
      this.#database.run("UPDATE broker_message SET envelope = ? WHERE id = ?", envelope, id);
      this.makeReady(place, id, at === "head" ? first + n : this.#counter.next());
      queues.add(place.queue);
    }
    return [...queues];
  }

  begun(id: number): void {
    this.#database.run("INSERT OR IGNORE INTO broker_begun VALUES (?)", id);
  }

  notBegun(id: number): void {
    this.#database.run("DELETE FROM broker_begun WHERE id = ?", id);
  }

  /** Takes a held message from its session; returns its place, or null if the session does not hold it. */
  release(session: number, id: number): Place | null {
    const isHeld =
      this.#database.run("DELETE FROM broker_held WHERE id = ? AND session = ?", id, session) > 0;
    const row = isHeld && this.#database.get("SELECT queue, step FROM broker_message WHERE id = ?", id);
    return row ? placeOf(row) : null;
  }

  /** Puts a message at a position of its queue. */
  makeReady({ queue, step }: Place, id: number, position: number): void {
    this.makeQueue(queue);
    this.#database.run("INSERT INTO broker_ready VALUES (?, ?, ?, ?)", queue, step, position, id);
  }

  /** Creates a queue if there is none. */
  makeQueue(name: string): void {
    if (this.#made.has(name)) return;
    this.#database.run("INSERT OR IGNORE INTO broker_queue VALUES (?)", name);
    this.#made.add(name);
  }

  /** Deletes a queue and its waiting messages. */
  deleteQueue(name: string): void {
    this.purge(name);
    this.#database.run("DELETE FROM broker_queue WHERE name = ?", name);
    this.#made.delete(name);
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
    this.#database.run(
      `INSERT INTO broker_held SELECT id, ? FROM broker_ready
       WHERE queue = ? AND (step, position) <= (?, ?)`,
      session,
      ...range,
    );
    this.#database.run("DELETE FROM broker_ready WHERE queue = ? AND (step, position) <= (?, ?)", ...range);
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
    return this.#database.all(
      `SELECT ready.step, position, ready.id, attempts, envelope
       FROM broker_ready AS ready CROSS JOIN broker_message AS message ON message.id = ready.id
       WHERE ready.queue = ? AND ready.step <= ? ORDER BY ready.step, position LIMIT ?`,
      queue,
      stepMax,
      Math.min(limit, ROWS_MAX),
    );
  }
}
