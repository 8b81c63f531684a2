/**
 * The Connection of memory and sqlite: one transaction for each turn of the event loop.
 *
 * Everything that a turn appends (publishes, acks, rejects, parked messages), and its fetch, go through one
 * transaction at its end. Then promises resolve, other connections are woken and fetched messages are
 * delivered.
 */

import {
  assert,
  ConnectionLost,
  type Deadline,
  errorText,
  OperatingError,
  TimerHeap,
  type World,
} from "../../base/mod.ts";
import { BUSY_MAX_MS, BUSY_PAUSE_MS, whenFree } from "../../sqlite/mod.ts";
import { encodeEnvelope, envelopePriority } from "../../wire/mod.ts";
import type { Binding, Exchange, Queue } from "../entity.ts";
import type { FailedTasks } from "../failed.ts";
import type { Ledger } from "../ledger.ts";
import { mustBeRoutable, priorityStep } from "../routing.ts";
import type {
  Connection,
  ConsumeOptions,
  Consumer,
  ConsumerEvents,
  DeadLetters,
  QueueStats,
  Subscription,
} from "../transport.ts";
import type { Note, OutgoingMessage, ParkedMessage } from "../message.ts";
import { type ConsumerHost, FETCH_MAX, VirtualConsumer } from "./consumer.ts";
import { VirtualFailedTasks } from "./failed.ts";
import { VirtualLedger } from "./ledger.ts";
import { fanoutTopic, type HeldMessage, queueTopic, statsOf, type Store, takeNote } from "./store.ts";
import { type Listener, Subscriptions } from "./subscriptions.ts";

/** How often a shared store is checked for sessions of dead processes and for missed wake-ups. */
const TICK_MS = 1000;
/** The lease of a connection that only subscribes, seconds. */
const SUBSCRIBER_LEASE_SECONDS = 30;

/** Options of one connection. */
export interface VirtualOptions {
  /** With its password masked. */
  readonly url: string;
  readonly prioritySteps: readonly number[];
  readonly clientName: string;
}

interface Outgoing {
  readonly exchange: string;
  readonly routingKey: string;
  readonly step: number;
  readonly envelope: string;
}

interface Publish {
  readonly batch: readonly Outgoing[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A connection over a store. */
export class VirtualConnection implements Connection {
  readonly url: string;
  readonly lost: Promise<Error | null>;
  readonly ledger: Ledger;
  #world: World;
  #store: Store;
  #options: VirtualOptions;
  #timers: TimerHeap;
  #consumer: VirtualConsumer | null = null;
  #subscriptions: Subscriptions;
  #publishes: Publish[] = [];
  #flushes: (() => void)[] = [];
  #session: number | null = null;
  #leaseSeconds = SUBSCRIBER_LEASE_SECONDS;
  #renewAtMs = 0;
  #due: Deadline | null = null;
  #dueAtMs: number | null = null;
  #isScheduled = false;
  #busySinceMs: number | null = null;
  #state: "open" | "closing" | "closed" = "open";
  #resolveLost: (cause: Error | null) => void;

  constructor(world: World, store: Store, options: VirtualOptions) {
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.#world = world;
    this.#store = store;
    this.#options = options;
    this.#timers = new TimerHeap(world.clock);
    this.#subscriptions = new Subscriptions({ store, log: world.log, schedule: () => this.#schedule() });
    this.url = options.url;
    this.ledger = new VirtualLedger({
      world,
      store,
      write: (fn) => this.#write(fn),
      insert: (messages, topics) => this.#insert(this.#encode(messages), topics, world.clock.wallMs()),
    });
    this.lost = promise;
    this.#resolveLost = resolve;
  }

  get transport(): "memory" | "sqlite" {
    return this.#store.kind;
  }

  declare(queue: Queue): Promise<number> {
    return this.#write(() => {
      mustBeRoutable(queue.exchange.name, queue.exchange.type);
      return this.#store.topology.declareQueue(queue);
    });
  }

  async declareExchange(exchange: Exchange): Promise<void> {
    mustBeRoutable(exchange.name, exchange.type);
    await this.#write(() => this.#store.topology.declareExchange(exchange));
  }

