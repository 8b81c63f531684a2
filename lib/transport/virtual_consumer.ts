/**
 * The data lane over a store: what is settled in a turn leaves in the turn's one transaction, and what is fetched in
 * it is delivered right after. No promise per message.
 */

import { assert, errorText } from "../base/mod.ts";
import { decodeEnvelope, markRedelivered } from "../wire/mod.ts";
import type { Queue } from "./entity.ts";
import type { ConsumeOptions, Consumer, ConsumerEvents, Delivery } from "./transport.ts";
import { type HeldMessage, queueTopic, type ReturnedMessage, type Store } from "./virtual_store.ts";

/** How many messages one turn fetches at most, so that the loop stays responsive. */
export const FETCH_MAX = 500;
/** How much of an undecodable message is shown. */
const SHOWN_MAX = 64 * 1024;

/** What a consumer needs of its connection. */
export interface ConsumerHost {
  readonly store: Store;
  readonly session: number;
  /** Has the connection run a turn soon. */
  schedule(): void;
  /** Resolves when everything appended so far has reached the store. */
  flushed(): Promise<void>;
  /** Runs a write of the control lane. */
  write<T>(fn: () => T): Promise<T>;
  /** Says that the queues listened to have changed. */
  topicsChanged(): void;
  consumerClosed(): void;
}

interface Parked {
  readonly id: number;
  readonly dueMs: number;
}

interface Buried {
  readonly id: number;
  readonly reason: string;
}

/** The Consumer of memory and sqlite. */
export class VirtualConsumer implements Consumer {
  #host: ConsumerHost;
  #events: ConsumerEvents;
  #window: () => number;
  #queues: Queue[];
  /** The queue that is asked first; moves on with every fetch, so that no queue starves another. */
  #turnOf = 0;
  #held = new Map<number, string>();
  #acked: number[] = [];
  #requeued: ReturnedMessage[] = [];
  #restored: ReturnedMessage[] = [];
  #parked: Parked[] = [];
  #buried: Buried[] = [];
  #begun: number[] = [];
  #isPaused = false;
  #isClosed = false;

  constructor(host: ConsumerHost, options: ConsumeOptions, events: ConsumerEvents) {
    this.#host = host;
    this.#events = events;
    this.#window = options.window;
    this.#queues = [...options.queues];
  }

  get queues(): readonly Queue[] {
    return this.#queues;
  }

  get unsettled(): number {
    return this.#held.size;
  }

