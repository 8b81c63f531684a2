/**
 * memory: a broker inside one process, shared by every connection to the same URL. For tests and programs of one
 * process; nothing survives the process.
 */

import { assert, ConnectionLost, errorText, maskUrl, OperatingError } from "../base/mod.ts";
import type { Exchange, Queue } from "./entity.ts";
import { Line, type Message } from "./memory_line.ts";
import { bindingOf, priorityStepsOf, RoutingTable } from "./routing.ts";
import {
  type Binding,
  type Connect,
  DEAD_LETTERS_MAX,
  type DeadLetter,
  type ParkedMessage,
} from "./transport.ts";
import { parseBrokerUrl } from "./url.ts";
import { VirtualConnection } from "./virtual.ts";
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

interface Holding {
  readonly session: number;
  readonly message: Message;
}

interface Listening {
  readonly session: number;
  readonly queue: Queue;
  readonly isSubscriber: boolean;
}

/** What became of a message that nobody could handle. */
interface DeadMessage {
  readonly message: Message;
  readonly reason: string;
  readonly atMs: number;
}

/** The broker of one URL. Its queues hold what memory can: a process that sends to itself without consuming grows. */
class MemoryBroker {
  readonly routing = new RoutingTable();
  readonly lines = new Map<string, Line>();
  readonly held = new Map<number, Holding>();
  /** Soonest first. */
  readonly parked: { dueMs: number; message: Message }[] = [];
  readonly dead: DeadMessage[] = [];
  readonly fanouts = new Map<string, (FanoutRow & { atMs: number })[]>();
  readonly leases = new Map<string, LeaseRow>();
  readonly books = new Map<string, Map<string, string>>();
  listening: Listening[] = [];
  readonly watchers = new Map<MemoryStore, { topics: ReadonlySet<string>; onWake: () => void }>();
  nextId = 1;
  nextSession = 1;

  line(name: string): Line {
    let line = this.lines.get(name);
    if (!line) this.lines.set(name, line = new Line(null));
    return line;
  }
}

const brokers = new Map<string, MemoryBroker>();

/** One connection's view of a MemoryBroker. */
class MemoryStore implements Store {
  readonly kind = "memory";
  readonly isShared = false;
  #broker: MemoryBroker;

  constructor(broker: MemoryBroker) {
    this.#broker = broker;
  }

  transact<T>(fn: () => T): T {
    return fn();
  }

  failure(error: unknown): StoreFailure {
    return {
      isBusy: false,
      error: error instanceof OperatingError
        ? error
        : new ConnectionLost(`The memory broker failed: ${errorText(error)}`, { cause: error }),
    };
  }

  declareExchange(exchange: Exchange): void {
    this.#broker.routing.setExchange(exchange.name, exchange.type);
  }

  declareQueue(queue: Queue): number {
    const { lines, routing } = this.#broker;
    this.declareExchange(queue.exchange);
    const binding = bindingOf(queue);
    if (binding) routing.bind(binding);
    const line = lines.get(queue.name);
    if (line) return line.length;
    lines.set(queue.name, new Line(queue));
    return 0;
  }

  deleteQueue(name: string): void {
    this.#broker.routing.unbind(name);
    this.#broker.lines.delete(name);
  }

  routing(): RoutingTable {
    return this.#broker.routing;
  }

  bindings(): Binding[] {
    const bindings = this.#broker.routing.bindings();
    for (const { queue, isSubscriber } of this.#broker.listening) {
      const binding = isSubscriber ? bindingOf(queue) : null;
      if (binding) bindings.push(binding);
    }
    return bindings;
  }

  length(name: string): number | null {
    return this.#broker.lines.get(name)?.length ?? null;
  }

  purge(name: string): number {
    const line = this.#broker.lines.get(name);
    const count = line?.length ?? 0;
    line?.clear();
    return count;
  }

  insert(queue: string, step: number, envelope: string): void {
    this.#broker.line(queue).add([{ id: this.#broker.nextId++, queue, step, envelope }], "tail");
  }