  async publish(batch: readonly OutgoingMessage[]): Promise<void> {
    this.#mustBeOpen();
    if (batch.length === 0) return;
    const outgoing = this.#encode(batch);
    await new Promise<void>((resolve, reject) => {
      this.#publishes.push({ batch: outgoing, resolve, reject });
      this.#schedule();
    });
  }

  async consume(options: ConsumeOptions, events: ConsumerEvents): Promise<Consumer> {
    assert(this.#consumer === null, "a connection has one consumer");
    this.#leaseSeconds = options.leaseSeconds;
    const session = await this.#openSession(options.owner);
    const host: ConsumerHost = {
      store: this.#store,
      session,
      schedule: () => this.#schedule(),
      flushed: () => this.#flushed(),
      write: (fn) => this.#write(fn),
      topicsChanged: () => this.#watch(),
      consumerClosed: () => {
        this.#consumer = null;
        this.#watch();
        this.#armDue();
      },
    };
    const consumer = new VirtualConsumer(host, options, events);
    await this.#write(() => {
      for (const queue of options.queues) this.#store.sessions.listen(session, queue, false);
    });
    this.#consumer = consumer;
    this.#watch();
    // Messages of dead sessions come first.
    await this.#retried(() => this.#sweep());
    this.#schedule();
    return consumer;
  }

  async subscribe(queue: Queue, onNote: (note: Note) => void): Promise<Subscription> {
    mustBeRoutable(queue.exchange.name, queue.exchange.type);
    const session = await this.#openSession(`${this.#options.clientName}:${this.#world.random.id()}`);
    const listener = await this.#write(() => this.#subscriptions.open(session, queue, onNote));
    this.#subscriptions.add(listener);
    this.#watch();
    this.#schedule();
    let isOpen = true;
    return {
      close: async () => {
        if (!isOpen) return;
        isOpen = false;
        await this.#unsubscribe(listener, session);
      },
    };
  }

  async purge(queueName: string): Promise<number> {
    return await this.#write(() =>
      this.#store.messages.purge(queueName) + this.#store.parked.purge(queueName)
    );
  }

  queueLength(queueName: string): Promise<number | null> {
    return this.#read(() => this.#store.messages.length(queueName));
  }

  queueStats(queueName: string): Promise<QueueStats | null> {
    return this.#read(() => statsOf(this.#store, queueName));
  }

  queueNames(): Promise<string[]> {
    return this.#read(() => this.#store.messages.names());
  }

  async take(queueName: string): Promise<Note | null> {
    return await this.#write(() => takeNote(this.#store, queueName));
  }

  async deleteQueue(queueName: string): Promise<void> {
    await this.#write(() => this.#store.topology.deleteQueue(queueName));
  }

  bindings(): Promise<Binding[]> {
    return this.#read(() => this.#store.topology.bindings());
  }

  async listeners(exchangeName: string): Promise<number | null> {
    this.#mustBeOpen();
    // Listeners of dead processes are removed first.
    if (this.#store.isShared) {
      await this.#retried(() => this.#store.sessions.sweep(this.#world.clock.wallMs()));
    }
    return this.#store.sessions.listeners(exchangeName);
  }

  get deadLetters(): DeadLetters {
    const store = this.#store;
    return {
      count: () => this.#write(() => store.dead.count()),
      list: (limit) => this.#write(() => store.dead.list(limit)),
      retry: async ({ id, envelope }, queueName) => {
        const step = priorityStep(envelopePriority(envelope), this.#options.prioritySteps);
        const isRevived = await this.#write(() => store.dead.revive(id, queueName, step));
        if (isRevived) store.wake(new Set([queueTopic(queueName)]));
        return isRevived;
      },
      drop: ({ id }) => this.#write(() => store.dead.drop(id)),
    };
  }

  get failedTasks(): FailedTasks {
    return new VirtualFailedTasks({
      world: this.#world,
      store: this.#store,
      prioritySteps: this.#options.prioritySteps,
      write: (fn) => this.#write(fn),
    });
  }

  parked(limit: number): Promise<ParkedMessage[]> {
    return this.#read(() => this.#store.parked.list(limit));
  }

  async dropParked(ids: readonly string[]): Promise<number> {
    return await this.#write(() => ids.filter((id) => this.#store.parked.drop(id)).length);
  }

  async close(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "closing";
    try {
      await this.#consumer?.close();
      await this.#flushed();
      const session = this.#session;
      if (session !== null) {
        await this.#write(() => {
          this.#subscriptions.unlistenAll(session);
          this.#store.sessions.close(session);
        });
      }
    } catch (error) {
      // The session ends with its lease; then other connections get its messages.
      this.#world.log.debug(`Cannot close ${this.url} in order: ${errorText(error)}`);
    }
    this.#end(null);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  fail(error: Error): void {
    this.#end(error);
  }

  // deno-lint-ignore require-await -- a read of the store, behind the interface's promise
  async #read<T>(fn: () => T): Promise<T> {
    this.#mustBeOpen();
    return fn();
  }

  #mustBeOpen(): void {
    if (this.#state === "closed") throw new ConnectionLost(`Connection to ${this.url} is closed`);
  }

  /** Checked again after callbacks, which may close the connection. */
  #isOpen(): boolean {
    return this.#state !== "closed";
  }

  #schedule(): void {
    if (this.#isScheduled || this.#state === "closed") return;
    this.#isScheduled = true;
    this.#world.clock.defer(this.#turn);
  }

  #turn = (): void => {
    this.#isScheduled = false;
    if (this.#state === "closed") return;
    try {
      this.#work();
    } catch (error) {
      this.#failed(error);
    }
  };

  #work(): void {
    const consumer = this.#consumer;
    const store = this.#store;
    const nowMs = this.#world.clock.wallMs();
    const publishes = this.#publishes;
    const isDue = this.#dueAtMs !== null && this.#dueAtMs <= nowMs;
    const ready = consumer ? consumer.readyQueues() : [];
    const readers = this.#subscriptions.ready();
    const settles = consumer !== null && consumer.hasSettlements;
    let fetched: HeldMessage[] = [];
    let popped: string[][] = [];
    const topics = new Set<string>();
    if (publishes.length > 0 || settles || isDue || ready.length > 0 || readers.length > 0) {
      store.transact(() => {
        for (const publish of publishes) this.#insert(publish.batch, topics, nowMs);
        if (settles) consumer.writeSettlements(nowMs, topics);
        if (isDue) { for (const queue of store.parked.releaseDue(nowMs)) topics.add(queueTopic(queue)); }
        if (ready.length > 0) fetched = consumer!.fetch(ready);
        popped = readers.map((reader) => store.messages.pop(reader.queue.name, FETCH_MAX));
      });
    }
    this.#busySinceMs = null;
    // The store has committed everything: the state is updated before any callback runs.
    this.#publishes = [];
    if (settles) consumer.settlementsWritten();
    if (topics.size > 0) store.wake(topics);
    for (const publish of publishes) publish.resolve();
    const flushes = this.#flushes;
    this.#flushes = [];
    for (const done of flushes) done();
    if (fetched.length > 0) consumer!.deliver(fetched);
    for (let n = 0; n < readers.length; n++) this.#subscriptions.deliver(readers[n]!, popped[n]!);
    this.#subscriptions.readFanouts();
    if (this.#isOpen()) this.#armDue();
  }

  #encode(batch: readonly OutgoingMessage[]): Outgoing[] {
    const outgoing: Outgoing[] = new Array(batch.length);
    const { random } = this.#world;
    const steps = this.#options.prioritySteps;
    for (let n = 0; n < batch.length; n++) {
      const { exchange, routingKey, message } = batch[n]!;
      outgoing[n] = {
        exchange,
        routingKey,
        step: priorityStep(message.properties.priority, steps),
        envelope: encodeEnvelope(message, { exchange, routingKey, deliveryTag: random.id() }),
      };
    }
    return outgoing;
  }

  #insert(batch: readonly Outgoing[], topics: Set<string>, nowMs: number): void {
    const store = this.#store;
    const routing = store.topology.routing();
    for (const { exchange, routingKey, step, envelope } of batch) {
      const route = routing.route(exchange, routingKey);
      for (const queue of route.queues) {
        store.messages.insert(queue, step, envelope);
        topics.add(queueTopic(queue));
      }
      if (route.isFanout) {
        store.fanouts.insert(exchange, routingKey, envelope, nowMs);
        topics.add(fanoutTopic(exchange));
      }
    }
  }

  async #unsubscribe(listener: Listener, session: number): Promise<void> {
    this.#subscriptions.delete(listener);
    if (this.#state === "closed") return;
    this.#watch();
    await this.#write(() => this.#store.sessions.unlisten(session, listener.queue.name));
  }

  /** Runs a write of the control lane as a transaction of its own; waits while other processes write. */
  #write<T>(fn: () => T): Promise<T> {
    return this.#retried(() => this.#store.transact(fn));
  }

  #retried<T>(fn: () => T): Promise<T> {
    return whenFree(this.#world.clock, () => {
      this.#mustBeOpen();
      return fn();
    });
  }

  #flushed(): Promise<void> {
    this.#mustBeOpen();
    return new Promise((resolve) => {
      this.#flushes.push(resolve);
      this.#schedule();
    });
  }

  async #openSession(name: string): Promise<number> {
    const { clock } = this.#world;
    if (this.#session === null) {
      this.#session = await this.#write(() => this.#store.sessions.open(name, this.#leaseSeconds));
      if (this.#store.isShared) this.#timers.armIn(TICK_MS, this.#tick);
    } else {
      const session = this.#session;
      await this.#write(() => this.#store.sessions.renew(session, this.#leaseSeconds));
    }
    this.#renewAtMs = clock.monoMs() + this.#leaseSeconds * 1000 / 3;
    return this.#session;
  }

  #tick = (): void => {
    this.#timers.armIn(TICK_MS, this.#tick);
    const { clock } = this.#world;
    try {
      if (clock.monoMs() >= this.#renewAtMs) {
        this.#renewAtMs = clock.monoMs() + this.#leaseSeconds * 1000 / 3;
        const session = this.#session!;
        const isOurs = this.#store.transact(() => this.#store.sessions.renew(session, this.#leaseSeconds));
        if (!isOurs) throw new ConnectionLost(`Connection to ${this.url} was taken for dead`);
      }
      this.#sweep();
    } catch (error) {
      this.#failed(error);
    }
    // In case a wake-up was missed.
    this.#schedule();
  };

  #sweep(): void {
    if (!this.#store.isShared || this.#consumer === null) return;
    const { restored, queues } = this.#store.sessions.sweep(this.#world.clock.wallMs());
    if (queues.length > 0) this.#store.wake(new Set(queues.map(queueTopic)));
    if (restored > 0) this.#consumer.restored(restored);
  }

  #armDue(): void {
    const atMs = this.#consumer ? this.#store.parked.nextDueMs() : null;
    if (atMs === this.#dueAtMs && (atMs === null || this.#due?.fn)) return;
    this.#timers.disarm(this.#due);
    this.#due = null;
    this.#dueAtMs = atMs;
    if (atMs !== null) {
      // Up to a millisecond late and never early: a message must be due when it is delivered.
      this.#due = this.#timers.armIn(
        Math.max(0, atMs - this.#world.clock.wallMs()) + 1,
        () => this.#schedule(),
      );
    }
  }

  #watch(): void {
    if (this.#state === "closed") return;
    const topics = new Set<string>();
    for (const queue of this.#consumer?.queues ?? []) topics.add(queueTopic(queue.name));
    this.#subscriptions.addTopics(topics);
    this.#store.watch(topics, () => this.#schedule());
  }

  /** Handles a failed turn: runs it again soon if another process was writing, else ends the connection. */
  #failed(error: unknown): void {
    if (this.#state === "closed") return;
    const reason = error instanceof OperatingError
      ? error
      : new ConnectionLost(`Connection to ${this.url} failed: ${errorText(error)}`, { cause: error });
    const nowMs = this.#world.clock.monoMs();
    this.#busySinceMs ??= nowMs;
    if (reason.isRetryable && nowMs - this.#busySinceMs < BUSY_MAX_MS) {
      this.#timers.armIn(BUSY_PAUSE_MS, () => this.#schedule());
      return;
    }
    this.#end(reason);
  }

  #end(cause: Error | null): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#timers.close();
    const consumer = this.#consumer;
    const publishes = this.#publishes;
    const flushes = this.#flushes;
    this.#publishes = [];
    this.#flushes = [];
    this.#consumer = null;
    this.#subscriptions.clear();
    this.#store.close();
    const error = cause ?? new ConnectionLost(`Connection to ${this.url} is closed`);
    for (const publish of publishes) publish.reject(error);
    for (const done of flushes) done();
    if (cause) consumer?.lost(cause);
    this.#resolveLost(cause);
  }
}
