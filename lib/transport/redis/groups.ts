/**
 * Queue groups on a cluster: queues whose keys have a hash tag of their own, and so a slot and a master of their own,
 * in one broker with all others. Remote control, events, leases and every other queue stay under the broker's own tag.
 *
 * There is one connection for each tag, opened when it is first needed. A call that names a queue goes to its
 * group's connection. The binding of a group's queue is stored twice: under the broker's tag it tells to
 * which groups a message goes, and in the group to which queues. Fanout channels have the same name in all
 * groups, since a cluster forwards them to every node.
 */

import { UsageError } from "../../base/mod.ts";
import type { Binding, Exchange, Queue } from "../entity.ts";
import type { FailedEntry, FailedLimits, FailedTasks } from "../failed.ts";
import type { Ledger, LedgerEntry, LedgerScope } from "../ledger.ts";
import type { DeadLetter, Note, OutgoingMessage, ParkedMessage } from "../message.ts";
import type {
  Connection,
  ConsumeOptions,
  Consumer,
  ConsumerEvents,
  DeadLetters,
  QueueStats,
  Subscription,
} from "../transport.ts";
import type { QueueGroups } from "./queue_groups.ts";

/** A connection to the master of one tag. */
export interface GroupConnection extends Connection {
  readonly ledger: Ledger;
  readonly deadLetters: DeadLetters;
  readonly failedTasks: FailedTasks;
  /**
   * Resolves with the queues of every group that a message to a named exchange goes to; empty for a fanout.
   */
  queuesOf(exchange: string, routingKey: string): Promise<string[]>;
  parked(limit: number): Promise<ParkedMessage[]>;
  dropParked(ids: readonly string[]): Promise<number>;
  fail(error: Error): void;
}

/** One connection over several groups. */
export class GroupedConnection implements Connection {
  readonly transport = "redis";
  readonly url: string;
  readonly lost: Promise<Error | null>;
  readonly ledger: Ledger;
  readonly deadLetters: DeadLetters;
  readonly failedTasks: FailedTasks;
  #homes = new WeakMap<DeadLetter, GroupConnection>();
  #groups: QueueGroups;
  #main: GroupConnection;
  #open: (tag: string) => Promise<GroupConnection>;
  #opened = new Map<string, Promise<GroupConnection>>();
  #resolveLost: (error: Error | null) => void;

  /** `open` connects to the master of a group's tag. */
  constructor(groups: QueueGroups, main: GroupConnection, open: (tag: string) => Promise<GroupConnection>) {
    this.url = main.url;
    this.#groups = groups;
    this.#main = main;
    this.#open = open;
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    this.lost = promise;
    this.#resolveLost = resolve;
    void main.lost.then(resolve);
    this.ledger = this.#ledger();
    this.deadLetters = this.#keptLetters((group) => group.deadLetters);
    this.failedTasks = {
      ...this.#keptLetters((group) => group.failedTasks),
      keep: (tasks, limits) => this.#keep(tasks, limits),
      retry: async (task, queueName, envelope) => {
        const home = await this.#homeOf(task, queueName);
        return home.failedTasks.retry(task, queueName, envelope);
      },
    };
  }

