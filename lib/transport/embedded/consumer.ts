/**
 * The data lane over a store: the settlements of a turn are written in the turn's one transaction, and the
 * messages fetched in it are delivered right after. No promise per message.
 */

import { assert, errorText } from "../../base/mod.ts";
import { decodeEnvelope, isMarkedReported, markedIfEnvelope } from "../../wire/mod.ts";
import type { Queue } from "../entity.ts";
import type { ConsumeOptions, Consumer, ConsumerEvents } from "../transport.ts";
import type { Delivery } from "../message.ts";
import { type HeldMessage, queueTopic, type ReturnedMessage, type Store } from "./store.ts";

/** How many messages one turn fetches at most, so that the loop stays responsive. */
export const FETCH_MAX = 500;
/** How many characters of an undecodable message are shown. */
const SHOWN_MAX = 64 * 1024;

/** The connection, as a consumer sees it. */
export interface ConsumerHost {
  readonly store: Store;
  readonly session: number;
  /** Schedules a turn of the connection. */
  schedule(): void;
  /** Resolves when everything appended so far has reached the store. */
  flushed(): Promise<void>;
  /** Runs a write of the control lane. */
  write<T>(fn: () => T): Promise<T>;
  /** Called when the consumed queues have changed. */
  topicsChanged(): void;
  consumerClosed(): void;
}

interface Parked {
  readonly id: number;
  readonly dueMs: number;
}

interface Dead {
  readonly id: number;
  readonly reason: string;
}

