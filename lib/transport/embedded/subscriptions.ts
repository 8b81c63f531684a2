/** The subscriptions of a connection to a store: queues read without acknowledgement, and copies of fanouts. */

import { errorText, type LinearPattern, type Log } from "../../base/mod.ts";
import { decodeEnvelope } from "../../wire/mod.ts";
import type { Queue } from "../entity.ts";
import type { Note } from "../message.ts";
import { fanoutFilter } from "../routing.ts";
import { FETCH_MAX } from "./consumer.ts";
import { fanoutTopic, queueTopic, type Store } from "./store.ts";

/** A subscription. */
export interface Listener {
  readonly queue: Queue;
  readonly onNote: (note: Note) => void;
  readonly isFanout: boolean;
  readonly filter: LinearPattern | null;
  /** The number of the last message read from the fanout. */
  seq: number;
}

/** The connection, as subscriptions see it. */
export interface SubscriptionsHost {
  readonly store: Store;
  readonly log: Log;
  /** Schedules a turn of the connection. */
  schedule(): void;
}

/** The subscriptions of one connection. */
export class Subscriptions {
  readonly #host: SubscriptionsHost;
  readonly #listeners = new Set<Listener>();

  constructor(host: SubscriptionsHost) {
    this.#host = host;
  }

  /** Records a session's subscription, inside a transaction. It receives messages once it is added. */
  open(session: number, queue: Queue, onNote: (note: Note) => void): Listener {
    const { topology, sessions, fanouts } = this.#host.store;
    const isFanout = queue.exchange.type === "fanout" && queue.exchange.name !== "";
    if (isFanout) {
      topology.declareExchange(queue.exchange);
      // Subscribers read a fanout by sequence numbers; a queue that somebody declared would only fill up.
      topology.deleteQueue(queue.name);
    } else {
      topology.declareQueue(queue);
    }
    sessions.listen(session, queue, isFanout);
    const filter = isFanout ? fanoutFilter(queue.routingKey) : null;
    return { queue, onNote, isFanout, filter, seq: fanouts.lastSeq() };
  }

  /** Starts delivering to a subscription. */
  add(listener: Listener): void {
    this.#listeners.add(listener);
  }

  /** Stops delivering to a subscription. */
  delete(listener: Listener): void {
    this.#listeners.delete(listener);
  }

  /** Stops delivering to all subscriptions. */
  clear(): void {
    this.#listeners.clear();
  }

  /** Ends a session's listening to all queues, inside a transaction. */
  unlistenAll(session: number): void {
    for (const { queue } of this.#listeners) this.#host.store.sessions.unlisten(session, queue.name);
  }

  /** Adds the topics that wake the connection. */
  addTopics(topics: Set<string>): void {
    for (const { queue, isFanout } of this.#listeners) {
      topics.add(isFanout ? fanoutTopic(queue.exchange.name) : queueTopic(queue.name));
    }
  }

  /** Returns the subscriptions whose queue has messages. */
  ready(): Listener[] {
    const ready: Listener[] = [];
    for (const listener of this.#listeners) {
      if (!listener.isFanout && this.#host.store.messages.isReady(listener.queue.name)) ready.push(listener);
    }
    return ready;
  }

  /** Delivers new messages of fanouts. Callbacks may close the connection, which ends the loop. */
  readFanouts(): void {
    for (const listener of this.#listeners) {
      if (!listener.isFanout) continue;
      const rows = this.#host.store.fanouts.after(listener.queue.exchange.name, listener.seq, FETCH_MAX);
      if (rows.length === 0) continue;
      listener.seq = rows.at(-1)!.seq;
      const wanted = rows.filter((row) => listener.filter === null || listener.filter.test(row.routingKey));
      this.deliver(listener, wanted.map((row) => row.envelope));
      if (rows.length === FETCH_MAX) this.#host.schedule();
    }
  }

  /** Delivers messages to a subscription, unless it has ended meanwhile. */
  deliver(listener: Listener, envelopes: readonly string[]): void {
    for (const envelope of envelopes) {
      let note: Note;
      try {
        const { message, info } = decodeEnvelope(envelope);
        note = { message, info };
      } catch (error) {
        this.#host.log.warning(
          `Cannot read a message of queue "${listener.queue.name}": ${errorText(error)}`,
        );
        continue;
      }
      if (this.#listeners.has(listener)) listener.onNote(note);
    }
    if (!listener.isFanout && envelopes.length === FETCH_MAX) this.#host.schedule();
  }
}