  async addQueue(queue: Queue): Promise<void> {
    if (this.#isClosed || this.#queues.some((one) => one.name === queue.name)) return;
    await this.#host.write(() => this.#host.store.listen(this.#host.session, queue, false));
    this.#queues.push(queue);
    this.#host.topicsChanged();
    this.#host.schedule();
  }

  async cancelQueue(name: string): Promise<void> {
    const index = this.#queues.findIndex((queue) => queue.name === name);
    if (index < 0) return;
    this.#queues.splice(index, 1);
    this.#host.topicsChanged();
    await this.#host.write(() => this.#host.store.unlisten(this.#host.session, name));
  }

  wake(): void {
    if (!this.#isClosed) this.#host.schedule();
  }

  ack(tag: number | string): void {
    this.#take(tag);
    this.#acked.push(tag as number);
    this.#host.schedule();
  }

  reject(tag: number | string, how: "drop" | "requeue" | "restore"): void {
    const envelope = this.#take(tag);
    if (how === "drop") this.#acked.push(tag as number);
    else {
      const returned = { id: tag as number, envelope: marked(envelope) };
      (how === "requeue" ? this.#requeued : this.#restored).push(returned);
    }
    this.#host.schedule();
  }

  park(tag: number | string, dueMs: number): boolean {
    this.#take(tag);
    this.#parked.push({ id: tag as number, dueMs });
    this.#host.schedule();
    return true;
  }

  bury(tag: number | string, reason: string): boolean {
    this.#take(tag);
    this.#buried.push({ id: tag as number, reason });
    this.#host.schedule();
    return true;
  }

  begun(tag: number | string): void {
    if (!this.#held.has(tag as number)) return;
    this.#begun.push(tag as number);
    this.#host.schedule();
  }

  setPrefetch(_count: number): void {}

  pause(): Promise<void> {
    this.#isPaused = true;
    return this.flush();
  }

  resume(): void {
    this.#isPaused = false;
    this.wake();
  }

  flush(): Promise<void> {
    return this.#isClosed ? Promise.resolve() : this.#host.flushed();
  }

  async close(): Promise<number> {
    if (this.#isClosed) return 0;
    this.#isPaused = true;
    await this.#host.flushed();
    if (this.#isClosed) return 0;
    this.#isClosed = true;
    const rest: ReturnedMessage[] = [];
    for (const [id, envelope] of this.#held) rest.push({ id, envelope: marked(envelope) });
    this.#held.clear();
    const { store, session } = this.#host;
    const topics = await this.#host.write(() => {
      const queues = store.putBack(session, rest, "head");
      for (const queue of this.#queues) store.unlisten(session, queue.name);
      return new Set(queues.map(queueTopic));
    });
    store.wake(topics);
    this.#host.consumerClosed();
    return rest.length;
  }

  /** Whether a turn has something to write for us. */
  get hasSettlements(): boolean {
    return this.#acked.length > 0 || this.#requeued.length > 0 || this.#restored.length > 0 ||
      this.#parked.length > 0 || this.#buried.length > 0 || this.#begun.length > 0;
  }

  /** The queues that have something for us, in the order to ask them; empty where nothing may be fetched. */
  readyQueues(): string[] {
    const names: string[] = [];
    if (this.#isPaused || this.#isClosed || !(this.#window() > 0)) return names;
    for (let n = 0; n < this.#queues.length; n++) {
      const { name } = this.#queues[(this.#turnOf + n) % this.#queues.length]!;
      if (this.#host.store.isReady(name)) names.push(name);
    }
    return names;
  }

  /** Inside the turn's transaction: writes the settlements. Adds the topics to wake. */
  writeSettlements(nowMs: number, topics: Set<string>): void {
    const { store, session } = this.#host;
    for (const id of this.#begun) store.begun(id);
    if (this.#acked.length > 0) store.settle(session, this.#acked);
    for (const queue of store.putBack(session, this.#requeued, "tail")) topics.add(queueTopic(queue));
    for (const queue of store.putBack(session, this.#restored, "head")) topics.add(queueTopic(queue));
    for (const { id, dueMs } of this.#parked) {
      const queue = store.park(session, id, dueMs);
      if (queue !== null) topics.add(queueTopic(queue));
    }
    for (const { id, reason } of this.#buried) store.bury(session, id, reason, nowMs);
  }

  /** After the transaction: what was written is done. */
  settlementsWritten(): void {
    this.#acked.length = 0;
    this.#requeued.length = 0;
    this.#restored.length = 0;
    this.#parked.length = 0;
    this.#buried.length = 0;
    this.#begun.length = 0;
  }

  /** Inside the turn's transaction: takes what the window allows. */
  fetch(queues: readonly string[]): HeldMessage[] {
    const limit = Math.min(this.#window(), FETCH_MAX);
    if (this.#isPaused || !(limit > 0)) return [];
    this.#turnOf = (this.#turnOf + 1) % this.#queues.length;
    return this.#host.store.fetch(this.#host.session, queues, limit);
  }

  /** After the transaction: hands on what was fetched. */
  deliver(rows: readonly HeldMessage[]): void {
    const batch: Delivery[] = [];
    for (const row of rows) {
      this.#held.set(row.id, row.envelope);
      try {
        const { message, info } = decodeEnvelope(row.envelope);
        batch.push({
          tag: row.id,
          queue: row.queue,
          message,
          info,
          envelope: row.envelope,
          attempts: row.attempts,
        });
      } catch (error) {
        this.#events.onUndecodable({
          tag: row.id,
          queue: row.queue,
          text: row.envelope.slice(0, SHOWN_MAX),
          reason: errorText(error),
        });
      }
    }
    if (batch.length > 0) this.#events.onDeliveries(batch);
    if (rows.length > 0 && this.#window() > 0) this.#host.schedule();
  }

  restored(count: number): void {
    this.#events.onRestored?.(count);
  }

  lost(error: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#events.onLost(error);
  }

  #take(tag: number | string): string {
    const envelope = this.#held.get(tag as number);
    assert(envelope !== undefined, "a delivery is settled once, by its own consumer");
    this.#held.delete(tag as number);
    return envelope;
  }
}

/** The envelope with its redelivered marks; a broken one goes back as it came. */
export function marked(envelope: string): string {
  try {
    return markRedelivered(envelope);
  } catch {
    return envelope; // no envelope, nothing to mark
  }
}