  async declare(queue: Queue): Promise<number> {
    const group = await this.#of(queue.name);
    if (group !== this.#main && queue.exchange.name !== "") await this.#main.declare(queue);
    return await group.declare(queue);
  }

  async declareExchange(exchange: Exchange): Promise<void> {
    await this.#main.declareExchange(exchange);
    for (const group of this.#opened.values()) await (await group).declareExchange(exchange);
  }

  async publish(batch: readonly OutgoingMessage[]): Promise<void> {
    const parts = new Map<GroupConnection, OutgoingMessage[]>();
    for (const out of batch) {
      for (const group of await this.#reachedBy(out)) {
        const part = parts.get(group);
        if (part) part.push(out);
        else parts.set(group, [out]);
      }
    }
    await Promise.all([...parts].map(([group, part]) => group.publish(part)));
  }

  async consume(options: ConsumeOptions, events: ConsumerEvents): Promise<Consumer> {
    // A consumer without queues, or with broadcasts alone, belongs to the broker's own group.
    const first = options.queues.find(({ exchange }) => exchange.type !== "fanout");
    const group = first === undefined ? this.#main : await this.#of(first.name);
    return await group.consume(options, events);
  }

  async subscribe(queue: Queue, onNote: (note: Note) => void): Promise<Subscription> {
    return await (await this.#of(queue.name)).subscribe(queue, onNote);
  }

  async purge(queueName: string): Promise<number> {
    return await (await this.#of(queueName)).purge(queueName);
  }

  async queueLength(queueName: string): Promise<number | null> {
    return await (await this.#of(queueName)).queueLength(queueName);
  }

  async queueStats(queueName: string): Promise<QueueStats | null> {
    return await (await this.#of(queueName)).queueStats(queueName);
  }

  async queueNames(): Promise<string[]> {
    const lists = await Promise.all((await this.#all()).map((group) => group.queueNames?.() ?? []));
    return [...new Set(lists.flat())].sort();
  }

  async take(queueName: string): Promise<Note | null> {
    return await (await this.#of(queueName)).take(queueName);
  }

  async deleteQueue(queueName: string): Promise<void> {
    const group = await this.#of(queueName);
    if (group !== this.#main) await this.#main.deleteQueue(queueName);
    await group.deleteQueue(queueName);
  }

  bindings(): Promise<Binding[]> {
    return this.#main.bindings();
  }

  listeners(exchangeName: string): Promise<number | null> {
    return this.#main.listeners(exchangeName);
  }

  async parked(limit: number): Promise<ParkedMessage[]> {
    const lists = await Promise.all((await this.#all()).map((group) => group.parked(limit)));
    return lists.flat().sort((a, b) => a.dueMs - b.dueMs).slice(0, limit);
  }

  async dropParked(ids: readonly string[]): Promise<number> {
    return total(await Promise.all((await this.#all()).map((group) => group.dropParked(ids))));
  }

  fail(error: Error): void {
    this.#main.fail(error);
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#opened.values());
    await Promise.all(opened.map((one) => one.status === "fulfilled" ? one.value.close() : null));
    await this.#main.close();
    this.#resolveLost(null);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #of(queueName: string): Promise<GroupConnection> {
    return this.#at(this.#groups.tagOf(queueName));
  }

  /** Resolves with the connection to a tag's master. If it cannot be made, the next call tries again. */
  #at(tag: string): Promise<GroupConnection> {
    if (tag === this.#groups.main) return Promise.resolve(this.#main);
    let group = this.#opened.get(tag);
    if (group === undefined) {
      group = this.#open(tag);
      this.#opened.set(tag, group);
      group.then((opened) => this.#watch(opened), () => this.#opened.delete(tag));
    }
    return group;
  }

  /** Ends all connections if one is lost. */
  #watch(group: GroupConnection): void {
    void group.lost.then((error) => {
      if (error !== null) this.#main.fail(error);
    });
    void this.#main.lost.then((error) => {
      if (error !== null) group.fail(error);
    });
  }

  #all(): Promise<GroupConnection[]> {
    return Promise.all(this.#groups.tags.map((tag) => this.#at(tag)));
  }

  /** Resolves with the groups that a message goes to. */
  async #reachedBy({ exchange, routingKey, queue }: OutgoingMessage): Promise<GroupConnection[]> {
    if (exchange === "") return [await this.#of(routingKey)];
    if (queue && queue.exchange.type !== "fanout") return [await this.#of(queue.name)];
    const queues = await this.#main.queuesOf(exchange, routingKey);
    const tags = new Set(queues.map((name) => this.#groups.tagOf(name)));
    return tags.size === 0 ? [this.#main] : await Promise.all([...tags].map((tag) => this.#at(tag)));
  }

  /**
   * Resolves with the group that keeps a letter. Rejects with UsageError if the target queue is in another
   * group.
   */
  async #homeOf(letter: DeadLetter, queueName: string): Promise<GroupConnection> {
    const home = this.#homes.get(letter) ?? this.#main;
    if (home === await this.#of(queueName)) return home;
    throw new UsageError(
      `Cannot put message ${letter.id} into queue "${queueName}": it is kept in another queue group`,
    );
  }

  #keptLetters(of: (group: GroupConnection) => Omit<DeadLetters, "retry">): DeadLetters {
    return {
      count: async () => total(await Promise.all((await this.#all()).map((group) => of(group).count()))),
      list: async (limit) => {
        const lists = await Promise.all((await this.#all()).map(async (group) => {
          const letters = await of(group).list(limit);
          for (const letter of letters) this.#homes.set(letter, group);
          return letters;
        }));
        return lists.flat().sort((a, b) => b.atMs - a.atMs).slice(0, limit);
      },
      retry: async (letter, queueName) => {
        const home = await this.#homeOf(letter, queueName);
        return home.deadLetters.retry(letter, queueName);
      },
      drop: (letter) => of(this.#homes.get(letter) ?? this.#main).drop(letter),
    };
  }

  async #keep(tasks: readonly FailedEntry[], limits: FailedLimits): Promise<void> {
    const tags = new Set(tasks.map(({ queue }) => this.#groups.tagOf(queue ?? "")));
    await Promise.all([...tags].map(async (tag) => {
      const own = tasks.filter(({ queue }) => this.#groups.tagOf(queue ?? "") === tag);
      await (await this.#at(tag)).failedTasks.keep(own, limits);
    }));
  }

  /** Builds the ledger: leases and records are kept under the broker's own tag. */
  #ledger(): Required<Omit<Ledger, "queueOf">> {
    const { ledger } = this.#main;
    return {
      lease: (name, owner, ms, token) => ledger.lease(name, owner, ms, token),
      release: (name, token) => ledger.release(name, token),
      holder: async (name) => await ledger.holder?.(name) ?? null,
      records: (namespace) => ledger.records(namespace),
      forget: (namespace, keys) => ledger.forget(namespace, keys),
      commit: (under, entries) => this.#commit(under, entries),
    };
  }

  /**
   * A message to another group cannot be published in one step with its record. It is published first, under
   * the lease: a crash between the two sends it twice, rather than never.
   */
  async #commit(under: LedgerScope, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null> {
    const foreign: OutgoingMessage[] = [];
    const own: LedgerEntry[] = [];
    for (const entry of entries) {
      const { message } = entry;
      const groups = message === null ? [] : await this.#reachedBy(message);
      if (groups.every((group) => group === this.#main)) own.push(entry);
      else {
        foreign.push(message!);
        own.push({ ...entry, message: null });
      }
    }
    if (foreign.length > 0) {
      if (await this.#main.ledger.commit(under, []) === null) return null;
      await this.publish(foreign);
    }
    return await this.#main.ledger.commit(under, own);
  }
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
