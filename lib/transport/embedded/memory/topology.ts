/** Exchanges, bindings and listeners of the memory broker, and the messages of its fanouts. */

import type { Binding, Exchange, Queue } from "../../entity.ts";
import { bindingOf, RoutingTable } from "../../routing.ts";
import {
  FANOUT_TTL_SECONDS,
  type FanoutRow,
  type FanoutStore,
  type SessionStore,
  type Sweep,
  type TopologyStore,
} from "../store.ts";
import type { MemoryMessages } from "./messages.ts";

interface Listener {
  readonly session: number;
  readonly queue: Queue;
  readonly isSubscriber: boolean;
}

/** Exchanges, queues, bindings and their listeners. */
export class MemoryTopology implements TopologyStore {
  listeners: Listener[] = [];
  readonly #messages: MemoryMessages;
  readonly #routing = new RoutingTable();

  constructor(messages: MemoryMessages) {
    this.#messages = messages;
  }

  declareExchange(exchange: Exchange): void {
    this.#routing.setExchange(exchange.name, exchange.type);
  }

  declareQueue(queue: Queue): number {
    this.declareExchange(queue.exchange);
    const binding = bindingOf(queue);
    if (binding) this.#routing.bind(binding);
    return this.#messages.queue(queue.name).length;
  }

  deleteQueue(name: string): void {
    this.#routing.unbind(name);
    this.#messages.deleteQueue(name);
  }

  routing(): RoutingTable {
    return this.#routing;
  }

  bindings(): Binding[] {
    const bindings = this.#routing.bindings();
    for (const { queue, isSubscriber } of this.listeners) {
      const binding = isSubscriber ? bindingOf(queue) : null;
      if (binding) bindings.push(binding);
    }
    return bindings;
  }
}

/** Sessions, which live as long as the process. */
export class MemorySessions implements SessionStore {
  readonly #topology: MemoryTopology;
  #next = 1;

  constructor(topology: MemoryTopology) {
    this.#topology = topology;
  }

  open(_name: string, _leaseSeconds: number): number {
    return this.#next++;
  }

  renew(_session: number, _leaseSeconds: number): boolean {
    return true;
  }

  listen(session: number, queue: Queue, isSubscriber: boolean): void {
    this.#topology.listeners.push({ session, queue, isSubscriber });
  }

  unlisten(session: number, queueName: string): void {
    const { listeners } = this.#topology;
    const index = listeners.findIndex((one) => one.session === session && one.queue.name === queueName);
    if (index < 0) return;
    const [{ queue }] = listeners.splice(index, 1) as [Listener];
    if (queue.autoDelete && !listeners.some((one) => one.queue.name === queueName)) {
      this.#topology.deleteQueue(queueName);
    }
  }

  listeners(exchange: string): number {
    return this.#topology.listeners.filter(({ queue }) => queue.exchange.name === exchange).length;
  }

  close(session: number): void {
    this.#topology.listeners = this.#topology.listeners.filter((one) => one.session !== session);
  }

  /** Finds nothing: sessions never die without the process. */
  sweep(_nowMs: number): Sweep {
    return { restored: 0, queues: [] };
  }
}

/** Messages of fanouts, by exchange. */
export class MemoryFanouts implements FanoutStore {
  readonly #topology: MemoryTopology;
  readonly #rows = new Map<string, (FanoutRow & { atMs: number })[]>();
  #last = 0;

  constructor(topology: MemoryTopology) {
    this.#topology = topology;
  }

  insert(exchange: string, routingKey: string, envelope: string, nowMs: number): void {
    const hasSubscriber = this.#topology.listeners.some((one) =>
      one.isSubscriber && one.queue.exchange.name === exchange
    );
    if (!hasSubscriber) {
      this.#rows.delete(exchange);
      return;
    }
    let rows = this.#rows.get(exchange);
    if (!rows) this.#rows.set(exchange, rows = []);
    rows.push({ seq: ++this.#last, routingKey, envelope, atMs: nowMs });
    const oldest = nowMs - FANOUT_TTL_SECONDS * 1000;
    // Drops half at a time, so that the cost per message is small.
    if (rows[rows.length >> 1]!.atMs < oldest) rows.splice(0, rows.length >> 1);
  }

  lastSeq(): number {
    return this.#last;
  }

  after(exchange: string, seq: number, limit: number): FanoutRow[] {
    const rows = this.#rows.get(exchange);
    if (!rows || rows.length === 0 || rows.at(-1)!.seq <= seq) return [];
    const from = rows.findIndex((row) => row.seq > seq);
    return rows.slice(from, from + limit);
  }
}