/** The Consumer of memory and sqlite. */
export class VirtualConsumer implements Consumer {
  #host: ConsumerHost;
  #events: ConsumerEvents;
  #window: () => number;
  #queues: Queue[];
  /**
   * The index of the queue that comes first; it advances with every fetch, so that no queue starves another.
   */
  #firstQueue = 0;
  #held = new Map<number, string>();
  #acked: number[] = [];
  #requeued: ReturnedMessage[] = [];
  #restored: ReturnedMessage[] = [];
  #parked: Parked[] = [];
  #dead: Dead[] = [];
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
    await this.#host.write(() => this.#host.store.sessions.listen(this.#host.session, queue, false));
    this.#queues.push(queue);
    this.#host.topicsChanged();
    this.#host.schedule();
  }

  async cancelQueue(name: string): Promise<void> {
    const index = this.#queues.findIndex((queue) => queue.name === name);
    if (index < 0) return;
    this.#queues.splice(index, 1);
    this.#host.topicsChanged();
    await this.#host.write(() => this.#host.store.sessions.unlisten(this.#host.session, name));
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
      const returned = { id: tag as number, envelope: markedIfEnvelope(envelope) };
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

  deadLetter(tag: number | string, reason: string): boolean {
    this.#take(tag);
    this.#dead.push({ id: tag as number, reason });
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
    for (const [id, envelope] of this.#held) rest.push({ id, envelope: markedIfEnvelope(envelope) });
    this.#held.clear();
    const { store, session } = this.#host;
    const topics = await this.#host.write(() => {
      const queues = store.messages.putBack(session, rest, "head");
      for (const queue of this.#queues) store.sessions.unlisten(session, queue.name);
      return new Set(queues.map(queueTopic));
    });
    store.wake(topics);
    this.#host.consumerClosed();
    return rest.length;
  }

  /** Whether a turn has something to write for this consumer. */
  get hasSettlements(): boolean {
    return this.#acked.length > 0 || this.#requeued.length > 0 || this.#restored.length > 0 ||
      this.#parked.length > 0 || this.#dead.length > 0 || this.#begun.length > 0;
  }

  /** Returns the queues that have messages, in the order of fetching; empty if nothing may be fetched. */
  readyQueues(): string[] {
    const names: string[] = [];
    if (this.#isPaused || this.#isClosed || !(this.#window() > 0)) return names;
    for (let n = 0; n < this.#queues.length; n++) {
      const { name } = this.#queues[(this.#firstQueue + n) % this.#queues.length]!;
      if (this.#host.store.messages.isReady(name)) names.push(name);
    }
    return names;
  }

  /** Writes the settlements, inside the turn's transaction. Adds the topics to wake. */
  writeSettlements(nowMs: number, topics: Set<string>): void {
    const { store, session } = this.#host;
    for (const id of this.#begun) store.messages.begun(id);
    if (this.#acked.length > 0) store.messages.settle(session, this.#acked);
    for (const queue of store.messages.putBack(session, this.#requeued, "tail")) {
      topics.add(queueTopic(queue));
    }
    for (const queue of store.messages.putBack(session, this.#restored, "head")) {
      topics.add(queueTopic(queue));
    }
    for (const { id, dueMs } of this.#parked) {
      const queue = store.parked.park(session, id, dueMs);
      if (queue !== null) topics.add(queueTopic(queue));
    }
    for (const { id, reason } of this.#dead) store.dead.add(session, id, reason, nowMs);
  }

  /** Clears the settlements after the transaction. */
  settlementsWritten(): void {
    this.#acked.length = 0;
    this.#requeued.length = 0;
    this.#restored.length = 0;
    this.#parked.length = 0;
    this.#dead.length = 0;
    this.#begun.length = 0;
  }

  /** Fetches what the window allows, inside the turn's transaction. */
  fetch(queues: readonly string[]): HeldMessage[] {
    const limit = Math.min(this.#window(), FETCH_MAX);
    if (this.#isPaused || !(limit > 0)) return [];
    this.#firstQueue = (this.#firstQueue + 1) % this.#queues.length;
    return this.#host.store.messages.fetch(this.#host.session, queues, limit);
  }

  /** Delivers the fetched messages, after the transaction. */
  deliver(rows: readonly HeldMessage[]): void {
    const batch: Delivery[] = [];
    for (const row of rows) {
      this.#held.set(row.id, row.envelope);
      if (row.attempts > 0) continue;
      const delivery = this.#read(row);
      if (delivery !== null) batch.push(delivery);
    }
    if (batch.length > 0) this.#events.onDeliveries(batch);
    for (const row of rows) if (row.attempts > 0) this.#deliverAlone(row);
    if (rows.length > 0 && this.#window() > 0) this.#host.schedule();
  }

  /** Decodes a message; if it cannot be decoded, reports that to the owner and returns null. */
  #read(row: HeldMessage): Delivery | null {
    try {
      const { message, info } = decodeEnvelope(row.envelope);
      const { id: tag, queue, envelope, attempts } = row;
      const wasReported = isMarkedReported(envelope) && !info.redelivered;
      return { tag, queue, message, info, envelope, attempts, wasReported };
    } catch (error) {
      this.#events.onUndecodable({
        tag: row.id,
        queue: row.queue,
        text: row.envelope.slice(0, SHOWN_MAX),
        reason: errorText(error),
      });
      return null;
    }
  }

  /**
   * Delivers a message that a process died with. It counts as begun while it is delivered: if that kills the
   * process again, the death counts against this message, and not against the others of its fetch.
   */
  #deliverAlone(row: HeldMessage): void {
    const { store } = this.#host;
    if (this.#isClosed || !this.#held.has(row.id)) return;
    const isMarked = attempted(() => store.transact(() => store.messages.begun(row.id)));
    const delivery = this.#read(row);
    if (delivery !== null) this.#events.onDeliveries([delivery]);
    // If another process is writing, the mark stays; it is deleted with the message.
    if (isMarked && !this.#begun.includes(row.id)) {
      attempted(() => store.transact(() => store.messages.notBegun(row.id)));
    }
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

/** Tries a write that may be left out; returns true if it was made. */
function attempted(write: () => void): boolean {
  try {
    write();
    return true;
  } catch {
    return false; // the store is busy: a death while the message is delivered does not count then
  }
}