  isReady(queue: string): boolean {
    return (this.#broker.lines.get(queue)?.length ?? 0) > 0;
  }

  fetch(session: number, queues: readonly string[], limit: number): HeldMessage[] {
    const lines = queues.map((name) => this.#broker.line(name));
    const steps = [...new Set(lines.flatMap((line) => line.steps))].sort((a, b) => a - b);
    const taken: HeldMessage[] = [];
    for (const step of steps) {
      for (const line of lines) {
        while (taken.length < limit) {
          const message = line.shift(step);
          if (!message) break;
          this.#broker.held.set(message.id, { session, message });
          taken.push({ id: message.id, queue: message.queue, attempts: 0, envelope: message.envelope });
        }
      }
    }
    return taken;
  }

  peek(queue: string): string | null {
    return this.#broker.lines.get(queue)?.peek()?.envelope ?? null;
  }

  pop(queue: string, limit: number): string[] {
    const line = this.#broker.lines.get(queue);
    const taken: string[] = [];
    for (const step of line ? line.steps : []) {
      for (let message; taken.length < limit && (message = line!.shift(step));) taken.push(message.envelope);
    }
    return taken;
  }

  settle(session: number, ids: readonly number[]): void {
    for (const id of ids) this.#release(session, id);
  }

  putBack(session: number, messages: readonly ReturnedMessage[], at: "head" | "tail"): string[] {
    const byQueue = new Map<string, Message[]>();
    for (const { id, envelope } of messages) {
      const message = this.#release(session, id);
      if (!message) continue;
      message.envelope = envelope;
      const list = byQueue.get(message.queue);
      if (list) list.push(message);
      else byQueue.set(message.queue, [message]);
    }
    for (const [queue, list] of byQueue) this.#broker.line(queue).add(list, at);
    return [...byQueue.keys()];
  }

  park(session: number, id: number, dueMs: number): string | null {
    const message = this.#release(session, id);
    if (!message) return null;
    const { parked } = this.#broker;
    let low = 0;
    for (let high = parked.length; low < high;) {
      const middle = (low + high) >> 1;
      if (parked[middle]!.dueMs <= dueMs) low = middle + 1;
      else high = middle;
    }
    parked.splice(low, 0, { dueMs, message });
    return message.queue;
  }

  nextDueMs(): number | null {
    return this.#broker.parked[0]?.dueMs ?? null;
  }

  releaseDue(nowMs: number): string[] {
    const { parked } = this.#broker;
    let count = 0;
    while (count < parked.length && parked[count]!.dueMs <= nowMs) count++;
    const due = parked.splice(0, count).map(({ message }) => message);
    const queues = [...new Set(due.map((message) => message.queue))];
    for (const queue of queues) {
      this.#broker.line(queue).add(due.filter((message) => message.queue === queue), "head");
    }
    return queues;
  }

  bury(session: number, id: number, reason: string, nowMs: number): void {
    const message = this.#release(session, id);
    if (!message) return;
    const { dead } = this.#broker;
    dead.push({ message, reason, atMs: nowMs });
    if (dead.length > DEAD_LETTERS_MAX) dead.shift();
  }

  /** Nobody dies here without everybody. */
  begun(_id: number): void {}

  parked(limit: number): ParkedMessage[] {
    return this.#broker.parked.slice(0, Math.max(0, limit)).map(({ dueMs, message }) => ({
      queue: message.queue,
      dueMs,
      envelope: message.envelope,
    }));
  }

  deadCount(): number {
    return this.#broker.dead.length;
  }

  deadLetters(limit: number): DeadLetter[] {
    return this.#broker.dead.toReversed().slice(0, Math.max(0, limit)).map(({ message, reason, atMs }) => ({
      id: String(message.id),
      queue: message.queue,
      reason,
      atMs,
      envelope: message.envelope,
    }));
  }

  revive(id: string, queue: string, step: number): boolean {
    const letter = this.#takeDead(id);
    if (letter === null) return false;
    this.insert(queue, step, letter.message.envelope);
    return true;
  }

  dropDead(id: string): boolean {
    return this.#takeDead(id) !== null;
  }

  insertFanout(exchange: string, routingKey: string, envelope: string, nowMs: number): void {
    const { fanouts } = this.#broker;
    if (!this.#broker.listening.some((one) => one.isSubscriber && one.queue.exchange.name === exchange)) {
      fanouts.delete(exchange);
      return;
    }
    let rows = fanouts.get(exchange);
    if (!rows) fanouts.set(exchange, rows = []);
    rows.push({ seq: this.#broker.nextId++, routingKey, envelope, atMs: nowMs });
    const oldest = nowMs - FANOUT_TTL_SECONDS * 1000;
    // Half at a time, so that dropping costs little per message.
    if (rows[rows.length >> 1]!.atMs < oldest) rows.splice(0, rows.length >> 1);
  }

  lastSeq(): number {
    return this.#broker.nextId - 1;
  }

  fanoutAfter(exchange: string, seq: number, limit: number): FanoutRow[] {
    const rows = this.#broker.fanouts.get(exchange);
    if (!rows || rows.length === 0 || rows.at(-1)!.seq <= seq) return [];
    const from = rows.findIndex((row) => row.seq > seq);
    return rows.slice(from, from + limit);
  }

  listeners(exchange: string): number {
    return this.#broker.listening.filter(({ queue }) => queue.exchange.name === exchange).length;
  }

  readLease(name: string): LeaseRow | null {
    return this.#broker.leases.get(name) ?? null;
  }

  writeLease(name: string, lease: LeaseRow): void {
    this.#broker.leases.set(name, lease);
  }

  records(book: string): Map<string, string> {
    return new Map(this.#broker.books.get(book));
  }

  readRecord(book: string, key: string): string | null {
    return this.#broker.books.get(book)?.get(key) ?? null;
  }

  writeRecord(book: string, key: string, value: string | null): void {
    const { books } = this.#broker;
    let records = books.get(book);
    if (!records) books.set(book, records = new Map());
    if (value === null) records.delete(key);
    else records.set(key, value);
  }

  openSession(_name: string, _leaseSeconds: number): number {
    return this.#broker.nextSession++;
  }

  renewSession(_session: number, _leaseSeconds: number): boolean {
    return true;
  }

  listen(session: number, queue: Queue, isSubscriber: boolean): void {
    this.#broker.listening.push({ session, queue, isSubscriber });
  }

  unlisten(session: number, queueName: string): void {
    const { listening } = this.#broker;
    const index = listening.findIndex((one) => one.session === session && one.queue.name === queueName);
    if (index < 0) return;
    const [{ queue }] = listening.splice(index, 1) as [Listening];
    if (queue.autoDelete && !listening.some((one) => one.queue.name === queueName)) {
      this.deleteQueue(queueName);
    }
  }

  closeSession(session: number): void {
    this.#broker.listening = this.#broker.listening.filter((one) => one.session !== session);
  }

  sweep(_nowMs: number): Sweep {
    return { restored: 0, queues: [] };
  }

  wake(topics: ReadonlySet<string>): void {
    for (const { topics: wanted, onWake } of this.#broker.watchers.values()) {
      for (const topic of topics) {
        if (!wanted.has(topic)) continue;
        onWake();
        break;
      }
    }
  }

  watch(topics: ReadonlySet<string>, onWake: () => void): void {
    this.#broker.watchers.set(this, { topics, onWake });
  }

  close(): void {
    this.#broker.watchers.delete(this);
  }

  #takeDead(id: string): DeadMessage | null {
    const { dead } = this.#broker;
    const index = dead.findIndex(({ message }) => String(message.id) === id);
    return index < 0 ? null : dead.splice(index, 1)[0]!;
  }

  #release(session: number, id: number): Message | null {
    const holding = this.#broker.held.get(id);
    if (!holding) return null;
    assert(holding.session === session, "a message is settled by its holder");
    this.#broker.held.delete(id);
    return holding.message;
  }
}

/** Connects to the broker of this process that the URL names: `memory://`, `memory://name`. */
export const connectMemory: Connect = async (world, url, options) => {
  options.signal?.throwIfAborted();
  const { host, path } = parseBrokerUrl(url);
  const name = `${host ?? ""}/${path ?? ""}`;
  let broker = brokers.get(name);
  if (!broker) brokers.set(name, broker = new MemoryBroker());
  // The other kinds answer in a later turn; so does this one, lest somebody rely on less.
  await Promise.resolve();
  return new VirtualConnection(world, new MemoryStore(broker), {
    url: maskUrl(url),
    prioritySteps: priorityStepsOf(options.transportOptions),
    clientName: options.clientName,
  });
};
